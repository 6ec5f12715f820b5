"""The seeded market: books, trades and marks of correlated symbols, the same for the same seed and steps.

Pure: the only inputs are the seed, the specs, the times of the steps, and what traders took (`consume`) or testers
pushed (`nudge`). Floats drive the dice; everything that leaves is in integer ticks and lots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from simex.market.hours import activity
from simex.market.ladder import Level, TrackedLadder
from simex.market.mood import Factor, Mood
from simex.market.profile import MarketSpec
from simex.market.tempo import Activity, Arrivals, News

LEVELS_A_SIDE = 1000
_TRIM_ABOVE = 1060
_TOP = 10
_SWEEP_PRINT_SHARE = 0.3
_SWEPT_LEVELS = 6
_WIDEST = 12
_FORCED_FROM_BPS = 12.0
"""How far the price must run within seconds, for a symbol of 0.35 bps a second, until positions are closed by force."""
_OWN_NEWS = (12 * 3600.0, 25.0, 90.0)
_ALL_NEWS = (6 * 3600.0, 25.0, 110.0)
"""News of one symbol, and of all: how often (seconds), and how large (basis points)."""
_MAX_STEP_S = 2.0
_MOST_PRINTS = 40
"""Of one step: a second of the wildest symbol, or the clock runs fast."""


@dataclass(frozen=True, slots=True)
class Print:
    """An external trade, in ticks and lots. `time_ms` where it had a time of its own; 0: that of its step."""

    price: int
    lots: int
    buyer_is_maker: bool
    time_ms: int = 0


@dataclass(frozen=True, slots=True)
class Forced:
    """A position closed by force: the side of its order, its limit, and the trade that it became, in ticks and lots."""

    side: str
    limit: int
    price: int
    lots: int


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to one symbol: the prints in order, then the external levels as they stand after them.

    `forced` are those of the prints that were liquidations.
    """

    prints: list[Print]
    bids: list[Level]
    asks: list[Level]
    forced: tuple[Forced, ...] = ()


