"""redis.conf and the command line: what is read, and what is refused with a reason."""

from pathlib import Path

import pytest

from coordkit_server.configfile import UsageError, read_arguments, read_file


def written(path: Path, text: str) -> str:
    path.write_bytes(text.encode())
    return str(path)


def test_file_lines_become_directives_whatever_ends_them(tmp_path: Path) -> None:
    path = written(tmp_path / "redis.conf", "# a comment\r\n  Port 7000\r\n\r\nrequirepass \"a \\x41\\n\"\nlogfile ''")
    assert read_file(path) == [("port", "7000"), ("requirepass", "a A\n"), ("logfile", "")]


def test_include_stands_for_the_lines_of_the_file(tmp_path: Path) -> None:
    inner = written(tmp_path / "inner.conf", "port 2\n")
    path = written(tmp_path / "outer.conf", f"port 1\ninclude {inner}\nport 3\n")
    assert read_file(path) == [("port", "1"), ("port", "2"), ("port", "3")]


def test_include_with_a_pattern_reads_the_files_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        written(tmp_path / f"{name}.inc", f"logfile {name}\n")
    path = written(tmp_path / "redis.conf", f"include {tmp_path}/*.inc\ninclude {tmp_path}/*.none\n")
    assert read_file(path) == [("logfile", "a"), ("logfile", "b"), ("logfile", "c")]


def test_include_on_the_command_line_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "redis.conf", "port 2\n")
    assert read_arguments(["--port", "1", "--include", path]) == (None, [("port", "1"), ("port", "2")])


@pytest.mark.parametrize("included", ["none.conf", ""])
def test_include_of_what_cannot_be_read_is_refused(included: str, tmp_path: Path) -> None:
    path = written(tmp_path / "redis.conf", f"include {tmp_path}/{included}\n")
    with pytest.raises(UsageError, match="Can't open config file"):
        read_file(path)


def test_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "redis.conf", f"port 1\ninclude {tmp_path}/redis.conf\n")
    with pytest.raises(UsageError, match=r"redis\.conf' is included by more than 16 files in a row"):
        read_file(path)


@pytest.mark.parametrize("line", ["port", "port 1 2", "requirepass a b", "dir", "maxmemory 100 # bytes", "include"])
def test_directive_with_a_wrong_number_of_values_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{line.split(maxsplit=1)[0]} '.*': wrong number of arguments"):
        read_file(written(tmp_path / "redis.conf", line))
    with pytest.raises(UsageError, match="wrong number of arguments"):
        read_arguments(f"--{line}".split())


@pytest.mark.parametrize(
    "line", ["save 900 1 300 10", "save", "bind 127.0.0.1 -::1", "user eve on", "oom-score-adj-values 0 1 2"]
)
def test_directive_of_several_values_takes_them(line: str, tmp_path: Path) -> None:
    name, _, value = line.partition(" ")
    assert read_file(written(tmp_path / "redis.conf", line)) == [(name, value)]


def test_unbalanced_quotes_are_refused_with_their_place(tmp_path: Path) -> None:
    path = written(tmp_path / "redis.conf", 'port 1\nrequirepass "abc\n')
    with pytest.raises(UsageError, match=r"redis\.conf:2: unbalanced quotes"):
        read_file(path)
