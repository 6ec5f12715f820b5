"""Bars: closed exactly once, in order, without holes, whatever the stream loses and whenever REST answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.bars import MAX_PENDING, BarSeries
from gateway.core.effects import Send
from gateway.core.market_data import BarUpdate, HistoryRow
from gateway.core.market_settings import LinkSettings, MarketSettings
from ipc import keys
from ipc.errors import IpcError
from ipc.slices import BarRow
from tests.gateway.market_rig import ACCOUNT, START_WALL_NS, Rig

MINUTE = 60_000
NOW_MS = START_WALL_NS // 1_000_000  # on a minute


def row(at: int, close: str = "10", trades: int = 5) -> BarRow:
    return BarRow(at, "10", "11", "9", close, "1.5", "15", trades)


def update(at: int, *, final: bool = False, close: str = "10", trades: int = 5, event: int | None = None) -> BarUpdate:
    return BarUpdate(
        symbol="X", interval="1m", event_ms=event if event is not None else at, close_ms=at + MINUTE - 1, final=final,
        row=row(at, close, trades),
    )  # fmt: skip


def loaded(*, last: int = 9, count: int = 5) -> BarSeries:
    """A series whose bars `last - count + 1 .. last` (in minutes) are closed."""
    series = BarSeries("1m", 100)
    rows = [HistoryRow(row(n * MINUTE), (n + 1) * MINUTE - 1) for n in range(last - count + 1, last + 1)]
    series.merge(
        [*rows, HistoryRow(row((last + 1) * MINUTE), (last + 2) * MINUTE - 1)], (last + 1) * MINUTE + 5, 10**15
    )
    return series


def opens(series: BarSeries) -> list[int]:
    return [held.open_ms // MINUTE for held in series.rows(1000)]


class TestSeries:
    def test_the_exchanges_word_closes_a_bar_and_nothing_after_it_does_again(self) -> None:
        series = loaded()
        change = series.update(update(10 * MINUTE, final=True))
        assert [(closed.row.open_ms, closed.by) for closed in change.closed] == [(10 * MINUTE, "stream")]
        assert series.update(update(10 * MINUTE, final=True)).closed == []
        assert series.update(update(11 * MINUTE)).closed == []

    def test_the_next_bar_closes_one_whose_closing_message_was_lost_and_rest_is_asked_about_it(self) -> None:
        series = loaded()
        series.update(update(10 * MINUTE, close="10.5"))
        change = series.update(update(11 * MINUTE))
        assert [(closed.row.c, closed.by) for closed in change.closed] == [("10.5", "next")]
        assert series.want_from == 10 * MINUTE

    def test_a_late_closing_message_mends_what_the_next_bar_closed_and_announces_nothing(self) -> None:
        series = loaded()
        series.update(update(10 * MINUTE, close="10.5", trades=5))
        series.update(update(11 * MINUTE))
        change = series.update(update(10 * MINUTE, final=True, close="10.7", trades=6))
        assert change.closed == []
        assert [mended.c for mended in change.mended] == ["10.7"]
        assert series.rows(1)[0].c == "10.7"

    @pytest.mark.parametrize("trades", [4, 5, 6])
    def test_within_a_bar_an_older_account_is_dropped(self, trades: int) -> None:
        series = loaded()
        series.update(update(10 * MINUTE, trades=5, close="10.5", event=20))
        series.update(update(10 * MINUTE, trades=trades, close="10.9", event=21))
        assert series.open is not None
        assert series.open.c == ("10.9" if trades >= 5 else "10.5")
        series.update(update(10 * MINUTE, trades=9, close="1", event=19))
        assert series.open.c != "1", "an earlier event time is older whatever it counts"

    def test_bars_behind_a_hole_wait_until_rest_filled_it_and_come_out_in_order(self) -> None:
        series = loaded()
        change = series.update(update(13 * MINUTE, final=True))
        assert [(closed.row.open_ms // MINUTE, closed.by) for closed in change.closed] == [(10, "next")]
        assert (series.whole, series.want_from) == (False, 10 * MINUTE)
        history = [HistoryRow(row(n * MINUTE), (n + 1) * MINUTE - 1) for n in (10, 11, 12, 13, 14)]
        change = series.merge(history, 14 * MINUTE + 5, 0)
        found = [(closed.row.open_ms // MINUTE, closed.by) for closed in change.closed]
        assert found == [(11, "rest"), (12, "rest"), (13, "stream")]
        assert series.whole
        assert opens(series) == list(range(5, 14))

    def test_a_hole_rest_does_not_fill_either_starts_the_series_anew_behind_it(self) -> None:
        series = loaded()
        series.update(update(12 * MINUTE, final=True))
        for _ in range(2):
            assert series.merge([], 13 * MINUTE, 0).closed == []
        assert not series.whole
        change = series.merge([], 13 * MINUTE, 0)
        assert [closed.row.open_ms // MINUTE for closed in change.closed] == [12]
        assert opens(series) == [12], "no bars are offered across a hole"

    def test_a_hole_inside_rest_history_is_not_stitched(self) -> None:
        series = BarSeries("1m", 100)
        history = [HistoryRow(row(n * MINUTE), (n + 1) * MINUTE - 1) for n in (1, 2, 4, 5, 6)]
        series.merge(history, 6 * MINUTE + 1, 10**15)
        assert opens(series) == [4, 5]

    def test_the_newest_bar_of_rest_counts_as_closed_only_a_while_after_its_end(self) -> None:
        for server_ms, expected in ((2 * MINUTE + 1_999, [0]), (2 * MINUTE + 2_000, [0, 1])):
            series = BarSeries("1m", 100)
            series.merge([HistoryRow(row(n * MINUTE), (n + 1) * MINUTE - 1) for n in (0, 1)], server_ms, 10**15)
            assert opens(series) == expected

    def test_only_bars_that_closed_after_the_start_are_announced(self) -> None:
        series = BarSeries("1m", 100)
        history = [HistoryRow(row(n * MINUTE), (n + 1) * MINUTE - 1) for n in range(5)]
        change = series.merge(history, 4 * MINUTE + 5, started_ms=3 * MINUTE)
        assert [closed.row.open_ms // MINUTE for closed in change.closed] == [3]

    def test_a_bar_announced_before_a_restart_is_not_announced_again(self) -> None:
        series = BarSeries("1m", 100, watermark=3 * MINUTE)
        history = [HistoryRow(row(n * MINUTE), (n + 1) * MINUTE - 1) for n in range(5)]
        assert series.merge(history, 4 * MINUTE + 5, started_ms=3 * MINUTE).closed == []

    @pytest.mark.parametrize(("late", "announced"), [(1, 1), (100, 100), (101, 0)])
    def test_bars_that_closed_while_the_process_was_down_are_announced_unless_they_are_history(
        self, late: int, announced: int
    ) -> None:
        series = BarSeries("1m", 200, watermark=3 * MINUTE)
        count = 4 + late
        history = [HistoryRow(row(n * MINUTE), (n + 1) * MINUTE - 1) for n in range(count + 1)]
        change = series.merge(history, count * MINUTE + 5_000, started_ms=count * MINUTE + 1_000)
        assert [closed.row.open_ms // MINUTE for closed in change.closed] == list(range(4, 4 + announced))
        assert series.watermark == (count - 1) * MINUTE

    def test_a_fuller_account_from_rest_mends_a_poorer_one_does_not(self) -> None:
        series = loaded()
        history = [
            HistoryRow(row(8 * MINUTE, "12", 6), 9 * MINUTE - 1),
            HistoryRow(row(9 * MINUTE, "1", 4), 10 * MINUTE - 1),
        ]
        change = series.merge([*history, HistoryRow(row(10 * MINUTE), 11 * MINUTE - 1)], 10 * MINUTE + 5, 0)
        assert [(mended.open_ms // MINUTE, mended.c) for mended in change.mended] == [(8, "12")]

    def test_the_same_numbers_written_differently_are_no_correction(self) -> None:
        series = loaded()
        same = BarRow(9 * MINUTE, "10.0", "11.00", "9", "10", "1.50", "15.000", 5)
        history = [HistoryRow(same, 10 * MINUTE - 1), HistoryRow(row(10 * MINUTE), 11 * MINUTE - 1)]
        assert series.merge(history, 10 * MINUTE + 5, 0).mended == []

    def test_a_bar_off_the_grid_is_ignored(self) -> None:
        series = loaded()
        assert not series.update(update(10 * MINUTE + 1, final=True)).changed

    def test_what_waits_behind_a_hole_is_bounded(self) -> None:
        series = loaded()
        for n in range(12, 12 + MAX_PENDING + 5):
            series.update(update(n * MINUTE, final=True))
        assert len(series.pending) == MAX_PENDING

    def test_memory_is_bounded_and_keeps_the_newest(self) -> None:
        series = BarSeries("1m", 10)
        series.merge([], 0, 0)
        for n in range(25):
            series.update(update(n * MINUTE, final=True))
        assert opens(series) == list(range(15, 25))

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.integers(10, 25), st.booleans(), st.integers(0, 3)), max_size=60), st.data())
    def test_whatever_arrives_each_bar_closes_once_in_order_without_holes(
        self, messages: list[tuple[int, bool, int]], data: st.DataObject
    ) -> None:
        series = loaded()
        announced: list[int] = []
        for n, final, rest in messages:
            change = series.update(update(n * MINUTE, final=final, event=data.draw(st.integers(0, 10**6))))
            announced += [closed.row.open_ms // MINUTE for closed in change.closed]
            if rest == 0:
                upto = data.draw(st.integers(8, 25))
                history = [HistoryRow(row(k * MINUTE), (k + 1) * MINUTE - 1) for k in range(6, upto + 1)]
                change = series.merge(history, upto * MINUTE + 5, 0)
                announced += [closed.row.open_ms // MINUTE for closed in change.closed]
            held = opens(series)
            assert held == list(range(held[0], held[-1] + 1))
        assert announced == sorted(set(announced))
        newer = [n for n in opens(series) if n > 9]
        assert announced[len(announced) - len(newer) :] == newer, "what is held and newer was announced"


def kline(at: int, *, final: bool = False, trades: int = 5, interval: str = "1m") -> dict[str, Any]:
    k = {
        "t": at, "T": at + MINUTE - 1, "s": "BTCUSDT", "i": interval, "o": "10", "h": "11", "l": "9", "c": "10",
        "v": "1.5", "q": "15", "n": trades, "x": final,
    }  # fmt: skip
    return {"stream": f"btcusdt@kline_{interval}", "data": {"e": "kline", "E": at + 1, "s": "BTCUSDT", "k": k}}


def rest_rows(first: int, last: int, trades: int = 5) -> list[list[Any]]:
    return [[at, "10", "11", "9", "10", "1.5", at + MINUTE - 1, "15", trades, "0", "0", "0"]
            for at in range(first, last + 1, MINUTE)]  # fmt: skip


class TestDesk:
    def rig(self, **kwargs: Any) -> Rig:
        """Five seconds into a minute; the exchange's REST always knows every bar up to now."""
        quiet: dict[str, Any] = {
            "market": MarketSettings(mark_silence_ms=10**9),
            "link": LinkSettings(first_frame_ms=10**9),
            "wall_ns": START_WALL_NS + 5_000 * 1_000_000,
        }
        rig = Rig(**quiet | kwargs)
        rig.serve("BTCUSDT")

        def answer(send: Send) -> tuple[int, Any]:
            params = dict(send.params)
            newest = rig.now.wall_ms - rig.now.wall_ms % MINUTE
            first = int(params["startTime"]) if "startTime" in params else newest - (int(params["limit"]) - 1) * MINUTE
            return 200, rest_rows(first, newest)[: int(params["limit"])]

        rig.answers["/fapi/v1/klines"] = answer
        rig.start("BTCUSDT", intervals=("1m",))
        return rig

    def closed(self, rig: Rig) -> list[tuple[int, str]]:
        return [
            ((event.data["open_ms"] - NOW_MS) // MINUTE, event.data["by"])
            for event in rig.events
            if event.subject == "bar.closed"
        ]

    def test_history_is_there_from_the_start_and_the_slice_names_the_last_closed_bar(self) -> None:
        rig = self.rig()
        bars = rig.slice(keys.bars(ACCOUNT, "BTCUSDT", "1m"))
        assert bars["state"] == "live"
        assert len(bars["rows"]) == 600
        bar = rig.slice(keys.bar(ACCOUNT, "BTCUSDT", "1m"))
        assert bar["closed_open_ms"] == bars["rows"][-1][0] == NOW_MS - MINUTE
        assert rig.asked("/fapi/v1/klines")[0].weight == 5

    def test_a_bar_nobody_closed_is_asked_for(self) -> None:
        rig = self.rig()
        rig.feed(kline(NOW_MS), "market")
        rig.wait(57_000)
        assert self.closed(rig) == []
        rig.wait(2_000)
        assert self.closed(rig) == [(0, "rest")]

    def test_a_lost_closing_message_is_checked_with_rest_once(self) -> None:
        rig = self.rig()
        rig.feed(kline(NOW_MS, trades=7), "market")
        rig.answers["/fapi/v1/klines"] = lambda send: (200, rest_rows(NOW_MS, NOW_MS + MINUTE, trades=9))
        rig.wait(55_100, step_ms=1_000)
        asked = len(rig.asked("/fapi/v1/klines"))
        rig.feed(kline(NOW_MS + MINUTE), "market")
        assert self.closed(rig) == [(0, "next")]
        assert len(rig.asked("/fapi/v1/klines")) == asked + 1
        assert rig.last("bar.mended").data == {
            "interval": "1m", "from_ms": NOW_MS, "to_ms": NOW_MS, "count": 1,
        }, "REST counted more trades"  # fmt: skip

    def test_bars_that_closed_during_a_disconnection_come_from_rest_once_each(self) -> None:
        rig = self.rig()
        rig.feed(kline(NOW_MS), "market")
        rig.refuse.add("market")
        rig.close("market")
        rig.wait(200_000, step_ms=1_000)
        assert rig.slice(keys.bars(ACCOUNT, "BTCUSDT", "1m"))["state"] == "down"
        rig.refuse.clear()
        rig.wait(60_000, step_ms=1_000)
        found = self.closed(rig)
        assert found[:3] == [(0, "rest"), (1, "rest"), (2, "rest")]
        assert [n for n, _ in found] == sorted({n for n, _ in found})

    def test_closed_bars_are_written_anew_when_the_connection_is_back_though_none_closed_meanwhile(self) -> None:
        rig = self.rig()
        rig.feed(kline(NOW_MS), "market")
        rig.refuse.add("market")
        rig.close("market")
        rig.wait(5_000)
        rig.dirty.clear()
        rig.refuse.clear()
        rig.wait(10_000)
        assert self.closed(rig) == []
        assert rig.slice(keys.bars(ACCOUNT, "BTCUSDT", "1m"))["state"] == "live"
        assert keys.bars(ACCOUNT, "BTCUSDT", "1m") in rig.dirty, "written on change only: `down` would stand"

    def test_bars_that_lack_one_that_must_have_closed_are_not_live(self) -> None:
        rig = self.rig()
        rig.feed(kline(NOW_MS), "market")
        rest = rig.answers["/fapi/v1/klines"]
        rig.answers["/fapi/v1/klines"] = lambda send: (503, b"<html>")
        names = [keys.bar(ACCOUNT, "BTCUSDT", "1m"), keys.bars(ACCOUNT, "BTCUSDT", "1m")]
        rig.wait(57_000)
        assert [rig.slice(name)["state"] for name in names] == ["live", "live"], "the closing message may be on its way"
        rig.dirty.clear()
        rig.wait(1_000)
        assert [rig.slice(name)["state"] for name in names] == ["resync", "resync"]
        assert set(names) <= rig.dirty
        rig.refuse.add("market")
        rig.close("market")
        rig.wait(60_000, step_ms=1_000)
        rig.refuse.clear()
        rig.wait(40_000, step_ms=1_000)
        assert "market" in " ".join(rig.open)
        assert [rig.slice(name)["state"] for name in names] == ["resync", "resync"], "connected, and still without them"
        rig.dirty.clear()
        rig.answers["/fapi/v1/klines"] = rest
        rig.wait(70_000, step_ms=1_000)
        assert [rig.slice(name)["state"] for name in names] == ["live", "live"]
        assert set(names) <= rig.dirty

    def test_across_a_restart_no_bar_is_announced_twice(self) -> None:
        rig = self.rig()
        rig.wait(55_000, step_ms=1_000)
        rig.feed(kline(NOW_MS, final=True), "market")
        assert self.closed(rig) == [(0, "stream")]
        again = self.rig(stored={"bar:BTCUSDT:1m": str(NOW_MS).encode()}, wall_ns=START_WALL_NS + 59_000 * 1_000_000)
        again.wait(3_000)
        assert self.closed(again) == []

    def test_a_failing_rest_leaves_the_series_in_resync_and_is_asked_again(self) -> None:
        rig = Rig()
        rig.serve("BTCUSDT")
        rig.answers["/fapi/v1/klines"] = lambda send: (200, b"<html>busy</html>")
        rig.start("BTCUSDT", intervals=("1m",))
        assert rig.slice(keys.bars(ACCOUNT, "BTCUSDT", "1m"))["state"] == "resync"
        rig.wait(4_000)
        assert 3 <= len(rig.asked("/fapi/v1/klines")) <= 8
        rig.answers["/fapi/v1/klines"] = lambda send: (200, rest_rows(NOW_MS - 5 * MINUTE, NOW_MS))
        rig.wait(10_000)
        assert rig.slice(keys.bars(ACCOUNT, "BTCUSDT", "1m"))["state"] == "live"

    def test_pages_run_newest_first_each_oldest_first_without_hole_or_repeat(self) -> None:
        rig = self.rig()
        seen: list[int] = []
        token: str | None = None
        while True:
            result, token = rig.core.bars_page("BTCUSDT", "1m", 300, None, token)
            page = [held.open_ms for held in result["rows"]]
            assert page == sorted(page)
            seen = page + seen
            if token is None:
                break
        assert seen == list(range(NOW_MS - 999 * MINUTE, NOW_MS, MINUTE))

    def test_a_page_ends_before_the_asked_time(self) -> None:
        rig = self.rig()
        for end_ms, last in ((NOW_MS, NOW_MS - MINUTE), (NOW_MS - 1, NOW_MS - 2 * MINUTE)):
            result, _ = rig.core.bars_page("BTCUSDT", "1m", 2, end_ms, None)
            assert result["rows"][-1].open_ms == last

    @pytest.mark.parametrize("token", ["", "x", "-1", "1" * 16, "１"])
    def test_a_token_that_is_none_of_ours_is_refused(self, token: str) -> None:
        with pytest.raises(IpcError) as refused:
            self.rig().core.bars_page("BTCUSDT", "1m", 2, None, token)
        assert refused.value.code == "page.bad_token"

    def test_history_requests_are_few_at_a_time(self) -> None:
        rig = Rig(market=MarketSettings())
        symbols = [f"S{n}USDT" for n in range(12)]
        rig.serve(*symbols)
        rig.start(*symbols, intervals=("1m", "5m"))
        waiting = rig.asked("/fapi/v1/klines")
        assert len(waiting) == 4
        rig.reply(waiting[0], 200, [])
        assert len(rig.asked("/fapi/v1/klines")) == 5
