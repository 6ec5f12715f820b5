"""One recorded session served to many market cores at once, to each with faults of one kind at every few messages.

What the exchange's book is at each moment is worked out once for all of them, apart from ours: exact decimals in plain
dicts and sorted lists, by the exchange's own rule.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_left, insort
from collections.abc import Container
from decimal import Decimal
from typing import Any

from gateway.core.market_settings import LinkSettings, MarketSettings
from ipc import keys
from tests.gateway.market_rig import ACCOUNT, Rig
from tests.proof.market_recordings import TOP, Session, Top, exact

FAULTS = ("drop", "duplicate", "swap", "cut")
SPACING = 4  # messages from one fault of a chain to its next
STEP_MS = 2_600  # faults are then no bad stretch, in which all but the first are backed off
# levels a side of the snapshots, most of what a case costs: the first suffice nearly always, but one message was seen
# to clear 180
SHALLOW, DEEP = 100, 500
_DAY_MS = 86_400_000
# no marks are served here, and their silence is not the question
_LINK = LinkSettings(first_frame_ms=_DAY_MS)


class Half:
    """One side: exact price -> level in the exchange's own texts, and the prices sorted."""

    def __init__(self, rows: list[Any], *, highest_first: bool) -> None:
        self._levels = {Decimal(price): [price, size] for price, size in rows}
        self._prices = sorted(self._levels)
        self._highest_first = highest_first

    def change(self, rows: list[Any]) -> None:
        for price, size in rows:
            value = Decimal(price)
            held = value in self._levels
            if Decimal(size):
                self._levels[value] = [price, size]
                if not held:
                    insort(self._prices, value)
            elif held:
                del self._levels[value]
                del self._prices[bisect_left(self._prices, value)]

    def top(self, count: int) -> list[list[str]]:
        best = self._prices[: -count - 1 : -1] if self._highest_first else self._prices[:count]
        return [self._levels[price] for price in best]


class Exchange:
    """What the exchange sent so far, its book now and its best levels after each message.

    `frames` begin with the one that joins the recorded snapshot.
    """

    def __init__(self, session: Session) -> None:
        self.symbol = session.symbol
        self.last_id: int = session.snapshot["lastUpdateId"]
        self.frames = [frame for frame in session.frames if json.loads(frame)["data"]["u"] >= self.last_id]
        self.sent = 0
        self._bids = Half(session.snapshot["bids"], highest_first=True)
        self._asks = Half(session.snapshot["asks"], highest_first=False)
        self._tops: dict[int, Top] = {}
        self._letters = b""
        self._snapshots: dict[int, bytes] = {}
        self._note()

    def send(self) -> bytes:
        """The next message."""
        frame = self.frames[self.sent]
        event = json.loads(frame)["data"]
        assert event["pu"] == self.last_id if self.sent else event["U"] <= self.last_id, "the recording is broken"
        self.sent += 1
        self.last_id = event["u"]
        self._bids.change(event["b"])
        self._asks.change(event["a"])
        self._note()
        return frame

    def snapshot(self, depth: int) -> bytes:
        """The answer to a depth request: the book of this moment."""
        if depth not in self._snapshots:
            body: dict[str, Any] = {"lastUpdateId": self.last_id, "E": 1, "T": 1}
            body |= {"bids": self._bids.top(depth), "asks": self._asks.top(depth)}
            self._snapshots[depth] = json.dumps(body).encode()
        return self._snapshots[depth]

    def judge(self, rendered: bytes) -> int | None:
        """The update id of a slice that is live, and exact at that id; None for one that is not live and empty."""
        if b'"state":"live"' in rendered and rendered.endswith(self._letters):
            return self.last_id  # nearly always: the newest, to the letter
        shown = json.loads(rendered)
        if shown["state"] != "live":
            assert shown["bids"] == shown["asks"] == [], "levels of a book that is not live are not shown"
            return None
        u: int = shown["u"]
        assert (exact(shown["bids"]), exact(shown["asks"])) == self._tops[u], f"wrong at {u}"
        return u

    def _note(self) -> None:
        bids, asks = self._bids.top(TOP), self._asks.top(TOP)
        self._tops[self.last_id] = exact(bids), exact(asks)
        shown = json.dumps({"u": self.last_id, "bids": bids, "asks": asks}, separators=(",", ":"))
        self._letters = b"," + shown.encode().removeprefix(b"{")
        self._snapshots.clear()


