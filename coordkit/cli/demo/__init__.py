"""`coordkit demo`: several processes share real work on one server, and some of them are killed.

command   the options
texts     which files, and what is counted in them
record    the shared record: its keys and scripts, what is written and how it is read
jobs      the queue and its handler, run by the worker processes
crew      starting and killing worker processes
referee   the checks: pure functions over what the workers wrote down
display   the progress bar and the final table, or plain lines
show      the run from start to end
"""

from coordkit.cli.demo.command import command

__all__ = ["command"]
