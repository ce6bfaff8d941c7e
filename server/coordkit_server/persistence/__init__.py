"""File formats, snapshots and what else outlives the process."""
