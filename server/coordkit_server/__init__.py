"""The bundled server: a single-node server that speaks Redis's protocol at the level of Redis 7.2."""

from typing import Final

__version__: Final = "0.1.0"
REDIS_LEVEL: Final = "7.2.6"
