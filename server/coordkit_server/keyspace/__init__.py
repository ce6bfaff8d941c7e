"""Databases of keys: lookup, expiry, watching, blocking, events."""
