"""Command handlers, one group a file, and the table that joins them."""
