"""Keeps the key of the private stream alive: created at start, renewed, made anew when it is gone or in doubt.

It is never deleted: it belongs to the account, and another process may be using it. No text here ever holds the key.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.inputs import Now, RestFailed, RestReply
from gateway.core.market_context import MarketContext
from gateway.core.market_data import BadReply, KeyRefused, ListenKeyGone
from gateway.core.market_settings import LinkSettings
from gateway.core.market_venue import MarketVenue
from gateway.core.parts import Out

_MS = 1_000_000
ANSWER_LOST_MS = 30_000


@dataclass(slots=True, repr=False)
class KeyNews:
    """What a step led to. `fresh` is set once for each key that a connection should now be made with."""

    out: Out
    fresh: str | None = None


class KeyGuardian:
    """Keys ("links", "key", "create" | "renew", serial)."""

    __slots__ = (
        "_asked_ns", "_context", "_creating", "_due_ns", "_failures", "_key", "_renewed_ns", "_serial", "_settings",
        "_venue",
    )  # fmt: skip

    def __init__(self, settings: LinkSettings, context: MarketContext, venue: MarketVenue) -> None:
        self._settings = settings
        self._context = context
        self._venue = venue
        self._key: str | None = None
        self._creating = False
        self._asked_ns: int | None = None
        self._due_ns: int | None = None
        self._renewed_ns = 0
        self._serial = 0
        self._failures = 0

    @property
    def key(self) -> str | None:
        return self._key

    def create(self, now: Now) -> Out:
        """Ask for a key (an active one comes back, extended). Supersedes whatever was asked before."""
        self._key = None
        self._creating = True
        self._due_ns = None
        return self._ask(now)

    def lost(self, now: Now, reason: str) -> Out:
        """The key expired, is unknown to the exchange, or its stream is mute."""
        if self._creating:
            return []
        event = self._context.events.add(now, "listen_key.lost", {"reason": reason[:200]})
        return [event, *self.create(now)]

    def _ask(self, now: Now) -> Out:
        self._serial += 1
        self._asked_ns = now.boot_ns
        if self._creating:
            return [self._venue.create_listen_key(("links", "key", "create", self._serial))]
        return [self._venue.renew_listen_key(("links", "key", "renew", self._serial))]

    def on_rest(self, now: Now, reply: RestReply | RestFailed) -> KeyNews:
        if self._asked_ns is None or reply.key[3] != self._serial:
            return KeyNews([])
        self._asked_ns = None
        try:
            if isinstance(reply, RestFailed):
                raise BadReply(f"no answer about the listenKey ({reply.reason[:300]})")
            if self._creating:
                key = self._venue.parse_listen_key(reply.status, reply.body)
            else:
                key = None
                self._venue.parse_renewal(reply.status, reply.body)
        except ListenKeyGone as gone:
            return KeyNews(self.lost(now, str(gone)))
        except BadReply as bad:
            return KeyNews(self._failed(now, str(bad), refused=isinstance(bad, KeyRefused)))
        self._failures = 0
        self._renewed_ns = now.boot_ns
        self._due_ns = now.boot_ns + self._settings.renew_key_ms * _MS
        if key is None:
            self._context.notices.count("listen_key.renewed")
            return KeyNews([])
        self._creating = False
        self._key = key
        return KeyNews([], fresh=key)

    def _failed(self, now: Now, detail: str, *, refused: bool = False) -> Out:
        self._failures += 1
        self._due_ns = now.boot_ns + self._context.backoff_ns(self._failures, 500, 3_000)
        step = "check the API key of this account and its permissions" if refused else "it is asked again"
        say = self._context.notices.say
        return list(say(now, "error", "listen_key.failed", "listenKey", detail=detail, next_step=step))

    def on_tick(self, now: Now) -> Out:
        if self._asked_ns is not None and now.boot_ns - self._asked_ns > ANSWER_LOST_MS * _MS:
            self._asked_ns = None
            return self._failed(now, "no answer about the listenKey")
        held = self._key is not None and not self._creating
        if held and now.boot_ns - self._renewed_ns > self._settings.key_dead_ms * _MS:
            return self.lost(now, "its renewals failed for too long")
        if self._asked_ns is None and self._due_ns is not None and now.boot_ns >= self._due_ns:
            self._due_ns = None
            return self._ask(now)
        return []

    def next_deadline_boot_ns(self) -> int | None:
        return self._due_ns
