"""Connections, listenKey and clock: proven by data, watched, replaced; nothing is believed because it connected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.effects import Send
from gateway.core.inputs import StreamClosed, StreamOpened
from gateway.core.links import Links
from gateway.core.market_settings import LinkSettings
from gateway.core.market_venue import PrivateUrl
from gateway.core.signals import ClockSuspect, KeyDoubt, PrivateDown, PrivateUp
from gateway.venues.binance.endpoints import endpoints, private_url, stream_url
from tests.gateway.market_rig import Rig, diff, snapshot

KEY = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"
OTHER = "x" * 64


def mark(symbol: str, event_ms: int = 1, price: str = "10.5") -> dict[str, Any]:
    data = {"e": "markPriceUpdate", "E": event_ms, "s": symbol, "p": price, "i": "10.4", "r": "0.0001", "T": 5}
    return {"stream": f"{symbol.lower()}@markPrice@1s", "data": data}


def trading_rig(**settings: Any) -> Rig:
    rig = Rig(**settings)
    rig.serve("BTCUSDT", "ETHUSDT")
    rig.answers["/fapi/v1/klines"] = lambda send: (200, [])
    rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(100, [["10", "1"]], [["11", "1"]]))
    return rig


def keyed_rig(*keys: str, **settings: Any) -> Rig:
    """A rig with a private stream; POSTs are answered by the keys in turn (the last one again and again)."""
    rig = trading_rig(private=True, **settings)
    left = list(keys)

    def answer(send: Send) -> tuple[int, Any]:
        if send.method == "PUT":
            return 200, {"listenKey": KEY}
        return 200, {"listenKey": left.pop(0) if len(left) > 1 else left[0]}

    rig.answers["/fapi/v1/listenKey"] = answer
    return rig


class TestEndpoints:
    def test_an_unknown_environment_is_refused_and_never_the_real_exchange(self) -> None:
        with pytest.raises(ValueError, match="no environment"):
            endpoints("main")

    def test_the_three_routes_of_each_environment(self) -> None:
        real = endpoints("mainnet")
        assert (real.public, real.market) == ("wss://fstream.binance.com/public", "wss://fstream.binance.com/market")
        assert [form.form for form in real.private] == ["query", "path"]
        test = endpoints("testnet")
        assert test.rest == "https://demo-fapi.binance.com"
        assert [private_url(form, "k") for form in test.private] == [
            "wss://demo-fstream.binance.com/private/ws/k",
            "wss://demo-fstream.binance.com/private/ws?listenKey=k",
            "wss://stream.binancefuture.com/ws/k",
        ]

    def test_parts_can_be_replaced_one_by_one(self) -> None:
        ends = endpoints("testnet", market="wss://other/market/", private=("wss://p/{key}",))
        assert (ends.market, ends.private) == ("wss://other/market", (PrivateUrl("custom-1", "wss://p/{key}"),))
        with pytest.raises(ValueError, match="needs"):
            endpoints("testnet", private=("wss://p",))

    def test_stream_urls_have_no_trailing_slash_and_are_percent_encoded(self) -> None:
        assert stream_url("ws://h/public", ["btcusdt@depth@100ms", "币usdt@depth"]) == (
            "ws://h/public/stream?streams=btcusdt@depth@100ms/%E5%B8%81usdt@depth"
        )


class TestProof:
    def test_a_connection_is_up_with_its_first_data_frame_not_with_an_acknowledgement(self) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        rig.feed({"result": None, "id": 1})
        assert "stream.up" not in rig.subjects()
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        assert rig.last("stream.up").data == {"connection": "public", "url_form": "stream"}

    @pytest.mark.parametrize(("ms", "silent"), [(4_900, 0), (5_200, 1)])
    def test_a_mute_market_connection_is_noticed_within_its_deadline_and_the_route_is_named(
        self, ms: int, silent: int
    ) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        rig.wait(ms)
        found = [event for event in rig.events if event.subject == "stream.silent"]
        assert len(found) == silent
        if found:
            assert found[0].data["deadline_ms"] == 5_000
            assert "/market" in found[0].data["hint"]
            assert rig.last("stream.down").data["connection"] == "market"
            rig.wait(1_000)
            assert "market#2" in rig.open, "and it is connected anew"

    def test_a_mute_public_connection_is_named_and_replaced_once_rest_shows_movement(self) -> None:
        rig = trading_rig()
        moving = iter(range(100, 10_000, 10))
        rig.answers["/fapi/v1/depth"] = lambda send: (
            200, snapshot(last := next(moving), [["10", str(last)]], [["11", "1"]])
        )  # fmt: skip
        rig.start("BTCUSDT")
        for _ in range(9):
            rig.wait(1_000)
            rig.feed(mark("BTCUSDT"), "market")
        silent = [event for event in rig.events if event.subject == "stream.silent"]
        assert silent
        assert "/public" in silent[0].data["hint"]
        assert rig.last("stream.down").data["connection"] == "public"
        assert "public#2" in rig.open

    def test_a_quiet_public_connection_is_not_replaced(self) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(101, [["10", "1"]], [["11", "1"]]))
        for _ in range(60):
            rig.wait(1_000)
            rig.feed(mark("BTCUSDT"), "market")
        assert set(rig.open) == {"public", "market"}
        assert rig.book("BTCUSDT")["state"] == "live"
        assert rig.probes, "but its life is proven by pings"

    def test_a_connection_that_answers_no_ping_is_given_up(self) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        rig.answer_pings = False
        rig.wait(8_500)
        assert "no answer to a ping" in next(
            event.data["reason"]
            for event in rig.events
            if event.subject == "stream.down" and event.data["connection"] == "public"
        )
        assert rig.book("BTCUSDT")["state"] != "live"

    def test_the_first_message_of_one_mark_stream_missing_is_an_event_and_asked_for_again(self) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT", "ETHUSDT")
        for _ in range(8):
            rig.wait(1_000)
            rig.feed(mark("BTCUSDT"), "market")
        silent = [event.data["stream"] for event in rig.events if event.subject == "stream.silent"]
        assert silent.count("ethusdt@markPrice@1s") == 1
        assert "btcusdt@markPrice@1s" not in silent
        commands = [json.loads(frame.data) for frame in rig.frames_sent]
        assert ["ethusdt@markPrice@1s"] in [command["params"] for command in commands]
        assert rig.core.mark("BTCUSDT", rig.now) is not None
        assert rig.core.mark("ETHUSDT", rig.now) is None


class TestReconnect:
    def test_a_closed_connection_comes_back_with_growing_pauses_and_its_end_is_an_event(self) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        rig.refuse.add("public")
        rig.close("public")
        rig.wait(20_000)
        waits = [e.data["retry_ms"] for e in rig.events if e.subject == "stream.down" and "public" in str(e.data)]
        assert waits[:6] == [250, 500, 1_000, 2_000, 4_000, 8_000]
        rig.refuse.clear()
        rig.wait(40_000)
        assert any(conn.startswith("public") for conn in rig.open)

    def test_ends_of_connections_that_stood_make_no_long_pause_whatever_came_before(self) -> None:
        """Four closes within ten seconds, by the exchange's whim: the fifth must not leave us blind for 4 s."""
        rig = trading_rig()
        rig.start("BTCUSDT")
        for _ in range(6):
            rig.close(next(conn for conn in rig.open if conn.startswith("public")))
            rig.wait(2_000)
            assert any(conn.startswith("public") for conn in rig.open)
        waits = [e.data["retry_ms"] for e in rig.events if e.subject == "stream.down" and "public" in str(e.data)]
        assert waits == [250, 500, 1_000, 1_000, 1_000, 1_000]

    def test_reconnects_of_all_connections_share_a_budget_against_storms(self) -> None:
        rig = trading_rig(link=LinkSettings(backoff_max_ms=250, attempts_per_minute=10))
        rig.start("BTCUSDT")
        rig.refuse.update(("public", "market"))
        rig.close("public")
        rig.close("market")
        rig.wait(59_000)
        downs = rig.subjects().count("stream.down")
        assert downs <= 2 + 10 - 2, "two ends, and no more attempts than the budget in a minute"
        rig.wait(10_000)
        assert rig.subjects().count("stream.down") > downs, "it goes on when attempts leave the window"

    def test_frames_and_ends_of_a_connection_that_was_given_up_count_for_nothing(self) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        rig.do(rig.links.suspect(rig.now, "public", "test"))
        rig.feed(diff("BTCUSDT", 102, 105, 101, [], []), "public")
        assert rig.book("BTCUSDT")["state"] == "down"
        assert rig.links.on_stream(rig.now, StreamClosed("public", "late")) == []

    def test_more_streams_than_fit_a_url_are_subscribed_to_in_paced_commands(self) -> None:
        rig = trading_rig(link=LinkSettings(streams_in_url=1, streams_per_command=2, commands_per_second=4))
        rig.serve(*(f"S{n}USDT" for n in range(8)))
        rig.start(*(f"S{n}USDT" for n in range(8)))
        assert rig.open["public"].endswith("?streams=s0usdt@depth@100ms")
        rig.wait(1_000)
        public = [json.loads(frame.data) for frame in rig.frames_sent if frame.conn == "public"]
        assert [len(command["params"]) for command in public] == [2, 2, 2, 1]
        assert len({command["id"] for command in public}) == 4

    def test_a_symbol_wished_for_later_joins_the_open_connection(self) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        rig.do(rig.core.subscribe(rig.now, ("ETHUSDT",), ("1m",)))
        params = [json.loads(frame.data)["params"] for frame in rig.frames_sent]
        assert ["ethusdt@depth@100ms"] in params
        assert rig.open.keys() == {"public", "market"}

    def test_a_connection_that_ends_while_its_replacement_opens_is_taken_over_by_it(self) -> None:
        rig = trading_rig(link=LinkSettings(max_age_ms=2_000, max_age_jitter_ms=0))
        rig.start("BTCUSDT")
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        rig.hold = {"public"}
        for _ in range(25):
            rig.feed(mark("BTCUSDT"), "market" if "market" in rig.open else "market#2")
            rig.wait(100)
        assert rig.held == ["public#2"], "the replacement is on its way"
        rig.close("public")
        assert rig.book("BTCUSDT")["state"] == "down"
        rig.hold = set()
        rig.release("public#2")
        rig.feed(diff("BTCUSDT", 102, 103, 101, [], []), "public#2")
        rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(103, [["10", "1"]], [["11", "1"]]))
        for _ in range(15):
            rig.feed(mark("BTCUSDT"), "market" if "market" in rig.open else "market#2")
            rig.wait(100)
        rig.feed(diff("BTCUSDT", 104, 105, 103, [], []), "public#2")
        assert rig.book("BTCUSDT")["state"] == "live"
        assert [name for name in rig.open if name.startswith("public")] == ["public#2"], "and nothing else is opened"

    def test_what_is_wished_for_during_a_replacement_is_asked_for_on_both_connections(self) -> None:
        rig = trading_rig(link=LinkSettings(max_age_ms=2_000, max_age_jitter_ms=0, handover_ms=60_000))
        rig.start("BTCUSDT")
        rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
        for _ in range(25):
            rig.feed(mark("BTCUSDT"), "market")
            rig.wait(100)
        assert {"public", "public#2"} <= rig.open.keys()
        rig.do(rig.core.subscribe(rig.now, ("ETHUSDT",), ()))
        rig.wait(1_000)
        asked = {frame.conn for frame in rig.frames_sent if b"ethusdt@depth" in frame.data}
        assert asked == {"public", "public#2"}


