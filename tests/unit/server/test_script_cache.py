"""Script names and the `#!lua` line."""

import pytest

from coordkit_server.scripting.cache import (
    ALLOW_OOM,
    NO_CLUSTER,
    NO_SHEBANG,
    NO_WRITES,
    ScriptError,
    parse_shebang,
    script_sha,
)


def test_script_sha_is_lower_case_hexadecimal() -> None:
    assert script_sha(b"return 1") == b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"


@pytest.mark.parametrize(
    "body,expected",
    [
        (b"return 1", (NO_SHEBANG, 0)),
        (b"#!lua\nreturn 1", (0, 5)),
        (b"#!lua flags=\nreturn 1", (0, 12)),
        (b"#!lua  flags=no-writes,allow-oom \n", (NO_WRITES | ALLOW_OOM, 33)),
        (b"#!lua flags=no-writes flags=no-cluster\n", (NO_WRITES | NO_CLUSTER, 38)),
        (b'#!lua "flags=no-writes"\n', (NO_WRITES, 23)),
    ],
)
def test_parse_shebang_returns_flags_and_length(body: bytes, expected: tuple[int, int]) -> None:
    assert parse_shebang(body) == expected


@pytest.mark.parametrize(
    "body,message",
    [
        (b"#!lua", b"ERR Invalid script shebang"),
        (b'#!lua "\n', b"ERR Invalid engine in script shebang"),
        (b"#!python\n", b"ERR Unexpected engine in script shebang: #!python"),
        (b"#!lua x=y\n", b"ERR Unknown lua shebang option: x=y"),
        (b"#!lua flags=a\n", b"ERR Unexpected flag in script shebang: a"),
    ],
)
def test_parse_shebang_refuses_what_it_does_not_know(body: bytes, message: bytes) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_shebang(body)
    assert caught.value.message == message
