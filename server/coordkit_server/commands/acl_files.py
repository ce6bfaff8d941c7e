"""Users on the disk: the ACL file (ACL LOAD, ACL SAVE), and their lines in the configuration file."""

import os
from contextlib import suppress

from coordkit_server.access.user import User
from coordkit_server.access.users import UserError
from coordkit_server.context import Services


def user_lines(services: Services) -> list[str]:
    """Return the users as lines of a configuration file; none if they stand in a file of their own or are as usual."""
    if services.config.text("aclfile") or services.users.is_pristine():
        return []
    return [line.decode("utf-8", "surrogateescape") for line in services.users.lines()]


def load_file(services: Services) -> dict[bytes, User]:
    """Replace all users by those in the ACL file; return those that were.  Raises UserError."""
    path = services.config.text("aclfile")
    shown = path.encode("utf-8", "surrogateescape")
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        reason = (error.strerror or str(error)).encode("utf-8", "replace")
        raise UserError(b"Error loading ACLs, opening file '" + shown + b"': " + reason) from error
    return services.users.load(shown, text)


def save_file(services: Services) -> bool:
    """Replace the ACL file by the users of now; return False, and log why, if that failed."""
    path = services.config.text("aclfile")
    temporary = f"{path}.tmp-{os.getpid()}-{services.state.now_ms}"
    try:
        with open(temporary, "wb") as file:
            file.write(b"".join([line + b"\n" for line in services.users.lines()]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    except OSError as error:
        services.log.warning(f"Saving the ACL file {path}: {error.strerror}")
        with suppress(OSError):  # it may not have come into being
            os.unlink(temporary)
        return False
    return True
