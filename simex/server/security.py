"""Who is asking: API key, signature, timestamp. Pure; the secrets stay inside."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from simex.core.api import AccountSpec
from simex.server.params import optional_whole, signed_text, whole
from simex.server.public_keys import Check, Kind, read_public_key
from simex.server.refusals import Refused, missing

_KEY_FORMAT = re.compile(r"[A-Za-z0-9_-]{1,128}")
DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
_AHEAD_MS = 1_000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key of an account. An account has one of HMAC and any number of others."""

    account: str
    kind: Kind
    genuine: Check = field(repr=False)


class Keyring:
    """The configured accounts by API key. Without `judges_time` a timestamp is as good as any other: no client can
    follow a clock that runs at another speed."""

    def __init__(self, accounts: Sequence[AccountSpec], *, judges_time: bool = True) -> None:
        self._judges_time = judges_time
        self._by_key: dict[str, ApiKey] = {}
        self._revoked: list[str | None] = []
        for account in accounts:
            self._add(account.api_key, ApiKey(account.name, "HMAC", _hmac(account.api_secret)))
            for api_key, pem in account.public_keys.items():
                self._add(api_key, ApiKey(account.name, *read_public_key(pem)))

    def _add(self, api_key: str, entry: ApiKey) -> None:
        if api_key in self._by_key:
            raise ValueError("two accounts share one api_key: give each account a key of its own")
        self._by_key[api_key] = entry

    def account_of(self, api_key: str | None) -> str:
        """The account's name. Raises Refused -2014 (no key, or not the form of one) or -2015 (unknown key)."""
        return self.entry(api_key).account

    def entry(self, api_key: str | None) -> ApiKey:
        """What an API key stands for. Raises Refused -2014 or -2015."""
        if not api_key or not _KEY_FORMAT.fullmatch(api_key):
            raise Refused(401, -2014, "API-key format invalid.")
        entry = self._by_key.get(api_key)
        if entry is None or self.is_revoked(entry.account):
            raise invalid_key()
        return entry

    def is_revoked(self, account: str) -> bool:
        """Whether the account's keys are worth nothing now."""
        return bool(self._revoked) and (None in self._revoked or account in self._revoked)

    def revoke(self, account: str | None) -> None:
        """Take an account's keys back, or everybody's, until `restore`."""
        self._revoked.append(account)

    def restore(self, account: str | None) -> None:
        """Take one `revoke` back."""
        self._revoked.remove(account)

    def verify(self, now_ms: int, api_key: str | None, query: str, body: str, params: Mapping[str, str]) -> str:
        """Check a signed REST request and return the account's name. Raises Refused."""
        return self.check(now_ms, api_key, (signed_text(query, body),), params).account

    def check(self, now_ms: int, api_key: str | None, texts: Iterable[str], params: Mapping[str, str]) -> ApiKey:
        """Check key, time and signature; the sender signed one of `texts`. Raises Refused."""
        entry = self.entry(api_key)
        self.check_time(now_ms, params)
        signature = params.get("signature")
        if signature is None:
            raise missing("signature")
        if not any(entry.genuine(text, signature) for text in texts):
            raise Refused(400, -1022, "Signature for this request is not valid.")
        return entry

    def check_time(self, now_ms: int, params: Mapping[str, str]) -> None:
        """The timestamp rule (`check_time`), where time is judged; else only its form."""
        check_time(now_ms if self._judges_time else whole(params, "timestamp"), params)


def invalid_key() -> Refused:
    """-2015: no such key, or not any more."""
    return Refused(401, -2015, "Invalid API-key, IP, or permissions for action.")


def _hmac(secret: str) -> Check:
    def genuine(text: str, signature: str) -> bool:
        expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), signature.lower().encode())

    return genuine


def check_time(now_ms: int, params: Mapping[str, str]) -> None:
    """The timestamp rule: less than a second ahead, and not older than recvWindow. Raises Refused."""
    timestamp = whole(params, "timestamp")
    window = optional_whole(params, "recvWindow")
    window = DEFAULT_WINDOW_MS if window is None else window
    if window > MAX_WINDOW_MS:
        raise Refused(400, -1131, "recvWindow must be less than 60000")
    if timestamp >= now_ms + _AHEAD_MS:
        raise Refused(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - timestamp > window:
        raise Refused(400, -1021, "Timestamp for this request is outside of the recvWindow.")
