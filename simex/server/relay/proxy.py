"""REST of the exchange behind the relay: asked once for many, within its weight, answered unchanged."""

import asyncio
import logging
from collections.abc import Mapping
from urllib.parse import quote

import aiohttp
from yarl import URL

from simex.server.clock import Clock
from simex.server.refusals import Refused
from simex.server.relay.budget import Budget
from simex.server.relay.cache import Answer, Cache, keep_ms

log = logging.getLogger("simex.relay")

_TIMEOUT_S = 10.0
_AS_SENT = "".join(map(chr, range(33, 127)))
"""Everything a request line may hold; the rest (a symbol's Chinese characters) is percent-encoded."""
_MAX_BODY_BYTES = 32 * 1024 * 1024


def gone() -> Refused:
    """The exchange behind the relay does not answer: its own words for a request that surely did nothing."""
    return Refused(503, 0, "Service Unavailable.")


class Proxy:
    """Requests to one upstream. `fetch` answers from the cache, joins a request under way, or asks."""

    def __init__(self, session: aiohttp.ClientSession, base: str, clock: Clock) -> None:
        self.base = base
        self.budget = Budget()
        self._session = session
        self._clock = clock
        self._cache = Cache()
        self._asking: dict[tuple[str, str], asyncio.Future[Answer]] = {}

    async def fetch(self, path: str, query: str, params: Mapping[str, str], weight: int) -> Answer:
        """The answer to `GET path?query`. Raises Refused: 503 if nobody answers, 429 if the weight is used up."""
        now, key = self._clock.wall_ms(), (path, query)
        found = self._cache.get(now, key)
        if found is not None:
            return found
        hold_ms = keep_ms(path, params, now)
        if not hold_ms:  # must be newer than the question
            return await self.ask(path, query, weight)
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.ensure_future(self._ask_and_keep(key, weight, hold_ms))
            asking.add_done_callback(_looked_at)
            self._asking[key] = asking
        return await asyncio.shield(asking)

    async def _ask_and_keep(self, key: tuple[str, str], weight: int, hold_ms: int) -> Answer:
        try:
            answer = await self.ask(*key, weight)
        finally:
            del self._asking[key]
        self._cache.put(self._clock.wall_ms(), key, answer, hold_ms)
        return answer

    async def ask(self, path: str, query: str, weight: int) -> Answer:
        """One request, never from the cache. Raises Refused as `fetch` does."""
        now = self._clock.wall_ms()
        wait_ms = self.budget.wait_ms(now, weight)
        if wait_ms:
            text = (
                f"Too many requests; current limit of IP is {self.budget.limit} requests per minute. "
                "Please use the websocket for live updates to avoid polling the API."
            )
            raise Refused(429, -1003, text, {"Retry-After": str(-(-wait_ms // 1000))})
        self.budget.spend(now, weight)
        url = quote(f"{self.base}{path}?{query}" if query else f"{self.base}{path}", safe=_AS_SENT)
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._session.get(URL(url, encoded=True)) as reply:
                body = await reply.content.read(_MAX_BODY_BYTES)
                while chunk := await reply.content.read(_MAX_BODY_BYTES - len(body)):
                    body += chunk
                status, headers = reply.status, dict(reply.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("%s%s: no answer (%s: %s)", self.base, path, type(error).__name__, error)
            self._cache.clear()
            raise gone() from error
        self.budget.answered(self._clock.wall_ms(), status, headers, body)
        return Answer(status, body, headers.get("Content-Type", "application/json"))


def _looked_at(asking: "asyncio.Future[Answer]") -> None:
    """Its askers may all have gone; nobody misses the refusal then."""
    if not asking.cancelled():
        asking.exception()
