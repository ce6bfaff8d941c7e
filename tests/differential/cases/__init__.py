"""One module a group of commands, each with its list `CASES`."""