class TestListenKey:
    def test_the_private_stream_opens_under_a_fresh_key_and_is_announced(self) -> None:
        rig = keyed_rig(KEY)
        rig.start("BTCUSDT")
        assert rig.open["private"] == f"ws://127.0.0.1:1/private/ws?listenKey={KEY}"
        assert PrivateUp("connected") in rig.signals
        post = rig.asked("/fapi/v1/listenKey")[0]
        assert (post.method, post.security, post.weight, post.lane) == ("POST", "key", 1, "lifeline")

    def test_no_log_line_or_event_ever_holds_the_key(self) -> None:
        rig = keyed_rig(KEY, OTHER)
        rig.start("BTCUSDT")
        rig.do(rig.links.on_signal(rig.now, KeyDoubt("mute")))
        rig.close("private#2", "gone")
        rig.wait(2_000)
        shown = repr(rig.reports) + repr(rig.events) + repr(rig.links.status(rig.now)) + repr(rig.signals)
        assert KEY not in shown
        assert OTHER not in shown

    def test_without_a_key_nothing_is_due_before_it_is_asked_for_again(self) -> None:
        rig = keyed_rig(KEY)
        rig.start("BTCUSDT")
        rig.answers["/fapi/v1/listenKey"] = lambda send: (503, b"<html>")
        rig.do(rig.links.on_signal(rig.now, KeyDoubt("mute")))
        rig.close("private", "gone")
        for _ in range(100):
            rig.wait(100)
            due_ns = rig.links.next_deadline_boot_ns()
            assert due_ns is None or due_ns > rig.now.boot_ns - 200_000_000, "a past deadline would spin the loop"
        rig.answers["/fapi/v1/listenKey"] = lambda send: (200, {"listenKey": OTHER})
        rig.wait(60_000, step_ms=500)
        assert any(OTHER in url for url in rig.open.values())

    def test_it_is_renewed_every_half_hour(self) -> None:
        rig = keyed_rig(KEY)
        rig.start("BTCUSDT")
        rig.wait(1_799_000, step_ms=10_000)
        assert [send.method for send in rig.asked("/fapi/v1/listenKey")] == ["POST"]
        rig.wait(20_000, step_ms=10_000)
        assert [send.method for send in rig.asked("/fapi/v1/listenKey")] == ["POST", "PUT"]

    def test_a_key_the_exchange_no_longer_knows_is_made_anew_and_the_stream_reconnects(self) -> None:
        rig = keyed_rig(KEY, OTHER)
        rig.start("BTCUSDT")
        good = rig.answers["/fapi/v1/listenKey"]
        rig.answers["/fapi/v1/listenKey"] = lambda send: (
            (400, {"code": -1125, "msg": "This listenKey does not exist."}) if send.method == "PUT" else good(send)
        )
        rig.signals.clear()
        rig.wait(1_810_000, step_ms=10_000)
        assert "-1125" in rig.last("listen_key.lost").data["reason"]
        assert next(url for conn, url in rig.open.items() if conn.startswith("private")).endswith(OTHER)
        private = [type(signal) for signal in rig.signals if isinstance(signal, PrivateDown | PrivateUp)]
        assert private == [PrivateDown, PrivateUp]

    def test_doubt_takes_a_new_key_and_the_other_form_of_the_url(self) -> None:
        rig = keyed_rig(KEY, OTHER)
        rig.start("BTCUSDT")
        rig.do(rig.links.on_signal(rig.now, KeyDoubt("REST shows an order the stream did not")))
        assert rig.open["private#2"] == f"ws://127.0.0.1:1/private/ws/{OTHER}"
        assert "private" not in rig.open

    def test_a_refused_handshake_tries_the_other_form_of_the_url(self) -> None:
        rig = keyed_rig(KEY)
        rig.refuse.add("private")
        rig.start("BTCUSDT")
        rig.refuse.clear()
        rig.wait(1_000)
        assert [url for conn, url in rig.open.items() if conn.startswith("private")] == [
            f"ws://127.0.0.1:1/private/ws/{KEY}"
        ]

    def test_renewals_that_fail_are_repeated_and_a_key_that_must_be_dead_is_replaced(self) -> None:
        rig = keyed_rig(KEY, OTHER)
        rig.start("BTCUSDT")
        good = rig.answers["/fapi/v1/listenKey"]
        rig.answers["/fapi/v1/listenKey"] = lambda send: (503, b"<html>") if send.method == "PUT" else good(send)
        rig.wait(3_400_000, step_ms=10_000)
        puts = [send for send in rig.asked("/fapi/v1/listenKey") if send.method == "PUT"]
        assert len(puts) > 10
        assert "failed for too long" in rig.last("listen_key.lost").data["reason"]

    @pytest.mark.parametrize(
        ("status", "body"),
        [(401, {"code": -2015, "msg": "Invalid API-key"}), (200, b"<html>"), (200, {"listenKey": "a b"}), (200, b"{")],
    )
    def test_an_answer_without_a_usable_key_is_reported_and_asked_again(self, status: int, body: Any) -> None:
        rig = trading_rig(private=True)
        rig.answers["/fapi/v1/listenKey"] = lambda send: (status, body)
        rig.start("BTCUSDT")
        assert "private" not in rig.open
        assert [report.event for report in rig.reports] == ["listen_key.failed"]
        rig.wait(5_000)
        assert len(rig.asked("/fapi/v1/listenKey")) >= 3


