"""One data structure a file: no keys, no clock, no replies."""
