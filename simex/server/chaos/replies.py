"""What a fault makes of an HTTP answer: lost, cut, an error, any text, half a JSON, drips."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from simex.server.chaos.variants import ERROR_VARIANTS
from simex.server.faults import RequestFault

JSON_TYPE, HTML_TYPE = "application/json", "text/html"
_DRIP_BYTES, _DRIP_EVERY_MS = 16, 50


async def spoilt(
    request: web.Request, fault: RequestFault, status: int, content: bytes, headers: Mapping[str, str], now_ms: int
) -> web.StreamResponse:
    """The answer as the fault leaves it; `status`, `content` and `headers` are the good one's."""
    if fault.how == "lost" and fault.when == "during":
        return await _in_parts(request, status, content, headers, (max(1, len(content) // 2), 0), cut=True)
    if fault.how == "lost":
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # never seen: the connection is gone
    if fault.how == "drip":
        pace = int(fault.fields.get("bytes", _DRIP_BYTES)), int(fault.fields.get("every_ms", _DRIP_EVERY_MS))
        return await _in_parts(request, status, content, headers, pace, cut=False)
    if fault.how == "truncate":
        return web.Response(status=status, body=content[: len(content) // 2], headers=headers)
    if fault.how == "body":
        text = fault.fields["body"]
        kind = HTML_TYPE if text.startswith("<") else JSON_TYPE
        return web.Response(status=fault.fields.get("status", 200), text=text, content_type=kind)
    status, body = error_of(fault)
    more = {"Retry-After": str(retry_after_s(fault, now_ms))} if status in (418, 429) else {}
    if isinstance(body, str):
        return web.Response(status=status, text=body, content_type=HTML_TYPE, headers=more)
    return web.Response(status=status, body=orjson.dumps(body), content_type=JSON_TYPE, headers=more)


def error_of(fault: RequestFault) -> tuple[int, Any]:
    """HTTP status and body of an error variant: a JSON object, or a page."""
    status, body = ERROR_VARIANTS[fault.fields["variant"]]
    if isinstance(body, dict):
        return status, {**body, "msg": str(body["msg"]).replace("{until_ms}", str(fault.ban_until_ms))}
    return status, body


def retry_after_s(fault: RequestFault, now_ms: int) -> int:
    """Seconds to the end of the fault."""
    return max(1, -(-(fault.ban_until_ms - now_ms) // 1000))


async def _in_parts(
    request: web.Request, status: int, content: bytes, headers: Mapping[str, str], pace: tuple[int, int], *, cut: bool
) -> web.StreamResponse:
    """Head with the whole length, then the body in parts; with `cut` TCP ends after the first."""
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(content)
    size, every_ms = pace
    try:
        await response.prepare(request)
        for place in range(0, len(content), size):
            await response.write(content[place : place + size])
            if cut:
                if request.transport is not None:
                    request.transport.close()
                break
            await asyncio.sleep(every_ms / 1000)
    except ConnectionError:
        return response  # the reader has gone: there is nobody left to drip to
    return response
