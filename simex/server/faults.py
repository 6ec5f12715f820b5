"""Faults that can be switched on: what to do to a depth message, a stream, a request. Pure; dice are seeded.

A fault is a JSON object with `fault` (its kind) and fields of that kind; these work for all:
`count` (how often it strikes), `for_s` (how long it lives). With neither it stays until cleared.
Depth faults choose their messages by `nth` (the n-th matching one, then spent) or `share` (0...1, at random).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

MAX_FAULTS = 100
_ANY = {"count", "for_s", "fault"}
_PICK = {"symbol", "nth", "share"}
_REQUEST = {"path", "method", "nth", "share"}

KINDS: dict[str, set[str]] = {
    "depth_drop": _PICK,
    "depth_duplicate": _PICK,
    "depth_reorder": _PICK,
    "depth_delay": _PICK | {"delay_ms"},
    "depth_cut": _PICK,
    "depth_set": _PICK | {"field", "value"},
    "silent": {"route", "stream"},
    "close": {"route", "code"},
    "reply_lost": _REQUEST | {"when"},
    "reply_error": _REQUEST | {"when", "variant"},
    "reply_body": _REQUEST | {"when", "status", "body"},
    "reply_delay": _REQUEST | {"delay_ms"},
    "listen_key_expire": {"account"},
}
"""Fields of each kind. `depth_cut` sends the first half of a message; `depth_set` sends it with one field set
to any JSON value (no `value`: without the field); `reply_body` answers with `status` (200) and the
text `body`, whatever was asked. `close` and `listen_key_expire` act at once and are not kept."""

ERROR_VARIANTS: dict[str, tuple[int, object]] = {
    "503_unknown": (503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."}),
    "503_unavailable": (503, {"code": 0, "msg": "Service Unavailable."}),
    "503_internal": (503, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}),
    "503_throttled": (
        503,
        {
            "code": -1008,
            "msg": "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. "
            "Please try again.",
        },
    ),
    "408": (
        408,
        {
            "code": -1007,
            "msg": "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        },
    ),
    "502_html": (502, "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"),
    "403_html": (403, "<html><head><title>ERROR: The request could not be satisfied</title></head></html>"),
}


@dataclass(slots=True)
class Fault:
    """One switched-on fault: `left` strikes remain (None: no limit), it ends at `until_ms` (None: never)."""

    number: int
    kind: str
    fields: dict[str, Any]
    left: int | None
    until_ms: int | None
    seen: int = 0
    struck: int = 0

    def listing(self) -> dict[str, Any]:
        """As GET /admin/faults shows it."""
        return {
            "id": self.number, "fault": self.kind, **self.fields, "left": self.left, "until_ms": self.until_ms,
            "seen": self.seen, "struck": self.struck,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class RequestFault:
    """What becomes of a request: `how` is "lost", "error" or "body"; before or after it took effect."""

    how: str
    when: str
    variant: str = ""
    status: int = 200
    body: str = ""


def _check(spec: Mapping[str, Any]) -> None:
    kind = spec.get("fault")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown fault {kind!r}; one of {', '.join(sorted(KINDS))}")
    unknown = set(spec) - KINDS[kind] - _ANY
    if unknown:
        allowed = ", ".join(sorted(KINDS[kind] | (_ANY - {"fault"})))
        raise ValueError(f"fault {kind}: unknown field {', '.join(sorted(unknown))}; allowed: {allowed}")
    for name in ("nth", "count", "delay_ms", "code", "status"):
        value = spec.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"fault {kind}: {name} must be a whole number above 0, not {value!r}")
    for name, top in (("share", 1.0), ("for_s", 1e9)):
        value = spec.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= top
        ):
            raise ValueError(f"fault {kind}: {name} must be a number above 0 and at most {top:g}, not {value!r}")
    if "nth" in spec and "share" in spec:
        raise ValueError(f"fault {kind}: nth and share exclude each other")
    if kind.endswith("_delay") and "delay_ms" not in spec:
        raise ValueError(f"fault {kind}: delay_ms is mandatory")
    if spec.get("when", "after") not in ("before", "after"):
        raise ValueError(f"fault {kind}: when must be before or after, not {spec['when']!r}")
    if kind == "depth_set" and not isinstance(spec.get("field"), str):
        raise ValueError(f"fault {kind}: field must name a field of the message, not {spec.get('field')!r}")
    if kind == "reply_body" and not isinstance(spec.get("body"), str):
        raise ValueError(f"fault {kind}: body must be a text, not {spec.get('body')!r}")
    if not 200 <= spec.get("status", 200) <= 599:
        raise ValueError(f"fault {kind}: status must be from 200 to 599, not {spec['status']!r}")
    if kind == "reply_error" and spec.get("variant") not in ERROR_VARIANTS:
        raise ValueError(f"fault {kind}: variant must be one of {', '.join(sorted(ERROR_VARIANTS))}")


@dataclass
class Faults:
    """The faults switched on now, at most `MAX_FAULTS`."""

    rng: Random
    _active: list[Fault] = field(default_factory=list)
    _number: int = 0

    def add(self, now_ms: int, spec: Mapping[str, Any]) -> Fault:
        """Switch one on. ValueError says what is wrong with the specification."""
        _check(spec)
        if len(self._active) >= MAX_FAULTS:
            raise ValueError(f"{MAX_FAULTS} faults are switched on already: clear some first")
        fields = {name: value for name, value in spec.items() if name not in _ANY}
        count = spec.get("count", 1 if "nth" in spec else None)
        until = now_ms + int(spec["for_s"] * 1000) if "for_s" in spec else None
        self._number += 1
        fault = Fault(self._number, spec["fault"], fields, count, until)
        self._active.append(fault)
        return fault

    def clear(self, number: int | None = None) -> int:
        """Switch one off, or all; returns how many that were."""
        before = len(self._active)
        self._active = [] if number is None else [fault for fault in self._active if fault.number != number]
        return before - len(self._active)

    def listing(self, now_ms: int) -> list[dict[str, Any]]:
        """All that are still in force."""
        self._expire(now_ms)
        return [fault.listing() for fault in self._active]

    def depth_action(self, now_ms: int, symbol: str) -> tuple[str, Mapping[str, Any]]:
        """What to do with the next depth message: "pass", or a depth fault's kind without its prefix; its fields."""
        for fault in self._matching(now_ms, "depth_"):
            if fault.fields.get("symbol", symbol) == symbol and self._strikes(fault):
                return fault.kind.removeprefix("depth_"), fault.fields
        return "pass", {}

    def is_silent(self, now_ms: int, route: str, stream: str) -> bool:
        """Whether a stream is muted on a route."""
        for fault in self._matching(now_ms, "silent"):
            fields = fault.fields
            if fields.get("route", route) == route and fields.get("stream", stream) == stream and self._strikes(fault):
                return True
        return False

    def request_fault(self, now_ms: int, method: str, path: str) -> RequestFault | None:
        """The failure that this request meets, if any."""
        for fault in self._matching(now_ms, "reply_"):
            if fault.kind != "reply_delay" and self._hits(fault, method, path):
                how, fields = fault.kind.removeprefix("reply_"), fault.fields
                return RequestFault(
                    how, fields.get("when", "after"), fields.get("variant", ""), fields.get("status", 200),
                    fields.get("body", ""),
                )  # fmt: skip
        return None

    def reply_delay_ms(self, now_ms: int, method: str, path: str) -> int:
        """How long the answer is held back."""
        delays = [
            int(fault.fields["delay_ms"])
            for fault in self._matching(now_ms, "reply_delay")
            if self._hits(fault, method, path)
        ]
        return sum(delays)

    def _hits(self, fault: Fault, method: str, path: str) -> bool:
        fields = fault.fields
        wanted = fields.get("path", path) == path and fields.get("method", method) == method
        return wanted and self._strikes(fault)

    def _matching(self, now_ms: int, prefix: str) -> list[Fault]:
        if not self._active:
            return []
        self._expire(now_ms)
        return [fault for fault in self._active if fault.kind.startswith(prefix)]

    def _expire(self, now_ms: int) -> None:
        self._active = [
            fault for fault in self._active if fault.left != 0 and (fault.until_ms is None or now_ms < fault.until_ms)
        ]

    def _strikes(self, fault: Fault) -> bool:
        if fault.left == 0:
            return False
        fault.seen += 1
        nth, share = fault.fields.get("nth"), fault.fields.get("share")
        if nth is not None and fault.seen % nth:
            return False
        if share is not None and self.rng.random() >= share:
            return False
        fault.struck += 1
        if fault.left is not None:
            fault.left -= 1
        return True
