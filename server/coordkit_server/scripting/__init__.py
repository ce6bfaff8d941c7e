"""Lua scripts: the engine, value conversion, libraries and the script cache."""
