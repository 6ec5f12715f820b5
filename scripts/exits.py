"""Exit codes of every command (design section 10)."""

DONE = 0
FAILED = 1  # the thing asked for failed
USAGE = 2  # wrong usage or configuration, or already running
ABSENT = 3  # the other side is not there
UNKNOWN = 4  # the outcome is unknown
