"""Other people's clients, unmodified, on the bundled server."""
