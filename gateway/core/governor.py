"""The rate governor: what may leave now, what waits, by lanes in two pools. Pure.

ORDERS (lanes close, protection, entry) counts new orders of the account; WEIGHT (lanes cancel, lifeline, reconcile,
data) counts requests of this address. Windows slide over the last interval, so no window of the exchange, wherever it
begins, holds more than its limit; what its headers count beyond ours (other programs of the account or address) is
added for one interval.

- Entries: 25/s, bursts of 30 (the account's limits), and never over 90 % of any ORDERS window; the rest is for closes
  and protection.
- Weight: data up to 70 % of the limit, reconcile 85 %, lifeline 95 %, cancel all of it.
- Lanes go in this order: cancel, close, protection, entry, lifeline, reconcile, data; first come first served within
  a lane, and no lane waits for a lower one. Cancels take no ORDERS.
- Over weight: everything is silent until Retry-After or the end of the minute. Over orders: new orders only, until
  Retry-After or the end of the window named. Banned: everything until then (Retry-After, else 2 minutes, where no time
  is given).
- Queues are bounded (`QUEUE_CAPS`). At the bound the newcomer is not taken: `take_refused` gives it back, and the root
  answers its owner with `RestFailed(sent=False)`. Nothing that is queued is ever dropped; expiry is the owner's
  (`remove`). A question for data asked anew takes the place of the one that waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.effects import Send
from gateway.core.inputs import Key, Now
from gateway.core.limit_venue import LimitVenue
from gateway.core.market_data import Pool, RateLimit

SECOND_NS = 1_000_000_000
ENTRY_RATE_PER_S = 25
ENTRY_BURST = 30
ENTRY_PERCENT = 90
WEIGHT_PERCENT = {"cancel": 100, "lifeline": 95, "reconcile": 85, "data": 70}
LANES = ("cancel", "close", "protection", "entry", "lifeline", "reconcile", "data")
ORDER_LANES = frozenset({"close", "protection", "entry"})
QUEUE_CAPS = {
    "cancel": 2_000,
    "close": 500,
    "protection": 500,
    "entry": 500,
    "lifeline": 200,
    "reconcile": 500,
    "data": 1_000,
}
MARGIN_NS = 250_000_000  # past the end of a window of the exchange, whose clock is not ours
BAN_NS = 120 * SECOND_NS  # the shortest ban the exchange gives, where its text names no time
BAN_MAX_NS = 4 * 24 * 3600 * SECOND_NS  # a longer one is not believed (3 days is the longest given)
ORDER_WINDOW_S = 10  # of a refusal that names none


@dataclass(slots=True)
class Window:
    """One sliding window: own grants as (boot ns, count), and what others used, as `header` said last."""

    interval_ns: int
    limit: int
    header: str
    grants: deque[tuple[int, int]] = field(default_factory=deque)
    own: int = 0
    others: int = 0
    others_until_ns: int = 0

    def used(self, boot_ns: int) -> int:
        while self.grants and self.grants[0][0] <= boot_ns - self.interval_ns:
            self.own -= self.grants.popleft()[1]
        return self.own + (self.others if boot_ns < self.others_until_ns else 0)

    def take(self, boot_ns: int, count: int) -> None:
        """`count` at least 1."""
        grants = self.grants
        grants.append((boot_ns, count))
        self.own += count
        if grants[0][0] <= boot_ns - self.interval_ns:
            self.used(boot_ns)

    def heard(self, boot_ns: int, count: int) -> None:
        """The exchange's own count: what lies above ours is used by others; it holds for one interval."""
        self.used(boot_ns)
        others = count - self.own
        if others > 0:
            self.others, self.others_until_ns = others, boot_ns + self.interval_ns
        else:
            self.others_until_ns = 0

    def free_at(self, boot_ns: int, count: int, ceiling: int) -> int:
        """When `count` more stay within `ceiling` (a count above it needs an empty window); `boot_ns` means now."""
        if self.own + self.others + count <= ceiling:  # even with what has left the window since
            return boot_ns
        need = self.used(boot_ns) + count - max(ceiling, count)
        if need <= 0:
            return boot_ns
        leaving = [(at + self.interval_ns, n) for at, n in self.grants]
        if boot_ns < self.others_until_ns:
            leaving.append((self.others_until_ns, self.others))
        for at, n in sorted(leaving):
            need -= n
            if need <= 0:
                return at
        return boot_ns + self.interval_ns


@dataclass(slots=True)
class Bucket:
    """Token bucket in units of 1/rate seconds: `full_at_ns` is when it would be full (GCRA), exact in integers."""

    period_ns: int = SECOND_NS // ENTRY_RATE_PER_S
    burst: int = ENTRY_BURST
    full_at_ns: int = 0

    def free_at(self, boot_ns: int, count: int) -> int:
        start = max(self.full_at_ns, boot_ns)
        return max(boot_ns, start + min(count, self.burst) * self.period_ns - self.burst * self.period_ns)

    def take(self, boot_ns: int, count: int) -> None:
        self.full_at_ns = max(self.full_at_ns, boot_ns) + count * self.period_ns


