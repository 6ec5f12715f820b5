"""The market core as a whole: bad input, silence, snapshots, refreshes, instruments, slices and pages."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from gateway.core.effects import Send
from gateway.core.market_data import BadFrame, BadSymbol, CommandReply, RateLimit, Streamed, Unused
from gateway.core.market_settings import MarketSettings
from gateway.core.signals import CatalogDoubt, LimitsRead
from gateway.venues.binance import filters, market_frames
from ipc import keys
from ipc.errors import IpcError
from ipc.slices import BookSlice, InstrumentSlice, MarkSlice, decode
from tests.gateway.market_rig import ACCOUNT, Rig, diff, exchange_info, snapshot

BID, ASK = [["10.0", "1"]], [["11.0", "1"]]


def live_rig(*symbols: str, market: MarketSettings | None = None) -> Rig:
    """Books of all symbols live at update 101."""
    rig = Rig(market=market or MarketSettings())
    rig.serve(*symbols)
    rig.answers["/fapi/v1/klines"] = lambda send: (200, [])
    rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(100, BID, ASK))
    rig.start(*symbols)
    for symbol in symbols:
        rig.feed(diff(symbol, 99, 101, 98, [], []))
    rig.wait(500 * len(symbols))
    for symbol in symbols:
        assert rig.book(symbol)["state"] == "live"
    return rig


def mark(symbol: str, event_ms: int = 1, **fields: Any) -> dict[str, Any]:
    data = {"e": "markPriceUpdate", "E": event_ms, "s": symbol, "p": "10.5", "i": "10.4", "r": "0.0001", "T": 5}
    return {"stream": f"{symbol.lower()}@markPrice@1s", "data": data | fields}


def pass_time(rig: Rig, seconds: int) -> None:
    """Time passes with a mark price each second, so that the market connection is not the subject."""
    for _ in range(seconds):
        rig.wait(1_000)
        rig.feed(mark("BTCUSDT", rig.now.wall_ms), "market")


GOOD = json.dumps(diff("BTCUSDT", 102, 105, 101, [["10.5", "2"]], [["11.0", "0.000"], ["12.0", "1"]])).encode()


class TestBadFrames:
    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            (b"", "not_json"),
            (b"\xff\xfe", "not_json"),
            (b"[" * 100_000, "not_json"),
            (b"<html><body>503</body></html>", "html"),
            (b"[1,2]", "bad_shape"),
            (b"7", "bad_shape"),
            (b"{}", "bad_shape"),
            (b'{"stream":"btcusdt@depth@100ms","data":null}', "bad_shape"),
            (b'{"stream":"btcusdt@depth@100ms","data":{"e":7}}', "bad_shape"),
            (GOOD[:-40], "not_json"),
            (GOOD.replace(b'"U": 102', b'"U": "102"'), "bad_fields"),
            (GOOD.replace(b'"u": 105', b'"u": 1.5'), "bad_fields"),
            (GOOD.replace(b'"pu": 101, ', b""), "bad_fields"),
            (GOOD.replace(b'"10.5"', b"10.5"), "bad_fields"),
            (GOOD.replace(b'["10.5", "2"]', b'["10.5"]'), "bad_fields"),
            (GOOD.replace(b'["10.5", "2"]', b'["10.5", "2", "3"]'), "bad_fields"),
            (GOOD.replace(b'"b": [[', b'"b": {"x": [[').replace(b'"2"]]', b'"2"]]}'), "bad_fields"),
            (b'{"e":"depthUpdate","s":"BTCUSDT"}', "no_stream"),
            (b" " * (market_frames.MAX_FRAME_BYTES + 1), "too_long"),
        ],
    )
    def test_each_is_named_counted_and_survived(self, data: bytes, kind: str) -> None:
        parsed = market_frames.parse(data)
        assert isinstance(parsed, BadFrame)
        assert parsed.kind == kind
        rig = live_rig("BTCUSDT", "ETHUSDT")
        rig.feed(data)
        assert rig.core.counters()[f"frame.{kind}"] == 1
        assert len(rig.reports[-1].fields["detail"]) < 300
        assert rig.book("ETHUSDT")["state"] == "live", "another symbol is not touched"

    def test_a_good_frame_passes_so_that_the_cases_above_can_fail(self) -> None:
        assert isinstance(market_frames.parse(GOOD), Streamed)

    @pytest.mark.parametrize("cut", range(5, len(GOOD) - 1, 7))
    def test_a_depth_frame_cut_anywhere_costs_its_book_and_nothing_wrong_is_served(self, cut: int) -> None:
        rig = live_rig("BTCUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: None
        rig.feed(GOOD[:cut])
        if rig.book("BTCUSDT")["state"] == "live":  # cut before its name could be read: the next message shows it
            assert rig.book("BTCUSDT")["u"] == 101
            rig.feed(diff("BTCUSDT", 106, 110, 105, [], []))
        assert rig.book("BTCUSDT")["state"] == "resync"
        assert rig.last("book.gap").data["reason"] in ("bad_frame", "gap")

    def test_a_flood_of_bad_frames_is_counted_but_not_a_flood_of_log_lines(self) -> None:
        rig = live_rig("BTCUSDT")
        before = len(rig.reports)
        for _ in range(1_000):
            rig.feed(b"<html>")
        assert rig.core.counters()["frame.html"] == 1_000
        assert len(rig.reports) == before + 1
        rig.wait(11_000)
        rig.feed(b"<html>")
        assert rig.reports[-1].fields["held_back"] == 999

    def test_a_frame_of_several_megabytes_is_taken(self) -> None:
        rig = live_rig("BTCUSDT")
        levels = [[f"{9.0 - n / 100_000:.5f}", "1.000"] for n in range(100_000)]
        raw = json.dumps(diff("BTCUSDT", 102, 105, 101, levels, [])).encode()
        assert len(raw) > 2_000_000
        rig.feed(raw)
        assert (rig.book("BTCUSDT")["state"], rig.book("BTCUSDT")["u"]) == ("live", 105)

    @pytest.mark.parametrize(
        ("frame", "expected"),
        [
            ({"result": None, "id": 3}, CommandReply(3, None)),
            ({"code": 2, "msg": "Invalid request"}, CommandReply(None, "2: Invalid request")),
            ({"error": {"code": 3, "msg": "Invalid JSON"}, "id": 9}, CommandReply(9, "3: Invalid JSON")),
            ({"stream": "x@bookTicker", "data": {"e": "bookTicker", "u": 1}}, Unused("bookTicker", known=True)),
            ({"stream": "!ticker@arr", "data": [{"e": "24hrTicker"}]}, Unused("24hrTicker", known=True)),
            ({"stream": "x@new", "data": {"e": "somethingNew"}}, Unused("somethingNew", known=False)),
        ],
    )
    def test_other_frames_are_told_apart(self, frame: dict[str, Any], expected: object) -> None:
        assert market_frames.parse(json.dumps(frame).encode()) == expected

    def test_fields_and_order_the_exchange_may_change_do_not_matter(self) -> None:
        body = diff("BTCUSDT", 102, 105, 101, [["10.5", "2"]], [])["data"]
        shuffled = {"st": 1, "ps": "BTCUSDT", "new": {"x": [1]}, **dict(reversed(body.items()))}
        parsed = market_frames.parse(json.dumps({"data": shuffled, "stream": "btcusdt@depth@100ms"}).encode())
        assert isinstance(parsed, Streamed)
        assert parsed.data.symbol == "BTCUSDT"

    def test_a_message_of_another_symbol_under_our_streams_name_costs_the_book(self) -> None:
        rig = live_rig("BTCUSDT", "ETHUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: None
        frame = diff("ETHUSDT", 102, 105, 101, [], []) | {"stream": "btcusdt@depth@100ms"}
        rig.feed(frame)
        assert rig.book("BTCUSDT")["state"] == "resync"
        assert rig.book("ETHUSDT")["u"] == 101

    @pytest.mark.parametrize(
        "fields", [{"p": "-1"}, {"p": "0"}, {"p": "nan"}, {"p": "1e5"}, {"i": "x"}, {"r": "--1"}, {"p": 5}, {"E": "1"}]
    )
    def test_a_mark_price_that_cannot_be_is_not_taken(self, fields: dict[str, Any]) -> None:
        rig = live_rig("BTCUSDT")
        rig.feed(mark("BTCUSDT", 1), "market")
        rig.feed(mark("BTCUSDT", 2, **fields), "market")
        assert rig.core.mark("BTCUSDT", rig.now) == Decimal("10.5")


class TestSilence:
    def test_a_quiet_book_is_compared_and_stays_live(self) -> None:
        rig = live_rig("BTCUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(140, [["10.00", "1.0"]], ASK))
        pass_time(rig, 25)
        compares = [send for send in rig.asked("/fapi/v1/depth") if send.key[1] == "compare"]
        assert 1 <= len(compares) <= 3
        assert compares[0].weight == 2
        assert rig.book("BTCUSDT")["state"] == "live", "ids moved on, levels did not: quiet"

    def test_messages_lost_in_silence_are_found_and_the_book_is_rebuilt(self) -> None:
        rig = live_rig("BTCUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(140, [["10.2", "1"]], ASK))
        pass_time(rig, 9)
        assert rig.book("BTCUSDT")["state"] == "live"
        pass_time(rig, 4)
        assert rig.book("BTCUSDT")["state"] != "live"
        assert rig.last("stream.silent").data["stream"] == "btcusdt@depth@100ms"
        gap = rig.last("book.gap")
        assert gap.data["reason"] == "silent"
        assert [event.data["connection"] for event in rig.events if event.subject == "stream.down"] == ["public"]

    def test_one_mute_stream_is_asked_for_again_and_costs_the_books_of_the_others_at_most_once(self) -> None:
        rig = live_rig("BTCUSDT", "ETHUSDT")
        moving, at = {"last": 200}, 101

        def answer(send: Send) -> tuple[int, Any]:
            if dict(send.params)["symbol"] == "ETHUSDT":
                return 200, snapshot(at, BID, ASK)
            moving["last"] += 10
            return 200, snapshot(moving["last"], [["10.0", str(moving["last"])]], ASK)

        rig.answers["/fapi/v1/depth"] = answer
        for _ in range(180):
            conn = next((name for name in rig.open if name.startswith("public")), "")
            if conn:
                rig.feed(diff("ETHUSDT", at + 1, at + 2, at, [], []), conn)
            at += 2
            pass_time(rig, 1)
        assert rig.book("BTCUSDT")["state"] == "resync"
        downs = [event for event in rig.events if event.subject == "stream.down"]
        assert len(downs) == 1, "a new connection is tried as well, once in these minutes"
        asked = [frame for frame in rig.frames_sent if b'"btcusdt@depth@100ms"' in frame.data]
        assert len(asked) >= 5
        gaps = [event.symbol for event in rig.events if event.subject == "book.gap"]
        assert gaps.count("ETHUSDT") == 1
        assert rig.book("ETHUSDT")["state"] == "live"
        last = moving["last"]
        rig.feed(diff("BTCUSDT", last - 5, last + 1, last - 6, [], []), conn)
        pass_time(rig, 5)
        rig.feed(diff("BTCUSDT", moving["last"] - 5, moving["last"] + 1, last + 1, [], []), conn)
        pass_time(rig, 5)
        assert rig.book("BTCUSDT")["u"] >= last

    def test_a_stream_that_only_lags_behind_rest_is_left_alone(self) -> None:
        rig = live_rig("BTCUSDT")

        def answer(send: Send) -> tuple[int, Any]:
            return 200, snapshot(140, [["10.2", "1"]], ASK)

        rig.answers["/fapi/v1/depth"] = answer
        while not any(send.key[1] == "compare" for send in rig.asked("/fapi/v1/depth")):
            pass_time(rig, 1)
        rig.feed(diff("BTCUSDT", 102, 140, 101, [["10.0", "0"], ["10.2", "1"]], []))
        pass_time(rig, 3)
        assert rig.book("BTCUSDT")["state"] == "live"
        assert "book.gap" not in rig.subjects()

    def test_a_message_during_the_comparison_shows_that_the_stream_delivers(self) -> None:
        rig = live_rig("BTCUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(140, [["10.2", "1"]], ASK))
        while not any(send.key[1] == "compare" for send in rig.asked("/fapi/v1/depth")):
            pass_time(rig, 1)
        rig.wait(200)
        rig.feed(diff("BTCUSDT", 102, 120, 101, [["10.1", "1"]], []))
        pass_time(rig, 3)
        assert rig.book("BTCUSDT")["state"] == "live", "behind REST, and on its way"
        assert "stream.silent" not in rig.subjects()

    def test_ids_that_started_over_are_believed_when_seen_twice(self) -> None:
        rig = live_rig("BTCUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(7, [["10.7", "1"]], ASK))
        pass_time(rig, 12)
        assert rig.book("BTCUSDT")["state"] == "live", "an old answer from a cache proves nothing"
        pass_time(rig, 14)
        assert rig.last("book.gap").data["reason"] == "ids_restarted"

    def test_a_comparison_that_fails_proves_nothing_and_is_repeated(self) -> None:
        rig = live_rig("BTCUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: (503, b"<html>")
        pass_time(rig, 15)
        assert rig.book("BTCUSDT")["state"] == "live"
        assert len([send for send in rig.asked("/fapi/v1/depth") if send.key[1] == "compare"]) >= 3

    @pytest.mark.parametrize("proof", ["message", "agreement"])
    def test_a_silent_book_that_rest_cannot_prove_is_not_served_until_something_does(self, proof: str) -> None:
        rig = live_rig("BTCUSDT")
        served = rig.book("BTCUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: (503, b"<html>")
        pass_time(rig, 19)
        assert rig.book("BTCUSDT")["state"] == "live", "one refusal of REST is no reason yet"
        pass_time(rig, 5)
        assert rig.book("BTCUSDT") == rig.book("BTCUSDT") | {"state": "resync", "bids": [], "asks": []}
        assert rig.core.best("BTCUSDT", rig.now) is None
        pass_time(rig, 30)
        gaps = [event.data for event in rig.events if event.subject == "book.gap"]
        assert gaps == [{"reason": "unproven", "u": served["u"]}], "said once"
        if proof == "message":
            rig.feed(diff("BTCUSDT", served["u"] + 1, served["u"] + 2, served["u"], [], []))
        else:
            same = snapshot(served["u"], served["bids"], served["asks"])
            rig.answers["/fapi/v1/depth"] = lambda send: (200, same)
            pass_time(rig, 2)
        rig.wait(100)
        book = rig.book("BTCUSDT")
        assert (book["state"], book["bids"], book["asks"]) == ("live", served["bids"], served["asks"])
        assert rig.subjects()[-1] == "book.live"

    @pytest.mark.parametrize(("ms", "known"), [(5_000, True), (5_100, False)])
    def test_a_mark_price_is_relied_on_only_within_its_deadline(self, ms: int, known: bool) -> None:
        rig = live_rig("BTCUSDT")
        rig.feed(mark("BTCUSDT", 1), "market")
        rig.wait(ms)
        assert (rig.core.mark("BTCUSDT", rig.now) is not None) is known
        assert (rig.slice(keys.mark(ACCOUNT, "BTCUSDT"))["state"] == "live") is known


class TestSnapshots:
    def test_many_symbols_are_staggered(self) -> None:
        symbols = [f"S{n}USDT" for n in range(10)]
        rig = Rig()
        rig.serve(*symbols)
        rig.start(*symbols)
        for symbol in symbols:
            rig.feed(diff(symbol, 99, 101, 98, [], []))
        assert len(rig.asked("/fapi/v1/depth")) == 1
        rig.wait(350)
        assert len(rig.asked("/fapi/v1/depth")) == 4
        rig.wait(1_000)
        assert len(rig.asked("/fapi/v1/depth")) == 4, "no more than four unanswered"
        rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(100, BID, ASK))
        for send in list(rig.asked("/fapi/v1/depth")):
            rig.reply(send, 200, snapshot(100, BID, ASK))
        rig.wait(1_500)
        assert all(rig.book(symbol)["state"] == "live" for symbol in symbols)
        assert len(rig.asked("/fapi/v1/depth")) == 10

    def test_requests_that_fail_back_off_and_buffering_goes_on(self) -> None:
        rig = Rig()
        rig.serve("BTCUSDT")
        rig.answers["/fapi/v1/depth"] = lambda send: (503, b"busy")
        rig.start("BTCUSDT")
        at = 100
        for _ in range(80):
            rig.feed(diff("BTCUSDT", at + 1, at + 1, at, [], []))
            at += 1
            rig.wait(100)
        assert 4 <= len(rig.asked("/fapi/v1/depth")) <= 8
        rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(101, BID, ASK))
        rig.wait(9_000)
        assert rig.book("BTCUSDT") == rig.book("BTCUSDT") | {"state": "live", "u": at}

    def test_an_answer_to_an_older_request_is_not_taken(self) -> None:
        rig = Rig()
        rig.serve("BTCUSDT")
        rig.start("BTCUSDT")
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        late = rig.asked("/fapi/v1/depth")[0]
        rig.close("public")
        rig.wait(1_000)
        rig.feed(diff("BTCUSDT", 199, 201, 198, [], []), next(conn for conn in rig.open if conn.startswith("public")))
        assert len(rig.asked("/fapi/v1/depth")) == 2
        rig.reply(late, 200, snapshot(200, [["1", "1"]], [["2", "1"]]))
        assert rig.book("BTCUSDT")["state"] == "resync"
        assert rig.core.counters()["book.late_snapshot"] == 1

    def test_a_request_that_is_never_answered_is_made_again(self) -> None:
        rig = Rig()
        rig.serve("BTCUSDT")
        rig.start("BTCUSDT")
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        for _ in range(32):
            rig.wait(1_000)
            rig.feed(mark("BTCUSDT"), next(conn for conn in rig.open if conn.startswith("market")))
        assert len(rig.asked("/fapi/v1/depth")) >= 2

    def test_a_book_near_the_edge_of_its_snapshot_is_refreshed_beside_itself(self) -> None:
        rig = live_rig("BTCUSDT", market=MarketSettings(top=2, snapshot_limit=5, refresh_margin=4))
        bids = [[f"{10 - n}.0", "1"] for n in range(5)]
        rig.answers["/fapi/v1/depth"] = lambda send: None
        rig.close("public")
        rig.wait(1_000)
        conn = next(conn for conn in rig.open if conn.startswith("public"))
        rig.feed(diff("BTCUSDT", 201, 205, 200, [], []), conn)
        rig.reply(rig.asked("/fapi/v1/depth")[-1], 200, snapshot(205, bids, ASK))
        asked = len(rig.asked("/fapi/v1/depth"))
        rig.feed(diff("BTCUSDT", 206, 210, 205, [["10.0", "0"], ["9.0", "0"]], []), conn)
        assert len(rig.asked("/fapi/v1/depth")) == asked
        rig.wait(200)
        assert len(rig.asked("/fapi/v1/depth")) == asked + 1, "three levels of the known range are left"
        assert rig.book("BTCUSDT")["state"] == "live"
        rig.feed(diff("BTCUSDT", 211, 215, 210, [["8.0", "3"]], []), conn)
        fresh = [["8.0", "3"], ["7.0", "1"], ["6.0", "1"], ["5.0", "1"], ["4.0", "1"]]
        rig.reply(rig.asked("/fapi/v1/depth")[-1], 200, snapshot(215, fresh, ASK))
        rig.feed(diff("BTCUSDT", 216, 220, 215, [["8.0", "0"], ["7.0", "0"]], []), conn)
        rig.feed(diff("BTCUSDT", 221, 225, 220, [["6.0", "0"]], []), conn)
        shown = rig.book("BTCUSDT")
        assert (shown["state"], shown["u"]) == ("live", 225)
        assert [price for price, _ in shown["bids"]] == ["5.0", "4.0"], "the level beyond the old edge is known now"
        assert rig.subjects().count("book.gap") == 1, "the disconnection alone"


class TestCatalog:
    def test_one_malformed_symbol_is_down_with_its_reason_and_the_others_live(self) -> None:
        rig = Rig()
        good = exchange_info("BTCUSDT")["symbols"][0]
        bad = good | {"symbol": "BADUSDT", "filters": [{"filterType": "PRICE_FILTER", "tickSize": "abc"}]}
        broken = [bad, 7, {"nothing": 1}, good | {"symbol": "OLDUSDT", "status": "SETTLING"}, "x"]
        rig.answers["/fapi/v1/exchangeInfo"] = lambda send: (200, exchange_info("BTCUSDT", extra=broken))
        rig.start("BTCUSDT", "BADUSDT", "OLDUSDT", "BTCUSD")
        states = {name: rig.book(name)["state"] for name in rig.core.symbols()}
        assert states == {"BTCUSDT": "resync", "BADUSDT": "down", "OLDUSDT": "down", "BTCUSD": "down"}
        assert "tickSize" in str(rig.core.down_reason("BADUSDT")) or "LOT_SIZE" in str(rig.core.down_reason("BADUSDT"))
        assert "SETTLING" in str(rig.core.down_reason("OLDUSDT"))
        assert "did you mean BTCUSDT" in str(rig.core.down_reason("BTCUSD"))
        assert (
            decode(InstrumentSlice, rig.core.render(rig.now, keys.instrument(ACCOUNT, "BTCUSD")) or b"").state == "down"
        )
        streams = " ".join(rig.open.values())
        assert "btcusdt@" in streams
        assert "badusdt" not in streams

    def test_a_symbol_that_starts_trading_later_comes_up(self) -> None:
        rig = Rig(market=MarketSettings(info_every_ms=60_000))
        status = "PENDING_TRADING"
        rig.answers["/fapi/v1/exchangeInfo"] = lambda send: (200, exchange_info("BTCUSDT", status=status))
        rig.start("BTCUSDT")
        assert rig.open == {}
        status = "TRADING"
        rig.wait(61_000, step_ms=1_000)
        assert any(conn.startswith("public") for conn in rig.open)
        assert rig.last("instrument.changed").data == {"changes": {"status": ["PENDING_TRADING", "TRADING"]}}

    def test_the_return_of_a_symbol_is_looked_for_soon_at_first_and_then_more_rarely(self) -> None:
        """Nothing else would tell of it before the next refresh, half an hour later."""
        rig = Rig()
        status = "BREAK"
        rig.answers["/fapi/v1/exchangeInfo"] = lambda send: (200, exchange_info("BTCUSDT", status=status))
        rig.start("BTCUSDT")

        def asked_after(seconds: int) -> int:
            rig.wait(seconds * 1_000, step_ms=1_000)
            return len(rig.asked("/fapi/v1/exchangeInfo"))

        assert asked_after(14) == 1
        assert asked_after(2) == 2
        assert asked_after(28) == 2, "30 s later"
        assert asked_after(4) == 3
        settled = asked_after(1_200)
        assert 3 + 3 <= settled <= 3 + 7, "at most every five minutes in the end"
        status = "TRADING"
        asked_after(301)
        assert rig.last("instrument.changed").data == {"changes": {"status": ["BREAK", "TRADING"]}}
        seen = asked_after(0)
        assert asked_after(1_400) == seen, "all are there: half an hour again"

    def test_a_changed_filter_is_an_event_and_limits_are_handed_on(self) -> None:
        rig = live_rig("BTCUSDT")
        assert rig.signals[0] == LimitsRead((RateLimit("weight", 60, 2400), RateLimit("orders", 10, 300)))
        info = exchange_info("BTCUSDT")
        info["symbols"][0]["filters"][0]["tickSize"] = "0.50"
        rig.answers["/fapi/v1/exchangeInfo"] = lambda send: (200, info)
        rig.wait(11_000)
        rig.do(rig.core.on_signal(rig.now, CatalogDoubt("BTCUSDT", "-4014")))
        assert rig.last("instrument.changed").data == {"changes": {"tick": ["0.10", "0.50"]}}
        instrument = rig.core.instrument("BTCUSDT")
        assert instrument is not None
        assert instrument.tick == Decimal("0.50")

    @pytest.mark.parametrize("described", [None, {"symbol": "BTCUSDT", "filters": "?"}])
    def test_a_symbol_that_disappears_or_becomes_unreadable_keeps_its_last_filters_for_closes(
        self, described: dict[str, Any] | None
    ) -> None:
        rig = live_rig("BTCUSDT")
        before = rig.core.instrument("BTCUSDT")
        assert before is not None
        gone = exchange_info("ETHUSDT", extra=[described] if described is not None else [])
        rig.answers["/fapi/v1/exchangeInfo"] = lambda send: (200, gone)
        for _ in range(2):
            rig.wait(11_000)
            rig.do(rig.core.on_signal(rig.now, CatalogDoubt("BTCUSDT", "-4014")))
        held = rig.core.instrument("BTCUSDT")
        assert held == replace(before, status="MISSING"), "no entry, but a close still knows its grid"
        changes = [event.data for event in rig.events if event.subject == "instrument.changed"]
        assert changes == [{"changes": {"status": ["TRADING", "MISSING"]}}], "said once"
        shown = decode(InstrumentSlice, rig.core.render(rig.now, keys.instrument(ACCOUNT, "BTCUSDT")) or b"")
        assert (shown.state, shown.status, shown.tick) == ("down", "MISSING", "0.10")
        rig.serve("BTCUSDT")
        rig.wait(11_000)
        rig.do(rig.core.on_signal(rig.now, CatalogDoubt("BTCUSDT", "-4014")))
        assert rig.core.instrument("BTCUSDT") == before

    def test_a_burst_of_refusals_reads_once(self) -> None:
        rig = live_rig("BTCUSDT")
        rig.wait(11_000)
        before = len(rig.asked("/fapi/v1/exchangeInfo"))
        for _ in range(20):
            rig.do(rig.core.on_signal(rig.now, CatalogDoubt("BTCUSDT", "-4014")))
        assert len(rig.asked("/fapi/v1/exchangeInfo")) == before + 1
        rig.wait(11_000)
        assert len(rig.asked("/fapi/v1/exchangeInfo")) == before + 2, "and once more for what came meanwhile"

    @pytest.mark.parametrize("body", [b"<html>", b"{", {"symbols": 5}, [], {}])
    def test_an_answer_that_cannot_be_used_is_asked_for_again_and_the_last_one_stays(self, body: Any) -> None:
        rig = Rig()
        rig.answers["/fapi/v1/exchangeInfo"] = lambda send: (200, body)
        rig.start("BTCUSDT")
        assert rig.book("BTCUSDT")["state"] == "down"
        rig.serve("BTCUSDT")
        rig.wait(3_000)
        assert rig.open

    @pytest.mark.parametrize("change", ["tickSize", "stepSize"])
    @pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity", "x", None, 5])
    def test_a_grid_that_cannot_be_is_refused(self, change: str, value: Any) -> None:
        info = exchange_info("BTCUSDT")
        for entry in info["symbols"][0]["filters"][:2]:
            if change in entry:
                entry[change] = value
        parsed = filters.parse_exchange_info(200, json.dumps(info).encode())
        with pytest.raises(BadSymbol, match="BTCUSDT"):
            parsed.instrument("BTCUSDT")


class TestSlices:
    def test_every_slice_is_of_the_contract(self) -> None:
        rig = live_rig("BTCUSDT")
        rig.do(rig.core.subscribe(rig.now, ("BTCUSDT",), ("1m",)))
        rig.feed(mark("BTCUSDT", 1), "market")
        book = decode(BookSlice, rig.core.render(rig.now, keys.book(ACCOUNT, "BTCUSDT")) or b"")
        assert (book.u, book.bids, book.asks) == (101, BID, ASK)
        shown = decode(MarkSlice, rig.core.render(rig.now, keys.mark(ACCOUNT, "BTCUSDT")) or b"")
        assert (shown.mark, shown.funding_rate, shown.next_funding_ms) == ("10.5", "0.0001", 5)
        assert set(rig.core.keys()) == {
            keys.book(ACCOUNT, "BTCUSDT"), keys.mark(ACCOUNT, "BTCUSDT"), keys.instrument(ACCOUNT, "BTCUSDT"),
            keys.bar(ACCOUNT, "BTCUSDT", "1m"), keys.bars(ACCOUNT, "BTCUSDT", "1m"),
        }  # fmt: skip
        served = rig.core.keys()
        assert all(rig.core.render(rig.now, key) for key in served)
        assert rig.core.render(rig.now, "bs:main:BTCUSDT:position") is None

    def test_a_market_frame_changes_its_own_slice_and_no_other(self) -> None:
        rig = live_rig("BTCUSDT", "ETHUSDT")
        rig.dirty.clear()
        rig.feed(diff("BTCUSDT", 102, 105, 101, [["10.5", "2"]], []))
        assert rig.dirty == {keys.book(ACCOUNT, "BTCUSDT")}
        assert rig.core.best("BTCUSDT", rig.now) == (Decimal("10.5"), Decimal("11.0"))

    def test_every_held_level_is_paged(self) -> None:
        rig = live_rig("BTCUSDT")
        bids = [[f"9.{n:03}", "1"] for n in range(100)]
        asks = [[f"12.{n:03}", "1"] for n in range(30)]
        rig.feed(diff("BTCUSDT", 102, 105, 101, bids, asks))
        seen: dict[str, list[str]] = {"bids": [], "asks": []}
        token: str | None = None
        for _ in range(20):
            result, token = rig.core.book_page("BTCUSDT", 17, token)
            for side, prices in seen.items():
                prices += [price for price, _ in result[side]]
            if token is None:
                break
        assert seen["bids"] == ["10.0", *sorted((price for price, _ in bids), reverse=True)]
        assert seen["asks"] == ["11.0", *sorted(price for price, _ in asks)]

    @pytest.mark.parametrize("token", ["", ":", "1", "1:2:3", "x:1", "-1:1", "1:0", "1e5:1"])
    def test_a_token_that_is_none_of_ours_is_refused(self, token: str) -> None:
        with pytest.raises(IpcError) as refused:
            live_rig("BTCUSDT").core.book_page("BTCUSDT", 5, token)
        assert refused.value.code == "page.bad_token"

    def test_asking_for_what_is_not_served_says_why(self) -> None:
        rig = live_rig("BTCUSDT")
        rig.do(rig.core.subscribe(rig.now, ("NOPEUSDT",), ()))
        for symbol in ("NOPEUSDT", "ETHUSDT"):
            with pytest.raises(IpcError) as refused:
                rig.core.book_page(symbol, 5, None)
            assert refused.value.code == "symbol.unknown"

    def test_at_the_bound_of_symbols_the_rest_is_refused_aloud(self) -> None:
        rig = Rig(market=MarketSettings(max_symbols=2))
        rig.serve("AUSDT", "BUSDT", "CUSDT")
        rig.start("AUSDT", "BUSDT", "CUSDT")
        assert rig.core.symbols() == ("AUSDT", "BUSDT")
        assert [report.event for report in rig.reports] == ["symbol.too_many"]