class TestClock:
    def rig(self, round_trips_ms: list[int], ahead_ms: int = 500) -> Rig:
        """Answers to time requests take these long; the exchange's clock is ahead of ours."""
        rig = Rig(link=LinkSettings(clock_samples=len(round_trips_ms)))
        rig.serve("BTCUSDT")
        rig.answers.pop("/fapi/v1/time")
        rig.start()
        for round_trip_ms in round_trips_ms:
            send = rig.asked("/fapi/v1/time")[-1]
            rig.wait(round_trip_ms / 2, step_ms=round_trip_ms)
            body = {"serverTime": rig.now.wall_ms + ahead_ms}
            rig.wait(round_trip_ms / 2, step_ms=round_trip_ms)
            rig.reply(send, 200, body)
        return rig

    def test_the_sample_with_the_smallest_round_trip_counts_and_the_clock_is_never_ahead(self) -> None:
        rig = self.rig([80, 10, 300])
        real_ms = rig.now.wall_ms + 500
        assert real_ms - 15 <= rig.core.server_ms(rig.now) <= real_ms
        offset_ms = rig.links.clock.offset_ms(rig.now)
        assert offset_ms is not None
        assert abs(offset_ms - 500) < 2

    def test_before_the_first_answer_it_is_not_known(self) -> None:
        rig = Rig()
        rig.answers.pop("/fapi/v1/time")
        rig.start()
        assert not rig.core.clock_known()
        assert rig.core.server_ms(rig.now) == rig.now.wall_ms

    def test_it_is_measured_again_after_a_refused_timestamp_and_every_five_minutes(self) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        asked = len(rig.asked("/fapi/v1/time"))
        rig.do(rig.links.on_signal(rig.now, ClockSuspect("-1021")))
        assert len(rig.asked("/fapi/v1/time")) == 2 * asked
        rig.wait(301_000, step_ms=1_000)
        assert len(rig.asked("/fapi/v1/time")) == 3 * asked

    @pytest.mark.parametrize("body", [b"<html>", b"{", {"serverTime": "x"}, {"serverTime": 5}, {}])
    def test_an_answer_that_cannot_be_used_keeps_what_was_known(self, body: Any) -> None:
        rig = trading_rig()
        rig.start("BTCUSDT")
        known = rig.links.clock.offset_ms(rig.now)
        rig.answers["/fapi/v1/time"] = lambda send: (200, body)
        rig.do(rig.links.on_signal(rig.now, ClockSuspect("-1021")))
        assert rig.links.clock.offset_ms(rig.now) == known
        assert "clock.no_answer" in [report.event for report in rig.reports]


def test_a_link_part_that_stops_closes_everything_and_opens_nothing_more() -> None:
    rig = keyed_rig(KEY)
    rig.start("BTCUSDT")
    rig.do(rig.links.shutdown(rig.now))
    assert rig.open == {}
    rig.wait(10_000)
    assert rig.open == {}


def test_the_listener_hears_of_both_market_families() -> None:
    heard: list[tuple[str, bool]] = []
    rig = trading_rig()
    links: Links = rig.links

    def listener(now: Any, family: str, up: bool, reason: str) -> Any:
        heard.append((family, up))
        return []

    links.listen(listener)
    rig.do(links.want(rig.now, "public", ["a@depth@100ms"]))
    rig.close("public")
    assert heard == [("public", True), ("public", False)]
    assert links.on_stream(rig.now, StreamOpened("unknown")) == []
