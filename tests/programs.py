"""Programs of other people that some tests talk to: found, or the test is skipped (in CI: it fails)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


def missing(what: str) -> NoReturn:
    """Skip the running test, in CI fail it: there a skipped test would hide that nothing was compared."""
    message = f"{what} is not installed; .ci/run installs it"
    if in_ci():
        pytest.fail(message)
    pytest.skip(message)


def program(name: str) -> str:
    """Return the path of `name` on PATH; skip or fail the test without it."""
    path = shutil.which(name)
    return path if path is not None else missing(name)


def node_modules(package: str) -> Path:
    """Return the node_modules directory that holds `package`, as COORDKIT_NODE_MODULES names it."""
    directory = os.environ.get("COORDKIT_NODE_MODULES")
    if directory is None or not Path(directory, package).is_dir():
        missing(f"the npm package {package} (COORDKIT_NODE_MODULES={directory})")
    return Path(directory)
