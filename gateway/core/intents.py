"""Intents by name: what was asked, what became of it, and who waits for that (design section 3)."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import msgspec

from gateway.core.client_ids import run_number
from gateway.core.order_record import Order
from gateway.core.rows import OutcomeRow
from ipc.wire import Place

Name = tuple[str, str, int]  # brain, run, seq


class Waiter(NamedTuple):
    """One unanswered request; `until_boot_ns` is when it is answered with `unknown` if need be."""

    client: int
    request_id: int
    until_boot_ns: int


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """The final outcome as `OutcomeRow.answer` holds it; the order itself is in its own row."""

    outcome: str
    code: str | None = None
    message: str = ""
    retryable: bool = False
    detail: dict[str, Any] = {}


ACCEPTED = Stored("accepted")


class Intent:
    """One intent in this process. `order` is its newest attempt; `outcome` is set once, when nothing can change it.

    `deadline_boot_ns` None: never. `own`: the gateway's (a flatten). `not_before_ns`, `held_since_ns`: it waits for a
    retry, a quiet reading, or (after a restart) for the exchange's filters.
    """

    __slots__ = (
        "attempts", "clock_retried", "deadline_boot_ns", "deadline_ms", "followers", "held_since_ns", "name",
        "not_before_ns", "order", "outcome", "own", "person", "place", "request", "waiters",
    )  # fmt: skip

    def __init__(
        self, name: Name, place: Place, request: bytes, *, deadline_ms: int | None, deadline_boot_ns: int | None
    ) -> None:
        self.name = name
        self.place = place
        self.request = request
        self.deadline_ms = deadline_ms
        self.deadline_boot_ns = deadline_boot_ns
        self.attempts = 0
        self.clock_retried = False
        self.order: Order | None = None
        self.outcome: Stored | None = None
        self.waiters: list[Waiter] = []
        self.followers: list[tuple[int, int]] = []  # (client, request id) of reads asked behind an unanswered place
        self.own = False
        self.person = False
        self.not_before_ns = 0
        self.held_since_ns = 0

    @property
    def text(self) -> str:
        return f"{self.name[0]}/{self.name[1]}/{self.name[2]}"

    def expired(self, boot_ns: int) -> bool:
        return self.deadline_boot_ns is not None and boot_ns > self.deadline_boot_ns


ASKED_AHEAD_NS = 100_000_000  # more cannot be: the clock is one for all processes of a boot


def deadline_ns(boot_ns: int, asked_boot_ns: int, deadline_ms: int | None) -> int | None:
    """On CLOCK_BOOTTIME; None: never. A time from the future was taken in another boot: its deadline has passed."""
    if deadline_ms is None:
        return None
    if asked_boot_ns > boot_ns + ASKED_AHEAD_NS:
        return 0
    return min(asked_boot_ns, boot_ns) + deadline_ms * 1_000_000


_request_encoder = msgspec.json.Encoder()
_place_decoder: msgspec.json.Decoder[Place] = msgspec.json.Decoder(Place)
_stored_encoder = msgspec.json.Encoder()
_stored_decoder: msgspec.json.Decoder[Stored] = msgspec.json.Decoder(Stored)
_ID = b',"id":'  # the request's own id is encoded last


def canonical(place: Place) -> bytes:
    """The content of a place as asked, without the request's own id: what `intent.conflict` compares."""
    raw = _request_encoder.encode(place)
    return raw[: raw.rindex(_ID)] + b"}"


def place_of(request: bytes) -> Place:
    """The request of a journal row again. Raises msgspec.DecodeError on a damaged row."""
    return _place_decoder.decode(request[:-1] + _ID + b"0}")


def outcome_row(name: Name, stored: Stored) -> OutcomeRow:
    return OutcomeRow(name[0], name[1], name[2], _stored_encoder.encode(stored), True)


def stored_of(answer: bytes) -> Stored:
    return _stored_decoder.decode(answer)


class IntentTable:
    """All intents of the brains' newest runs, bounded a brain: the oldest finished ones are forgotten, and a name at or
    below what was forgotten is `intent.old_run`, never a second order."""

    __slots__ = ("_by_brain", "_by_name", "_forgotten", "_kept")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._by_name: dict[Name, Intent] = {}
        self._by_brain: dict[str, deque[Name]] = {}
        self._forgotten: dict[str, tuple[int, int]] = {}

    def get(self, name: Name) -> Intent | None:
        return self._by_name.get(name)

    def forgotten(self, name: Name) -> bool:
        """Was an intent of this name, or one after it, already forgotten?"""
        last = self._forgotten.get(name[0])
        return last is not None and (run_number(name[1]), name[2]) <= last

    def forget_up_to(self, brain: str, run: str, seq: int) -> None:
        key = (run_number(run), seq)
        if key > self._forgotten.get(brain, (-1, -1)):
            self._forgotten[brain] = key

    def add(self, intent: Intent) -> None:
        self._by_name[intent.name] = intent
        names = self._by_brain.setdefault(intent.name[0], deque())
        names.append(intent.name)
        if len(names) > self._kept:
            self._evict(names)

    def _evict(self, names: deque[Name]) -> None:
        for _ in range(len(names) - self._kept):
            oldest = self._by_name[names[0]]
            if oldest.outcome is None or oldest.waiters or (oldest.order is not None and not oldest.order.closed):
                names.rotate(-1)  # still alive: look at the next one
                continue
            names.popleft()
            del self._by_name[oldest.name]
            self.forget_up_to(*oldest.name)

    def unfinished(self) -> list[Intent]:
        return [intent for intent in self._by_name.values() if intent.outcome is None]
