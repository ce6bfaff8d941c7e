"""The libraries of functions, as snapshots read and write them."""

from coordkit_server.commands.script_host import ScriptHost
from coordkit_server.context import Services
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.persistence.rdb import LibraryStore
from coordkit_server.scripting.cache import ScriptError


class ScriptLibraries(LibraryStore):
    """What FUNCTION LOAD keeps; the host of scripts is made when it is needed."""

    def __init__(self) -> None:
        self._services: Services | None = None

    def attach(self, services: Services) -> None:
        """Serve these services from now on."""
        self._services = services

    def _host(self, create: bool) -> ScriptHost | None:
        """Return the host of scripts, None if there is none and it is not to be made."""
        services = self._services
        if services is None:
            return None
        host = services.scripts
        if isinstance(host, ScriptHost):
            return host
        if not create:
            return None
        made = ScriptHost(services)
        services.scripts = made
        return made

    def sources(self) -> list[bytes]:
        """Return the source of each library."""
        host = self._host(create=False)
        if host is None or not host.has_functions():
            return []
        return [library.code for library in host.functions().libraries.values()]

    def load_source(self, code: bytes, replace: bool) -> None:
        """Load a library.  Raises BadFormat."""
        host = self._host(create=True)
        if host is None:
            return
        try:
            host.functions().load(code, replace)
        except ScriptError as error:
            raise BadFormat("a library of functions: " + error.message.decode("utf-8", "replace")) from error

    def drop_all(self) -> None:
        """Remove all libraries."""
        host = self._host(create=False)
        if host is not None and host.has_functions():
            host.functions().flush()
