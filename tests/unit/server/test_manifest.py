"""The manifest of an append-only file: what is read, what is refused, what is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.persistence.manifest import ManifestError, Part, parse_manifest, quoted
from coordkit_server.resp.request import split_args

NAME = "appendonly.aof"


def names(parts: list[Part]) -> list[str]:
    return [part.name for part in parts]


def test_parse_of_all_types_knows_base_increments_and_history() -> None:
    text = (
        b"# made by hand\n"
        b"file appendonly.aof.2.base.rdb seq 2 type b\n"
        b"file appendonly.aof.1.incr.aof seq 1 type h\n"
        b'file "with space.aof" seq 4 type i startoffset 7\n'
        b"file appendonly.aof.9.incr.aof seq 9 type i\n"
    )
    manifest = parse_manifest(NAME, text)
    assert names(manifest.parts()) == ["appendonly.aof.2.base.rdb", "with space.aof", "appendonly.aof.9.incr.aof"]
    assert names(manifest.history) == ["appendonly.aof.1.incr.aof"]
    assert manifest.new_increment() == "appendonly.aof.10.incr.aof"
    assert manifest.new_base(as_rdb=True) == "appendonly.aof.3.base.rdb"


@pytest.mark.parametrize(
    "text, reason",
    [
        (b"", "Found an empty AOF manifest"),
        (b"file a seq 1 type b", "The AOF manifest file contains too long line"),
        (b"file " + b"a" * 2000 + b" seq 1 type b\n", "The AOF manifest file contains too long line"),
        (b"\n", "Invalid AOF manifest file format"),
        (b"file a seq 1 type\n", "Invalid AOF manifest file format"),
        (b"file a seq x type b\n", "Invalid AOF manifest file format"),
        (b"name a seq 1 type b\n", "Invalid AOF manifest file format"),
        (b'file "a seq 1 type b\n', "Invalid AOF manifest file format"),
        (b"file a/b seq 1 type b\n", "File can't be a path, just a filename"),
        (b"file a seq 1 type b\nfile b seq 2 type b\n", "Found duplicate base file information"),
        (b"file a seq 2 type i\nfile b seq 1 type i\n", "Found a non-monotonic sequence number"),
        (b"file a seq 1 type x\n", "Unknown AOF file type"),
    ],
)
def test_parse_of_what_is_wrong_says_why(text: bytes, reason: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(NAME, text)
    assert caught.value.reason == reason


def test_text_after_a_rewrite_parses_to_the_same_files() -> None:
    manifest = parse_manifest(NAME, b"file a seq 1 type b\nfile b seq 1 type i\nfile c seq 2 type i\n")
    manifest.new_base(as_rdb=False)
    manifest.retire_increments(1)
    again = parse_manifest(NAME, manifest.text())
    assert names(again.parts()) == ["appendonly.aof.2.base.aof", "c"]
    assert names(again.history) == ["b", "a"]
    assert again.text() == manifest.text()


@given(st.binary(min_size=1, max_size=20))
def test_quoted_names_are_one_word_of_the_line(raw: bytes) -> None:
    name = raw.decode("utf-8", "surrogateescape")
    assert split_args(b"file " + quoted(name)) == [b"file", raw]
