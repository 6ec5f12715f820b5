"""Run inside schemathesis' own environment: requests get a key, a time and a signature, as a client would send them.

One in ten is left as it was drawn, with whatever key and signature that has.
"""

import hashlib
import hmac
import time
from typing import Any

import schemathesis  # type: ignore[import-not-found,unused-ignore]
from requests.models import RequestEncodingMixin  # type: ignore[import-untyped,import-not-found,unused-ignore]

_count = 0


@schemathesis.hook  # type: ignore[untyped-decorator,unused-ignore]
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Sign what will be sent, byte for byte."""
    global _count
    _count += 1
    if _count % 10 == 0:
        return
    case.headers = {**(case.headers or {}), "X-MBX-APIKEY": "simex"}
    query = case.query
    if not isinstance(query, dict) or "timestamp" not in query:
        return
    query.pop("signature", None)
    query["timestamp"] = round(time.time() * 1000)
    text = RequestEncodingMixin._encode_params(query)
    query["signature"] = hmac.new(b"simex", str(text).encode(), hashlib.sha256).hexdigest()
