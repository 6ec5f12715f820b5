"""Who is asking: API key, signature, timestamp. Pure; the secrets stay inside."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from simex.core.api import AccountSpec
from simex.server.params import optional_whole, signed_text, whole
from simex.server.refusals import Refused, missing

_KEY_FORMAT = re.compile(r"[A-Za-z0-9_-]{1,128}")
DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
_AHEAD_MS = 1_000


class Keyring:
    """The configured accounts by API key."""

    def __init__(self, accounts: Sequence[AccountSpec]) -> None:
        self._by_key = {account.api_key: account for account in accounts}
        if len(self._by_key) != len(accounts):
            raise ValueError("two accounts share one api_key: give each account a key of its own")

    def account_of(self, api_key: str | None) -> str:
        """The account's name. Raises Refused -2014 (no key, or not the form of one) or -2015 (unknown key)."""
        return self._spec(api_key).name

    def verify(self, now_ms: int, api_key: str | None, query: str, body: str, params: Mapping[str, str]) -> str:
        """Check a signed request and return the account's name. Raises Refused."""
        spec = self._spec(api_key)
        check_time(now_ms, params)
        signature = params.get("signature")
        if signature is None:
            raise missing("signature")
        text = signed_text(query, body)
        expected = hmac.new(spec.api_secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
            raise Refused(400, -1022, "Signature for this request is not valid.")
        return spec.name

    def _spec(self, api_key: str | None) -> AccountSpec:
        if not api_key or not _KEY_FORMAT.fullmatch(api_key):
            raise Refused(401, -2014, "API-key format invalid.")
        spec = self._by_key.get(api_key)
        if spec is None:
            raise Refused(401, -2015, "Invalid API-key, IP, or permissions for action.")
        return spec


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
