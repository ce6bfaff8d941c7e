"""Users and what they may do: rules, selectors, users, the log of what was refused.  No commands, no clients here."""
