"""What decoding can raise on bytes from outside: every reader here catches all of it."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # no JSON or other types, no UTF-8, too deep
