"""What comes out of a subscription."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """Something that was published on a channel."""

    channel: str
    data: object


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where messages are missing: `missed` of them, None if nobody knows how many.

    A number stands for messages that were dropped because they came faster than they were read.  None stands for a lost
    connection: what was published until it was back has not come, if anything was.
    """

    channel: str
    missed: int | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a subscription has counted since it was opened."""

    received: int
    """Messages that came from the server."""
    dropped: int
    """Messages of these that were dropped because the buffer was full."""
    undecodable: int
    """Messages of these that the codec could not read; they are left out."""
    gaps: int
    """How often the connection was lost and messages may have been missed."""
    buffered: int
    """Messages that wait to be read now."""
