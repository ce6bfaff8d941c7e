"""Transports: how a request reaches the server.  `base` says what each of them offers."""
