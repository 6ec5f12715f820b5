"""Signatures: HMAC-SHA256 over exactly the bytes that are sent (reference §3.2).

Parameters are percent-encoded first, in their order, joined, signed, and the signature appended last; nothing may
touch the text afterwards. Two pre-keyed SHA-256 states are copied for each signature: half the cost of `hmac.new`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import quote

_BLOCK = 64
_PLAIN = re.compile(r"[A-Za-z0-9_.~=&-]*").fullmatch


def encode_params(params: Iterable[tuple[str, str]]) -> str:
    """`a=1&b=x%2Fy`: values percent-encoded as UTF-8, order kept. Raises ValueError on an empty value (§3.2)."""
    pairs = tuple(params)
    text = "&".join(map("=".join, pairs))
    if _PLAIN(text) is None or text.count("=") != len(pairs) or text.count("&") != max(0, len(pairs) - 1):
        text = "&".join([f"{name}={quote(value, safe='-_.~')}" for name, value in pairs])
    if "=&" in text or text.endswith("="):
        empty = [name for name, value in pairs if not value]
        raise ValueError(f"empty value for {', '.join(empty)}: leave the parameter out")
    return text


class Signer:
    """Holds the account's key pair. Neither `repr` nor an error ever shows it; it cannot be pickled."""

    __slots__ = ("_api_key", "_inner", "_outer")

    def __init__(self, api_key: str, api_secret: str) -> None:
        if not api_key or not api_secret:
            raise ValueError("API key and secret must not be empty")
        key = api_secret.encode()
        if len(key) > _BLOCK:
            key = hashlib.sha256(key).digest()
        key = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
        self._api_key = api_key

    def __repr__(self) -> str:
        return "Signer(***)"

    def __reduce__(self) -> str:
        raise TypeError("a Signer holds a secret and is not pickled")

    @property
    def key_header(self) -> tuple[str, str]:
        return "X-MBX-APIKEY", self._api_key

    def sign(self, payload: bytes) -> str:
        """Hex digest of HMAC-SHA256(secret, payload)."""
        inner = self._inner.copy()
        inner.update(payload)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    plain = staticmethod(encode_params)

    def query(self, params: Iterable[tuple[str, str]]) -> str:
        """The whole query string of a signed request: encoded parameters, then `&signature=` as the last one."""
        text = encode_params(params)
        return f"{text}&signature={self.sign(text.encode('ascii'))}"
