"""Channels: `Channel` and `AsyncChannel` send messages to whoever listens now, and listen."""
