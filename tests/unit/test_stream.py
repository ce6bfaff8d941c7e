"""Sockets read and written by a deadline: all of the data, in time, whatever signals and other threads do."""

import contextlib
import select
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from coordkit.transports.stream import KernelTimedStream, Stream, TimedStream, stream_of

GRACE_S = 0.05
"""How much later than its deadline a call may end; the same bound as for whole calls."""

LONG_S = 30.0

Make = Callable[[socket.socket], Stream]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


@pytest.fixture(params=[KernelTimedStream, TimedStream])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture(params=["main thread", "another thread"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Calls a function, in the one kind of thread or in the other."""
    if request.param == "main thread":
        yield lambda function, *args: function(*args)
        return
    with ThreadPoolExecutor(1) as executor:
        yield lambda function, *args: executor.submit(function, *args).result()


def late_s(stream: Stream, wait_s: float) -> float:
    """How long after its deadline a receive that nothing answers ended."""
    deadline_s = time.monotonic() + wait_s
    with pytest.raises(TimeoutError):
        stream.receive(deadline_s)
    return time.monotonic() - deadline_s


def test_receive_with_data_waiting_returns_it(
    pair: tuple[socket.socket, socket.socket], make: Make, run: Callable[..., Any]
) -> None:
    stream = make(pair[0])
    pair[1].sendall(b"+PONG\r\n")
    assert run(stream.receive, time.monotonic() + LONG_S) == b"+PONG\r\n"


def test_receive_after_the_other_side_closed_returns_nothing(
    pair: tuple[socket.socket, socket.socket], make: Make, run: Callable[..., Any]
) -> None:
    stream = make(pair[0])
    pair[1].close()
    assert run(stream.receive, time.monotonic() + LONG_S) == b""


def test_receive_without_an_answer_ends_at_its_deadline_whatever_the_one_before_was(
    pair: tuple[socket.socket, socket.socket], make: Make, run: Callable[..., Any]
) -> None:
    stream = make(pair[0])
    pair[1].sendall(b"first")
    run(stream.receive, time.monotonic() + LONG_S)
    for wait_s in (0.05, 0.15, 0.1, 0.0, -1.0):
        late = run(late_s, stream, wait_s)
        assert max(0.0, wait_s) - wait_s <= late + 1e-3
        assert late < max(0.0, -wait_s) + GRACE_S, f"a wait of {wait_s} s ended {late:.3f} s late"


def test_receive_interrupted_by_signals_ends_at_its_deadline(
    pair: tuple[socket.socket, socket.socket], make: Make
) -> None:
    stream = make(pair[0])
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        assert late_s(stream, 0.1) < GRACE_S
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(rung) > 1


def test_send_of_more_than_the_socket_holds_arrives_whole(
    pair: tuple[socket.socket, socket.socket], make: Make, run: Callable[..., Any]
) -> None:
    stream, data = make(pair[0]), bytes(range(256)) * 40_000
    got = bytearray()

    def read() -> None:
        while len(got) < len(data):
            got.extend(pair[1].recv(65536))

    reader = threading.Thread(target=read)
    reader.start()
    run(stream.send, data, time.monotonic() + LONG_S)
    reader.join(LONG_S)
    assert bytes(got) == data
    pair[1].sendall(b"+OK\r\n")
    assert run(stream.receive, time.monotonic() + LONG_S) == b"+OK\r\n"


def test_send_to_nobody_who_reads_ends_at_its_deadline_and_leaves_the_stream_as_it_was(
    pair: tuple[socket.socket, socket.socket], make: Make, run: Callable[..., Any]
) -> None:
    stream = make(pair[0])
    deadline_s = time.monotonic() + 0.1
    with pytest.raises(TimeoutError):
        run(stream.send, b"x" * 10_000_000, deadline_s)
    assert time.monotonic() - deadline_s < GRACE_S
    with pytest.raises(TimeoutError):  # the socket is full now
        run(stream.send, b"y", time.monotonic() + 0.01)
    assert run(late_s, stream, 0.05) < GRACE_S


def test_send_on_a_connection_that_broke_raises_what_the_system_says(
    pair: tuple[socket.socket, socket.socket], make: Make
) -> None:
    stream = make(pair[0])
    pair[1].close()
    with pytest.raises(BrokenPipeError):
        stream.send(b"x", time.monotonic() + LONG_S)


@pytest.fixture(params=[socket.AF_INET, socket.AF_UNIX])
def connected(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    if request.param == socket.AF_UNIX:
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def test_quiet_is_true_until_the_other_side_closes(connected: tuple[socket.socket, socket.socket], make: Make) -> None:
    ours, theirs = connected
    stream = make(ours)
    assert stream.quiet()
    theirs.sendall(b"+PONG\r\n")
    assert stream.receive(time.monotonic() + LONG_S) == b"+PONG\r\n"
    assert stream.quiet()
    theirs.close()
    select.select([ours], [], [], LONG_S)
    assert not stream.quiet()


def test_quiet_after_a_reset_is_false(connected: tuple[socket.socket, socket.socket], make: Make) -> None:
    ours, theirs = connected
    stream = make(ours)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    select.select([ours], [], [], LONG_S)
    assert not stream.quiet()


def test_quiet_of_a_closed_socket_is_false(connected: tuple[socket.socket, socket.socket], make: Make) -> None:
    stream = make(connected[0])
    connected[0].close()
    assert not stream.quiet()


class StandIn:
    """What gevent puts in the place of a socket: something that has its methods and is none."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_stream_of_takes_the_kernels_clock_for_plain_sockets_only(pair: tuple[socket.socket, socket.socket]) -> None:
    stand_in: Any = StandIn(pair[1])
    assert isinstance(stream_of(pair[0]), KernelTimedStream)
    assert isinstance(stream_of(stand_in), TimedStream)
    context = ssl.create_default_context()
    with contextlib.closing(socket.socket()) as unconnected:
        wrapped = context.wrap_socket(unconnected, server_hostname="localhost", do_handshake_on_connect=False)
        with contextlib.closing(wrapped):
            assert isinstance(stream_of(wrapped), TimedStream)
