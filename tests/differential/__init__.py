"""The same commands on a real server and on the bundled one; every reply must be the same, type and all."""