class Governor:
    """`admit` and `release` return what may leave now, in order; each returned Send is already counted."""

    def __init__(
        self, venue: LimitVenue, *, entries_per_s: int = ENTRY_RATE_PER_S, entry_burst: int = ENTRY_BURST
    ) -> None:
        self._venue = venue
        self._orders: list[Window] = []
        self._weight: list[Window] = []
        self._bucket = Bucket(SECOND_NS // entries_per_s, entry_burst)
        self._queues: dict[str, deque[Send]] = {lane: deque() for lane in LANES}
        self._silent_until_ns = 0  # everything
        self._orders_until_ns = 0  # ORDERS only
        self.refused: list[Send] = []
        self._next_ns: int | None = None
        self.set_limits(venue.default_limits())

    # -- what may leave

    def admit(self, now: Now, send: Send) -> list[Send]:
        """The hot path: a lone Send with room goes at once, past no one of its own lane."""
        queue = self._queues[send.lane]
        if not queue and self._free_at(now.boot_ns, send) <= now.boot_ns:
            self._take(now.boot_ns, send)
            return [send]
        if send.lane == "data" and _replaced(queue, send):
            return self.release(now)
        if len(queue) >= QUEUE_CAPS[send.lane]:
            self.refused.append(send)
            return []
        queue.append(send)
        return self.release(now)

    def release(self, now: Now) -> list[Send]:
        """Everything that may go now, highest lane first. Call on ticks, after headers and after new limits."""
        out: list[Send] = []
        self._next_ns = None
        for lane in LANES:
            queue = self._queues[lane]
            while queue:
                at = self._free_at(now.boot_ns, queue[0])
                if at > now.boot_ns:
                    self._next_ns = at if self._next_ns is None else min(self._next_ns, at)
                    break
                send = queue.popleft()
                self._take(now.boot_ns, send)
                out.append(send)
        return out

    def take_refused(self) -> list[Send]:
        """What found its queue full since the last call: certainly not sent."""
        refused, self.refused = self.refused, []
        return refused

    def next_deadline_boot_ns(self) -> int | None:
        return self._next_ns

    def silent(self, now: Now) -> bool:
        """Whether nothing at all may leave: a ban, or too many requests."""
        return now.boot_ns < self._silent_until_ns

    # -- what waits

    def queued(self, key: Key) -> bool:
        return any(send.key == key for queue in self._queues.values() for send in queue)

    def remove(self, key: Key) -> bool:
        """Take a waiting request out of its queue; False where it is not waiting (it left, or never came)."""
        for queue in self._queues.values():
            for send in queue:
                if send.key == key:
                    queue.remove(send)
                    return True
        return False

    def wait_ms(self, now: Now, lane: str) -> int:
        """How long one more request of this lane would wait at least, rounded up; 0: it goes at once."""
        probe = _probe(lane)
        ahead = len(self._queues[lane])
        at = self._free_at(now.boot_ns, probe)
        if lane == "entry" and ahead:
            at = max(at, self._bucket.free_at(now.boot_ns, 1) + ahead * self._bucket.period_ns)
        elif ahead:
            at = max(at, self._next_ns or now.boot_ns + 1)
        return max(0, -(-(at - now.boot_ns) // 1_000_000))

    def budgets(self, now: Now) -> dict[str, dict[str, int]]:
        """For the `gateway` slice: per window used and limit, queue lengths, and the silence that is left."""
        out: dict[str, dict[str, int]] = {}
        for name, windows in (("orders", self._orders), ("weight", self._weight)):
            for window in windows:
                label = f"{name}_{window.interval_ns // SECOND_NS}s"
                out[label] = {"used": window.used(now.boot_ns), "limit": window.limit}
        out["queued"] = {lane: len(queue) for lane, queue in self._queues.items()}
        out["silence_ms"] = {
            "all": max(0, self._silent_until_ns - now.boot_ns) // 1_000_000,
            "orders": max(0, self._orders_until_ns - now.boot_ns) // 1_000_000,
        }
        return out

    # -- what the exchange says

    def set_limits(self, limits: Iterable[RateLimit]) -> None:
        """What the exchange published. Counts so far are kept; a pool that is not named keeps its windows."""
        rows = [row for row in limits if row.seconds > 0 and row.limit > 0]
        self._orders = self._windows("orders", self._orders, rows)
        self._weight = self._windows("weight", self._weight, rows)

    def _windows(self, pool: Pool, old: list[Window], rows: list[RateLimit]) -> list[Window]:
        wanted = {row.seconds: row.limit for row in rows if row.pool == pool}
        if not wanted:
            return old
        held = {window.interval_ns: window for window in old}
        longest = max(old, key=lambda window: window.interval_ns, default=None)
        windows = []
        for seconds, limit in sorted(wanted.items()):
            interval_ns = seconds * SECOND_NS
            window = held.get(interval_ns) or Window(interval_ns, limit, self._venue.usage_header(pool, seconds))
            if interval_ns not in held and longest is not None:
                for at, count in longest.grants:
                    window.take(at, count)
            window.limit = limit
            windows.append(window)
        return windows

    def on_headers(self, now: Now, headers: Mapping[str, str]) -> None:
        """Lower-case names, as the shell gives them. Counts that are no numbers are left alone."""
        for windows in (self._weight, self._orders):
            for window in windows:
                text = headers.get(window.header)
                if text is not None and text.isascii() and text.isdigit():
                    window.heard(now.boot_ns, min(int(text), 10**9))

    def on_limit(self, now: Now, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        """Call for every reply. Where the exchange said stop: what is silent now and for how long, for the log."""
        stop = self._venue.stop(status, body) if status >= 400 else None
        if stop is None:
            return None
        if stop.kind == "banned":
            return self._silence(now, self._ban_end_ns(now, headers, stop.until_ms), "banned")
        if stop.kind == "orders":
            end = self._orders_end_ns(now, headers, stop.window_s or ORDER_WINDOW_S)
            self._orders_until_ns = max(self._orders_until_ns, end)
            return f"ORDERS used up: no new orders for {(end - now.boot_ns) // 1_000_000} ms"
        left = _retry_after_ns(headers)
        end = now.boot_ns + (left if left is not None else _left_of_ns(now, 60 * SECOND_NS))
        return self._silence(now, end, str(status))

    def _silence(self, now: Now, end_ns: int, why: str) -> str:
        self._silent_until_ns = max(self._silent_until_ns, end_ns)
        return f"{why}: nothing leaves for {(self._silent_until_ns - now.boot_ns) // 1_000_000} ms"

    def _ban_end_ns(self, now: Now, headers: Mapping[str, str], until_ms: int | None) -> int:
        left = _retry_after_ns(headers)
        if until_ms is not None:
            named = until_ms * 1_000_000 - now.wall_ns + MARGIN_NS
            left = max(named, left or 0) if 0 < named <= BAN_MAX_NS else left
        return now.boot_ns + (left if left is not None else BAN_NS)

    def _orders_end_ns(self, now: Now, headers: Mapping[str, str], window_s: int) -> int:
        left = _retry_after_ns(headers)
        if left is None:
            left = _left_of_ns(now, min(window_s, 86_400) * SECOND_NS)
        return now.boot_ns + left

    # -- counting

    def _free_at(self, boot_ns: int, send: Send) -> int:
        at = max(boot_ns, self._silent_until_ns)
        if send.lane in ORDER_LANES:
            at = max(at, self._orders_until_ns)
        if send.orders:
            percent = ENTRY_PERCENT if send.lane == "entry" else 100
            for window in self._orders:
                at = max(at, window.free_at(boot_ns, send.orders, window.limit * percent // 100))
            if send.lane == "entry":
                at = max(at, self._bucket.free_at(boot_ns, send.orders))
        if send.weight:
            percent = WEIGHT_PERCENT.get(send.lane, 100)
            for window in self._weight:
                at = max(at, window.free_at(boot_ns, send.weight, window.limit * percent // 100))
        return at

    def _take(self, boot_ns: int, send: Send) -> None:
        if send.orders:
            for window in self._orders:
                window.take(boot_ns, send.orders)
            if send.lane == "entry":
                self._bucket.take(boot_ns, send.orders)
        if send.weight:
            for window in self._weight:
                window.take(boot_ns, send.weight)


def _replaced(queue: deque[Send], send: Send) -> bool:
    """A question for data asked again while it waits (its key differs in the last number only): the newer one takes
    its place. So a long silence never ends in a flood of questions that nobody waits for any more."""
    if len(send.key) < 3 or not isinstance(send.key[-1], int):
        return False
    for index, held in enumerate(queue):
        if held.key[:-1] == send.key[:-1]:
            queue[index] = send
            return True
    return False


def _probe(lane: str) -> Send:
    is_order = lane in ORDER_LANES
    return Send(("probe",), "GET", "/", orders=int(is_order), weight=int(not is_order), lane=lane)  # type: ignore[arg-type]


def _retry_after_ns(headers: Mapping[str, str]) -> int | None:
    text = headers.get("retry-after", "")
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text) * SECOND_NS + MARGIN_NS, BAN_MAX_NS)


def _left_of_ns(now: Now, interval_ns: int) -> int:
    """To the end of the exchange's window, which begins at a whole multiple of its length, and a margin."""
    return interval_ns - now.wall_ns % interval_ns + MARGIN_NS
