"""listenKeys: one per account, 60 minutes of life, extended by POST and PUT. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from simex.server.refusals import Refused

LIFE_MS = 60 * 60_000


@dataclass(slots=True)
class _Key:
    text: str
    expires_ms: int


class ListenKeys:
    """`make` yields a new 64-character key for an account."""

    def __init__(self, make: Callable[[str], str], life_ms: int = LIFE_MS) -> None:
        self._make = make
        self._life_ms = life_ms
        self._keys: dict[str, _Key] = {}

    def create(self, now_ms: int, account: str) -> str:
        """POST: the account's active key, extended, or a new one."""
        key = self._keys.get(account)
        if key is None:
            key = self._keys[account] = _Key(self._make(account), 0)
        key.expires_ms = now_ms + self._life_ms
        return key.text

    def extend(self, now_ms: int, account: str) -> str:
        """PUT: the key, alive for its whole life again. Raises Refused -1125 if there is none."""
        key = self._keys.get(account)
        if key is None:
            raise Refused(400, -1125, "This listenKey does not exist.")
        key.expires_ms = now_ms + self._life_ms
        return key.text

    def close(self, account: str) -> str | None:
        """DELETE, or expiry by hand: the key that ended, None if there was none."""
        key = self._keys.pop(account, None)
        return key.text if key else None

    def expired(self, now_ms: int) -> list[str]:
        """Keys whose time is over; they are gone after this call."""
        over = [(account, key.text) for account, key in self._keys.items() if now_ms >= key.expires_ms]
        for account, _ in over:
            del self._keys[account]
        return [text for _, text in over]

    def key_of(self, account: str) -> str | None:
        """The account's active key."""
        key = self._keys.get(account)
        return key.text if key else None

    def accounts(self) -> list[str]:
        """The accounts that have an active key."""
        return list(self._keys)
