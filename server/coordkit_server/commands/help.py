"""The reply of HELP, which every container of subcommands has."""

from coordkit_server.resp.reply import Simple


def help_reply(container: bytes, lines: list[bytes]) -> object:
    """Return a heading, `lines` (a usage line, then indented what it does) and the entry of HELP itself."""
    heading = container + b" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    return [Simple(line) for line in (heading, *lines, b"HELP", b"    Print this help.")]
