"""Says whether an append-only file is whole, and if not, where it breaks (`coordkit server --check FILE`)."""

import os
from typing import Final

from coordkit_server.datatypes.limits import Limits
from coordkit_server.persistence.aof_reader import Broken, CommandReader, Torn
from coordkit_server.persistence.check import Report, is_snapshot
from coordkit_server.persistence.files import FileSystem
from coordkit_server.persistence.manifest import ManifestError, parse_manifest
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.persistence.rdb import Loader, LoadOptions, NoLibraries
from coordkit_server.persistence.rdb_format import Reader

_KEEP_ALL: Final = -1
_HEAD: Final = 16


def is_log(path: str, head: bytes) -> bool:
    """Return True if the file at `path`, which starts with `head`, is a part of an append-only file or a manifest."""
    return path.endswith((".manifest", ".aof")) or head.startswith((b"*", b"#TS:", b"file "))


def check_log(path: str, files: FileSystem) -> Report:
    """Return what is to be said of a manifest and its files, or of one of them.  Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if not (path.endswith(".manifest") or head.startswith(b"file ")):
        return check_part(path, files)
    with open(path, "rb") as file:
        text = file.read()
    try:
        manifest = parse_manifest(os.path.basename(path), text)
    except ManifestError as error:
        return Report([f"line {error.line_number}: {error.reason}"], good=False)
    lines: list[str] = []
    bad: list[Report] = []
    last = Report([], good=True)
    for part in manifest.parts():
        last = check_part(os.path.join(os.path.dirname(path), part.name), files)
        lines.extend(f"{part.name}: {line}" for line in last.lines)
        if not last.good:
            bad.append(last)
    lines.append("not all files are whole" if bad else "the manifest and its files are whole")
    if bad == [last]:  # only the last file may end early: what is in the others came before
        return Report(lines, good=False, path=last.path, good_bytes=last.good_bytes)
    return Report(lines, good=not bad)


def check_part(path: str, files: FileSystem) -> Report:
    """Return what is to be said of one file: a snapshot, commands, or both.  Raises OSError."""
    offset = 0
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if is_snapshot(head):
        source = files.open(path)
        reader = Reader(b"", source, checksums=True)
        loader = Loader(reader, None, LoadOptions(Limits(), NoLibraries(), _KEEP_ALL))
        try:
            loader.run()
        except BadFormat as error:
            return Report([f"offset {loader.item_at}: {error}"], good=False)
        finally:
            source.close()
        offset = reader.offset()
    return _check_commands(path, offset)


def _check_commands(path: str, offset: int) -> Report:
    """Return what is to be said of the commands from `offset` on."""
    count = 0
    transaction_at = -1
    with open(path, "rb") as file:
        file.seek(offset)
        reader = CommandReader(file, offset)
        while True:
            before = reader.offset
            try:
                argv = reader.next_command()
            except Torn:
                return _torn(path, transaction_at if transaction_at >= 0 else reader.offset)
            except Broken as error:
                whole = transaction_at if transaction_at >= 0 else reader.offset
                return Report([f"offset {reader.offset}: {error}"], good=False, path=path, good_bytes=whole)
            if argv is None:
                break
            count += 1
            name = argv[0].upper()
            if name == b"MULTI":
                transaction_at = before
            elif name in (b"EXEC", b"DISCARD"):
                transaction_at = -1
    if transaction_at >= 0:
        return _torn(path, transaction_at)
    return Report([f"{count} commands, all whole"], good=True)


def _torn(path: str, offset: int) -> Report:
    """Return what is to be said of a file that is whole up to `offset` and ends too early."""
    line = f"offset {offset}: the file ends within a command or a transaction"
    return Report([line], good=False, path=path, good_bytes=offset)
