"""Every command-line tool: one file a command. Nothing imports this package but those tools.

A Ctrl-C before a command has taken the signal over, while it still imports, ends it in silence by that signal.
"""

import sys
from types import TracebackType

_before = sys.excepthook


def _said(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _before(kind, error, trace)


sys.excepthook = _said
