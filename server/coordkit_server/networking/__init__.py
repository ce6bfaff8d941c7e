"""Sockets: event loop, connections, listeners."""
