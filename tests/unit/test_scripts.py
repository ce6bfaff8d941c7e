"""Every Lua file keeps the contract of its header, and every row of a script equals it."""

import hashlib
import importlib
import pkgutil
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

import coordkit
from coordkit.errors import ConfigurationError
from coordkit.scripts import Script, resolved_text, source_text

LUA = Path(str(files("coordkit").joinpath("lua")))
KEY = re.compile(r"KEYS\[(\d+)(\.\.\.)?\] (\w+)")
ARGUMENT = re.compile(r"ARGV\[(\d+)(\.\.\.)?\] (\w+)")


def all_scripts() -> Iterator[Script[object]]:
    """Every Script that a module of the package defines, once."""
    seen: set[str] = set()
    for module in pkgutil.walk_packages(coordkit.__path__, "coordkit."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            candidates = value if isinstance(value, list | tuple) else (value,)
            for script in candidates:
                if isinstance(script, Script) and script.name not in seen:
                    seen.add(script.name)
                    yield script


SCRIPTS = sorted(all_scripts(), key=lambda script: script.name)
NAMES = [script.name for script in SCRIPTS]


def header(name: str) -> str:
    """The comment lines at the top of a script."""
    lines = []
    for line in source_text(name).splitlines():
        if not line.startswith("--"):
            break
        lines.append(line)
    return "\n".join(lines)


def declared(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """The names a header declares, checked to be numbered from 1 without holes; a tail gets its star."""
    found = pattern.findall(text)
    assert [int(number) for number, _, _ in found] == list(range(1, len(found) + 1))
    assert not any(tail for _, tail, _ in found[:-1]), "only the last one may be a tail"
    return tuple(f"*{name}" if tail else name for _, tail, name in found)


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_script_row_equals_header_of_its_file(script: Script[object]) -> None:
    text = header(script.name)
    assert declared(KEY, text) == script.keys
    assert declared(ARGUMENT, text) == script.args


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_script_header_says_what_it_does_and_returns(script: Script[object]) -> None:
    lines = header(script.name).splitlines()
    assert lines[0].startswith(f"-- {script.name.split('/')[-1]}: ")
    assert any(line.startswith("-- returns ") for line in lines)


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_script_sha1_is_that_of_the_text_sent(script: Script[object]) -> None:
    assert script.sha1 == hashlib.sha1(script.text.encode()).hexdigest()


def test_every_lua_file_has_exactly_one_row() -> None:
    in_files = {
        path.relative_to(LUA).with_suffix("").as_posix()
        for path in LUA.rglob("*.lua")
        if "include" not in path.relative_to(LUA).parts
    }
    assert in_files == set(NAMES)


def test_resolved_text_puts_an_include_before_its_user_and_only_once() -> None:
    text = resolved_text("lock_acquire")
    assert text.count("local function now_us()") == 1
    assert text.index("local function now_us()") < text.index("now_us()", text.index("local owner"))


def test_source_text_of_unknown_script_raises() -> None:
    with pytest.raises(ConfigurationError, match="no script"):
        source_text("no_such_script")