class Chain:
    """One market core, served a session with a fault of one kind at each of `places` (indices of messages that others
    follow), which lie `SPACING` or more apart. `take` each message as the exchange sends it, then `end`.

    `proven`: places where all was as it must be (anything else fails). `shallow`: places nothing can be said of,
    because the market ran beyond `depth` levels there and the book was not served for that reason.
    """

    def __init__(
        self, exchange: Exchange, speed: str, fault: str, places: Container[int], depth: int, dice: random.Random
    ) -> None:
        self.fault = fault
        self.proven: list[int] = []
        self.shallow: list[int] = []
        self._places = places
        self._dice = dice
        self._exchange = exchange
        self._depth = depth
        self._struck: int | None = None
        self._breaks: list[str] = []  # what is to be told of it
        self._held: list[bytes] = []
        self._key = keys.book(ACCOUNT, exchange.symbol)
        market = MarketSettings(
            depth_speed=speed, snapshot_limit=depth, refresh_margin=depth // 2, refresh_every_ms=1_000,
            mark_silence_ms=_DAY_MS,
        )  # fmt: skip
        self._rig = Rig(market=market, link=_LINK)
        self._rig.serve(exchange.symbol)
        self._rig.answers["/fapi/v1/depth"] = lambda send: (200, exchange.snapshot(depth))
        self._rig.start(exchange.symbol)
        self._rig.wait(1_100, step_ms=1_100)  # no message yet: the first snapshot is asked for after a second
        self._newest = exchange.last_id
        self._shown = self._look()

    def take(self, frame: bytes) -> None:
        """The exchange sent `frame`; after each arrival the book is exact or not served."""
        place = self._exchange.sent - 1
        arriving = [frame, *self._held]
        self._held = []
        if place in self._places:
            if self._may_strike(place):
                self._struck = place
                arriving = self._strike(frame)
            else:
                self.shallow.append(place)
        for one in arriving:
            self._rig.feed(one)
            self._shown = self._look()
        self._newest = self._exchange.last_id
        self._rig.wait(STEP_MS, step_ms=STEP_MS)

    def end(self) -> None:
        self._shown = self._look()
        self._judge()

    def _strike(self, frame: bytes) -> list[bytes]:
        """What arrives in place of the message; a swapped one comes behind its successor."""
        self._breaks = [] if self.fault == "duplicate" else ["gap"]
        if self.fault == "duplicate":
            return [frame, frame]
        if self.fault == "cut":
            left = frame[: int(len(frame) * self._dice.random())]
            if left.count(b'"') >= 4:  # {"stream":"...": it is known whose it was before the next one comes
                self._breaks = ["bad_frame"]
            return [left]
        if self.fault == "swap":
            self._held = [frame]
        return []

    def _look(self) -> int | None:
        rendered = self._rig.core.render(self._rig.now, self._key)
        assert rendered is not None
        return self._exchange.judge(rendered)

    def _may_strike(self, place: int) -> bool:
        if place:  # before the first message of all there is nothing to be live
            self._judge()
        return not place or self._shown == self._newest

    def _judge(self) -> None:
        """The last fault was noticed exactly as it must be, and the book is back to live at the newest message."""
        place, self._struck = self._struck, None
        events, reports = self._rig.events, self._rig.reports
        self._rig.events, self._rig.reports = [], []
        reasons = [event.data["reason"] for event in events if event.subject == "book.gap"]
        if "range" in reasons and self._depth < DEEP:
            self.shallow += [place] if place is not None else []
            return
        where = f"{self.fault} at message {place}: {events} {reports}"
        assert self._shown == self._newest, where
        # the first message joins book and stream: before it nothing is served that could break
        assert reasons == (self._breaks if place else []), where
        self.proven += [place] if place is not None else []
