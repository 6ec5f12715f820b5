"""What the relay may ask of the exchange behind it: its request weight, and silence after a refusal. Pure."""

import re
from collections.abc import Mapping

MINUTE_MS = 60_000
_SHARE = 0.8
"""Of the limit: others on the same address need some too."""
_PAUSE_MS = {429: 10_000, 418: 120_000}
"""How long to be silent when the refusal does not say."""
_BANNED = re.compile(r"banned until (\d{13})")


class Budget:
    """Weight used in this minute, as counted here and as the exchange says it in its headers."""

    def __init__(self, limit: int = 2_400) -> None:
        self.limit = limit
        self._minute = 0
        self._used = 0
        self._silent_until_ms = 0

    def wait_ms(self, now_ms: int, weight: int) -> int:
        """0 if a request of this weight may go now, else how long to wait."""
        if now_ms < self._silent_until_ms:
            return self._silent_until_ms - now_ms
        self._turn(now_ms)
        return 0 if self._used + weight <= self.limit * _SHARE else MINUTE_MS - now_ms % MINUTE_MS

    def spend(self, now_ms: int, weight: int) -> None:
        """A request goes out."""
        self._turn(now_ms)
        self._used += weight

    def answered(self, now_ms: int, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Learn from an answer: the weight it reports, and how long a refusal wants silence."""
        self._turn(now_ms)
        reported = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if reported.isascii() and reported.isdigit():
            self._used = max(self._used, int(reported[:9]))
        if status in _PAUSE_MS:
            self._silent_until_ms = max(self._silent_until_ms, now_ms + _pause_ms(now_ms, status, headers, body))

    def _turn(self, now_ms: int) -> None:
        minute = now_ms // MINUTE_MS
        if minute != self._minute:
            self._minute, self._used = minute, 0


def _pause_ms(now_ms: int, status: int, headers: Mapping[str, str], body: bytes) -> int:
    after = headers.get("Retry-After", "")
    if after.isascii() and after.isdigit():
        return int(after[:6]) * 1000
    banned = _BANNED.search(body.decode("utf-8", "replace"))
    if banned is not None:
        return max(1000, int(banned[1]) - now_ms)
    return _PAUSE_MS[status]
