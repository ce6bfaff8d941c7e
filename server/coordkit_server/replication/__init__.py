"""Replication, as a primary: replicas, the stream of changes, its backlog."""
