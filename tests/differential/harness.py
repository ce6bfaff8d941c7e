"""Runs a case on a server and makes the replies comparable."""

from tests.differential.case import Case
from tests.differential.client import RawClient, Reply
from tests.differential.known import normalise_text


def run_case(case: Case, client: RawClient, protocol: int) -> list[Reply]:
    """The replies to the commands of `case`, on a server that is empty at its start."""
    for command in (["SELECT", 0], ["FLUSHALL"], ["CONFIG", "SET", "notify-keyspace-events", ""]):
        client.call(*command)
    client.call("HELLO", protocol)
    return [normalise(client.call(*command), unordered=case.unordered) for command in case.commands]


def normalise(reply: Reply, *, unordered: bool) -> Reply:
    """The reply with aggregates of unordered types sorted and with texts made comparable."""
    kind, value = reply
    if isinstance(value, tuple):
        items = [normalise(item, unordered=unordered) for item in value]
        if kind == "%":
            pairs = sorted(zip(items[::2], items[1::2], strict=True), key=repr)
            return kind, tuple(pairs)
        if unordered or kind == "~":
            items.sort(key=repr)
        return kind, tuple(items)
    if kind == "-" and isinstance(value, bytes):
        return kind, normalise_text(value)
    return reply