class SymbolMarket:
    """One symbol's external order flow. The fair price is a float random walk; the book follows it."""

    def __init__(self, spec: MarketSpec, rng: Random, now_ms: int) -> None:
        self.spec = spec
        self._rng = rng
        self._mood = Mood(rng)
        self._activity = Activity(rng)
        self._arrivals = Arrivals(rng)
        self._news = News(rng, *_OWN_NEWS)
        self._last_buys = True
        self._heat = 0.0
        self._hour = activity(now_ms)
        self._top_lots = spec.top_lots
        self._fair = spec.base_ticks + 0.5
        self._slow = self._fair
        self._rate = rng.gauss(8e-5, 3e-5)
        self._last_ms = now_ms
        self.bids = TrackedLadder(+1)
        self.asks = TrackedLadder(-1)
        base = spec.base_ticks
        self._fill(self.bids, base, -1, LEVELS_A_SIDE)
        self._fill(self.asks, base + 1, +1, LEVELS_A_SIDE)
        self.bids.take_changes()
        self.asks.take_changes()

    @property
    def fair_ticks(self) -> float:
        """The hidden fair price, in ticks."""
        return self._fair

    @property
    def index_ticks(self) -> float:
        """A slow average of the fair price: what the index shows."""
        return self._slow

    @property
    def heat(self) -> float:
        """What news have left: 0 on an ordinary day, about 1 right after a shock."""
        return self._heat

    @property
    def funding_rate(self) -> float:
        """The current funding rate (a fraction, not percent)."""
        return max(-0.003, min(0.003, self._rate))

    def step(self, now_ms: int, common_bps: float, common_heat: float = 0.0) -> Step:
        """Advance to `now_ms` (a time that went back counts as no time).

        `common_bps` is the shared return, `common_heat` what news for all have left.
        """
        dt_s = min(max(now_ms - self._last_ms, 1) / 1000, _MAX_STEP_S)
        self._last_ms = max(now_ms, self._last_ms)
        mood, rng, profile = self._mood, self._rng, self.spec.profile
        mood.advance(dt_s)
        news_bps = self._news.advance(dt_s)
        self._heat = max(common_heat, self._news.heat)
        self._hour = activity(now_ms)
        lively = self._activity.advance(dt_s)
        pace = lively * (1 + 3 * self._heat)
        own_bps = rng.gauss(0.0, profile.volatility_bps * mood.burst * pace * self._hour**0.5) * dt_s**0.5
        self._move(profile.beta * common_bps + own_bps + news_bps + mood.lean_bps(dt_s))
        self._slow += (self._fair - self._slow) * min(1.0, dt_s / 5)
        self._rate += (8e-5 - self._rate) * dt_s / 3600 + rng.gauss(0.0, 2e-7) * dt_s**0.5
        prints = self._trade_at_touch(profile.trades_per_s * mood.burst * pace * self._hour, dt_s)
        forced = self._force(dt_s)
        prints += [Print(item.price, item.lots, item.side == "SELL") for item in forced]
        swept = self._follow_fair()
        self._arrivals.draw(len(swept) + len(forced))
        self._refresh_top()
        self._churn()
        self._trim(self.bids)
        self._trim(self.asks)
        return Step(prints + swept, self.bids.take_changes(), self.asks.take_changes(), forced)

    def consume(self, book_side: str, price: int, lots: int) -> None:
        """A trader took external quantity that stood on `book_side` (BUY: a bid). The next step reports the rest."""
        side = self.bids if book_side == "BUY" else self.asks
        side.set(price, side.get(price) - lots)

    def nudge(self, move_bps: float) -> None:
        """Move the fair price at once; the book follows with the next step."""
        self._move(move_bps)

    def _move(self, bps: float) -> None:
        self._fair = max(12.0, self._fair * (1 + bps / 10_000))

    def _size(self, distance: int, lean: float = 0.0) -> int:
        """A quantity for a level `distance` ticks from the top: thin at the touch, a hump behind it, a long tail."""
        hump = 0.5 + min(distance, 40) / 25 if distance < 400 else 1.0
        usual: float = self._top_lots * self._hour**0.4 / (1 + 1.5 * self._heat)
        return max(1, round(usual * hump * (1 + lean) * self._rng.lognormvariate(-0.25, 0.7)))

    def _print_lots(self) -> int:
        return max(1, round(self._top_lots * 0.12 * self._rng.lognormvariate(-0.5, 1.0)))

    def _fill(self, side: TrackedLadder, start: int, away: int, count: int) -> None:
        """Lay `count` levels from `start` outwards: dense at first, then with growing gaps."""
        price, distance = start, 0
        for _ in range(count):
            if price <= 1:
                return
            side.set(price, self._size(distance))
            gap = 1 if self._rng.random() < 0.6 else self._rng.randint(1, 4)
            price += away * gap
            distance += gap

    def _trade_at_touch(self, rate: float, dt_s: float) -> list[Print]:
        """Prints at the best prices that do not exhaust them; the pressed side is hit less than it hits.

        Who takes does so again: orders are worked in parts, and one taker draws others.
        """
        rng, mood = self._rng, self._mood
        prints = []
        for _ in range(min(_MOST_PRINTS, self._arrivals.count(rate, dt_s))):
            again = 0.2 if self._last_buys else -0.2
            self._last_buys = rng.random() < 0.5 + (again if rng.random() < 0.8 else 0.0) + 0.3 * mood.pressure
            taken = self._take(self._last_buys, self._print_lots())
            if taken is not None:
                prints.append(taken)
        return prints

    def _take(self, buys: bool, lots: int) -> Print | None:
        """A trade at the touch that leaves a lot of it standing, or None if there is not so much."""
        side = self.asks if buys else self.bids
        price = side.best()
        if price is None:
            return None
        resting = side.get(price)
        lots = min(resting - 1, lots)
        if lots < 1:
            return None
        side.set(price, resting - lots)
        return Print(price, lots, not buys)

    def _force(self, dt_s: float) -> tuple[Forced, ...]:
        """A price that has run far within seconds closes positions of those who were on the other side."""
        ran_bps = (self._fair / self._slow - 1) * 10_000 * 0.35 / self.spec.profile.volatility_bps
        beyond = abs(ran_bps) - _FORCED_FROM_BPS
        if beyond <= 0 or self._rng.random() >= dt_s * min(1.0, beyond / 25):
            return ()
        buys = ran_bps > 0  # shorts are bought back where it rises
        lots = max(1, round(self._top_lots * self._rng.lognormvariate(-1.2, 1.1)))
        taken = self._take(buys, lots)
        if taken is None:
            return ()
        away = max(1, round(taken.price * self._rng.uniform(0.002, 0.006)))
        limit = taken.price + away if buys else max(1, taken.price - away)
        return (Forced("BUY" if buys else "SELL", limit, taken.price, taken.lots),)

    def _follow_fair(self) -> list[Print]:
        """Bring the touch to the fair price: sweep what is in the way, then lay levels behind."""
        spread = self._spread()
        bid = max(6, int(self._fair - (spread - 1) / 2))
        ask = bid + spread
        prints = self._sweep(self.asks, ask, buys=True) + self._sweep(self.bids, bid, buys=False)
        self._approach(self.bids, bid, -1)
        self._approach(self.asks, ask, +1)
        return prints

    def _spread(self) -> int:
        """One tick, a little more in a burst, wide while news are hot."""
        if self._heat > 0.25:
            return min(_WIDEST, 1 + int(self._rng.expovariate(1 / (2 * self._heat))))
        if self._mood.burst > 2 and self._rng.random() < 0.2:
            return self._rng.randint(2, 3)
        return 1

    def _sweep(self, side: TrackedLadder, limit: int, *, buys: bool) -> list[Print]:
        """Levels better than `limit` go: sometimes a part of the best ones is traded, the rest is cancelled."""
        swept = side.better_than(limit)
        for price, _ in swept:
            side.set(price, 0)
        if not swept or self._rng.random() >= _SWEEP_PRINT_SHARE + 0.6 * min(1.0, self._heat):
            return []
        left = round(self._print_lots() * (1 + 6 * self._heat))
        prints = []
        for price, lots in swept[:_SWEPT_LEVELS]:
            prints.append(Print(price, min(lots, left), not buys))
            left -= lots
            if left <= 0:
                break
        return prints

    def _approach(self, side: TrackedLadder, target: int, away: int) -> None:
        """Lay levels from the target to the old best, so that the side begins exactly at the target."""
        best = side.best()
        if best is None:
            self._fill(side, target, away, LEVELS_A_SIDE)
            return
        lean = -away * self._mood.pressure
        side_gap = abs(best - target)
        for distance in range(min(side_gap, 400)):
            if distance == 0 or self._rng.random() < 0.55:
                side.set(target + away * distance, self._size(distance, lean if distance < _TOP else 0.0))

    def _refresh_top(self) -> None:
        """Re-quote the touch and some levels near it, leaning with the pressure."""
        for side, away in ((self.bids, -1), (self.asks, +1)):
            lean = -away * self._mood.pressure
            depth = min(_TOP, len(side))
            for index in {0, *(self._rng.randrange(depth) for _ in range(3))} if depth else ():
                price, _ = side.at(index)
                side.set(price, self._size(index * 2, lean))

    def _churn(self) -> None:
        """Orders come and go deeper in the book, mostly near the top."""
        rng = self._rng
        for side, away in ((self.bids, -1), (self.asks, +1)):
            best = side.best()
            for _ in range(4):
                distance = 1 + int(rng.expovariate(1 / 60))
                if best is None or (price := best + away * distance) <= 1:
                    continue
                gone = side.get(price) and rng.random() < 0.45
                side.set(price, 0 if gone else self._size(distance))

    def _trim(self, side: TrackedLadder) -> None:
        """Keep about a thousand levels: drop the far end, or grow it."""
        if len(side) > _TRIM_ABOVE:
            for price, _ in [side.at(index) for index in range(LEVELS_A_SIDE, len(side))]:
                side.set(price, 0)
        elif 0 < len(side) < LEVELS_A_SIDE:
            far, _ = side.at(-1)
            away = -1 if side is self.bids else 1
            missing = LEVELS_A_SIDE - len(side)
            self._fill(side, far + away * self._rng.randint(1, 4), away, missing if missing > 50 else min(8, missing))


class SeededMarket:
    """All symbols of one seed. Adding a symbol does not change what the others do; order of steps does not either."""

    def __init__(self, seed: int, specs: Sequence[MarketSpec], now_ms: int) -> None:
        self.seed = seed
        self._factor = Factor(Random(f"{seed}/factor"))
        self._news = News(Random(f"{seed}/news"), *_ALL_NEWS)
        self._factor_ms = now_ms
        self._pending_bps: dict[str, float] = {spec.symbol: 0.0 for spec in specs}
        self.symbols = {spec.symbol: SymbolMarket(spec, Random(f"{seed}/{spec.symbol}"), now_ms) for spec in specs}

    def step(self, symbol: str, now_ms: int) -> Step:
        """One symbol's step; the shared factor moves once per new time, whoever asks first."""
        if now_ms > self._factor_ms:
            dt_s = min((now_ms - self._factor_ms) / 1000, _MAX_STEP_S)
            move = self._factor.move_bps(dt_s) + self._news.advance(dt_s)
            self._factor_ms = now_ms
            for name in self._pending_bps:
                self._pending_bps[name] += move
        common, self._pending_bps[symbol] = self._pending_bps[symbol], 0.0
        return self.symbols[symbol].step(now_ms, common, self._news.heat)
