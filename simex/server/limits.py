"""Rate limits: weight per address, orders per account, bans for those who go on after 429. Pure."""

from dataclasses import dataclass, field

from simex.server.refusals import Refused, banned, too_heavy, too_many_connects, too_many_orders

_MINUTE_MS = 60_000
_MAX_BAN_MS = 3 * 24 * 3_600_000
_MAX_ADDRESSES = 10_000
MISUSE_COST = 10
"""What a flooding connection counts among the refusals that lead to a ban."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """The figures of exchangeInfo.rateLimits and the rules of the ban."""

    weight_1m: int = 2_400
    orders_10s: int = 300
    orders_1m: int = 1_200
    funding_5m: int = 500
    data_5m: int = 1_000
    """/futures/data/*, a pool of its own."""
    connects_5m: int = 300
    """WebSocket handshakes of one address."""
    refusals_before_ban: int = 50
    """How many 429 in one minute an address may collect before it is banned."""
    first_ban_ms: int = 120_000


@dataclass(slots=True)
class _Window:
    """A fixed window of `length_ms`, aligned to the clock."""

    length_ms: int
    number: int = -1
    used: int = 0

    def current(self, now_ms: int) -> int:
        number = now_ms // self.length_ms
        if number != self.number:
            self.number, self.used = number, 0
        return self.used

    def rest_s(self, now_ms: int) -> int:
        return max(1, -(-(self.length_ms - now_ms % self.length_ms) // 1000))


@dataclass(slots=True)
class _Address:
    weight: _Window = field(default_factory=lambda: _Window(_MINUTE_MS))
    funding: _Window = field(default_factory=lambda: _Window(5 * _MINUTE_MS))
    data: _Window = field(default_factory=lambda: _Window(5 * _MINUTE_MS))
    connects: _Window = field(default_factory=lambda: _Window(5 * _MINUTE_MS))
    refusals: _Window = field(default_factory=lambda: _Window(_MINUTE_MS))
    banned_until_ms: int = 0
    next_ban_ms: int = 0


@dataclass(slots=True)
class _Orders:
    short: _Window = field(default_factory=lambda: _Window(10_000))
    long: _Window = field(default_factory=lambda: _Window(_MINUTE_MS))


class Limits:
    """All pools. Addresses are bounded: at the bound the table is cleared, which only forgives."""

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self._addresses: dict[str, _Address] = {}
        self._orders: dict[str, _Orders] = {}

    def charge(self, now_ms: int, address: str, weight: int, pool: str = "weight") -> None:
        """Use `weight` of an address's pool ("weight", "funding" or "data"). Raises Refused 418 or 429."""
        entry = self._address(address)
        if now_ms < entry.banned_until_ms:
            raise banned(entry.banned_until_ms, -(-(entry.banned_until_ms - now_ms) // 1000))
        window, limit = {
            "funding": (entry.funding, self.settings.funding_5m),
            "data": (entry.data, self.settings.data_5m),
        }.get(pool, (entry.weight, self.settings.weight_1m))
        if window.current(now_ms) + weight > limit:
            raise self._refuse(now_ms, entry, too_heavy(limit, window.rest_s(now_ms)))
        window.used += weight

    def connect(self, now_ms: int, address: str, weight: int) -> None:
        """One WebSocket handshake of an address, and its weight. Raises Refused 418 or 429."""
        self.charge(now_ms, address, weight)
        entry = self._address(address)
        if entry.connects.current(now_ms) >= self.settings.connects_5m:
            raise self._refuse(
                now_ms, entry, too_many_connects(self.settings.connects_5m, entry.connects.rest_s(now_ms))
            )
        entry.connects.used += 1

    def misused(self, now_ms: int, address: str) -> None:
        """A connection was closed because it sent too much; who does that again and again is banned."""
        entry = self._address(address)
        entry.refusals.current(now_ms)
        entry.refusals.used += MISUSE_COST
        if entry.refusals.used > self.settings.refusals_before_ban:
            self._ban(now_ms, entry)

    def used_weight(self, now_ms: int, address: str) -> int:
        """Weight used in this minute: the X-MBX-USED-WEIGHT-1M header."""
        return self._address(address).weight.current(now_ms)

    def check_orders(self, now_ms: int, account: str) -> None:
        """Raises Refused -1015 when an account has no order left in a window."""
        orders = self._orders.setdefault(account, _Orders())
        if orders.short.current(now_ms) >= self.settings.orders_10s:
            raise too_many_orders(self.settings.orders_10s, "10 SECOND")
        if orders.long.current(now_ms) >= self.settings.orders_1m:
            raise too_many_orders(self.settings.orders_1m, "1 MINUTE")

    def count_orders(self, now_ms: int, account: str, count: int, count_1m: int | None = None) -> tuple[int, int]:
        """Book `count` orders (in the minute's pool `count_1m`, where it differs); returns the headers' counts."""
        orders = self._orders.setdefault(account, _Orders())
        short = orders.short.current(now_ms) + count
        long = orders.long.current(now_ms) + (count if count_1m is None else count_1m)
        orders.short.used, orders.long.used = short, long
        return short, long

    def _address(self, address: str) -> _Address:
        entry = self._addresses.get(address)
        if entry is None:
            if len(self._addresses) >= _MAX_ADDRESSES:
                self._addresses.clear()
            entry = self._addresses[address] = _Address()
        return entry

    def _refuse(self, now_ms: int, entry: _Address, refusal: Refused) -> Refused:
        """The refusal, or a ban for who has had too many of them."""
        entry.refusals.current(now_ms)
        entry.refusals.used += 1
        return refusal if entry.refusals.used <= self.settings.refusals_before_ban else self._ban(now_ms, entry)

    def _ban(self, now_ms: int, entry: _Address) -> Refused:
        length = entry.next_ban_ms or self.settings.first_ban_ms
        entry.next_ban_ms = min(2 * length, _MAX_BAN_MS)
        entry.banned_until_ms = now_ms + length
        return banned(entry.banned_until_ms, -(-length // 1000))
