"""Silence is a fault (law 5): each family's deadlines fire behind their limit and not before it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.market_settings import LinkSettings
from gateway.core.signals import PrivateDown, PrivateUp
from tests.gateway.market_rig import START_WALL_NS, Rig, diff, exchange_info, snapshot
from tests.gateway.test_market_links import KEY, keyed_rig, mark, trading_rig

MINUTE_MS = 60_000


def kline(at_ms: int, open_ms: int, *, final: bool = False) -> dict[str, Any]:
    k = {
        "t": open_ms, "T": open_ms + MINUTE_MS - 1, "s": "BTCUSDT", "i": "1m", "o": "1", "h": "1", "l": "1", "c": "1",
        "v": "1", "n": 1, "x": final, "q": "1", "V": "1", "Q": "1",
    }  # fmt: skip
    return {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "E": at_ms, "s": "BTCUSDT", "k": k}}


def speaking() -> Rig:
    """Books, marks and the private stream of one symbol, all live."""
    rig = keyed_rig(KEY)
    rig.start("BTCUSDT")
    rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
    rig.feed(mark("BTCUSDT"), "market")
    return rig


def keep(rig: Rig, ms: int, *families: str) -> None:
    """Time passes while only these families speak."""
    for step in range(ms // 100):
        if "public" in families:
            at = rig.book("BTCUSDT")["u"]
            rig.feed(diff("BTCUSDT", at + 1, at + 1, at, [], []))
        if "market" in families and step % 10 == 0:
            rig.feed(mark("BTCUSDT", step + 2), "market")
        rig.wait(100)


@pytest.mark.parametrize(("ms", "fired"), [(4_900, False), (5_100, True)])
def test_public_first_message(ms: int, fired: bool) -> None:
    rig = trading_rig()
    rig.start("BTCUSDT")
    rig.feed(mark("BTCUSDT"), "market")
    keep(rig, ms, "market")
    assert (shown_silent(rig, "public") == ["btcusdt@depth@100ms"]) is fired


@pytest.mark.parametrize(("ms", "fired"), [(29_900, False), (30_200, True)])
def test_public_with_no_message_at_all_is_given_up_though_rest_says_the_market_is_quiet(ms: int, fired: bool) -> None:
    rig = trading_rig()
    rig.start("BTCUSDT")
    rig.feed(mark("BTCUSDT"), "market")
    keep(rig, ms, "market")
    assert ("stream.down" in rig.subjects()) is fired


@pytest.mark.parametrize(("ms", "fired"), [(4_900, False), (5_100, True)])
def test_market_first_message(ms: int, fired: bool) -> None:
    rig = trading_rig()
    rig.start("BTCUSDT")
    rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
    keep(rig, ms, "public")
    assert ("stream.down" in rig.subjects()) is fired
    assert (shown_silent(rig, "market") == ["btcusdt@markPrice@1s"]) is fired


@pytest.mark.parametrize(("ms", "fired"), [(4_900, False), (5_200, True)])
def test_mark_price_silence(ms: int, fired: bool) -> None:
    rig = speaking()
    keep(rig, ms, "public")
    assert (rig.core.mark("BTCUSDT", rig.now) is None) is fired
    assert ("stream.silent" in rig.subjects()) is fired


@pytest.mark.parametrize(("ms", "fired"), [(9_900, False), (10_100, True)])
def test_depth_silence_leads_to_a_comparison(ms: int, fired: bool) -> None:
    rig = speaking()
    before = len(rig.asked("/fapi/v1/depth"))
    keep(rig, ms, "market")
    assert (len(rig.asked("/fapi/v1/depth")) > before) is fired


@pytest.mark.parametrize(("ms", "fired"), [(2_400, False), (2_700, True)])
def test_a_bar_that_must_have_closed(ms: int, fired: bool) -> None:
    """Trades and bars may be silent; a bar that nobody closed is asked for, and the series is not live meanwhile."""
    open_ms = START_WALL_NS // 1_000_000
    rig = trading_rig()
    rig.answers["/fapi/v1/exchangeInfo"] = lambda send: (200, exchange_info("BTCUSDT"))
    rig.answers["/fapi/v1/klines"] = lambda send: (200, [row(open_ms - MINUTE_MS), row(open_ms)])
    rig.start("BTCUSDT", intervals=("1m",))
    rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
    rig.feed(kline(open_ms + 1, open_ms), "market")
    keep(rig, MINUTE_MS, "public", "market")
    asked = len(rig.asked("/fapi/v1/klines"))
    rig.answers["/fapi/v1/klines"] = lambda send: None
    keep(rig, ms, "public", "market")
    assert (len(rig.asked("/fapi/v1/klines")) > asked) is fired
    assert (rig.slice("bs:main:BTCUSDT:bar:1m")["state"] == "resync") is fired


def row(open_ms: int, trades: int = 1) -> list[Any]:
    return [open_ms, "1", "1", "1", "1", "1", open_ms + MINUTE_MS - 1, "1", trades, "1", "1", "0"]


@pytest.mark.parametrize(("ms", "asked", "ended"), [(2_900, 0, 0), (3_100, 1, 0), (7_900, 1, 0), (8_200, 1, 1)])
def test_a_market_connection_without_a_sign_of_life_is_asked_and_then_given_up(ms: int, asked: int, ended: int) -> None:
    rig = speaking()
    rig.answer_pings = False
    keep(rig, ms, "market")
    assert rig.probes.count("public") == asked
    down = [event for event in rig.events if event.subject == "stream.down"]
    assert len(down) == ended


@pytest.mark.parametrize(("ms", "asked", "ended"), [(14_900, 0, 0), (15_100, 1, 0), (19_900, 1, 0), (20_200, 1, 1)])
def test_the_private_connection_without_a_sign_of_life_is_asked_and_then_given_up(
    ms: int, asked: int, ended: int
) -> None:
    rig = speaking()
    rig.answer_pings = False
    keep(rig, ms, "public", "market")
    assert rig.probes.count("private") == asked
    assert sum(isinstance(signal, PrivateDown) for signal in rig.signals) == ended


@pytest.mark.parametrize(("ms", "fired"), [(15_000, False), (15_200, True)])
@pytest.mark.parametrize("family", ["public", "market", "private"])
def test_a_handshake_that_does_not_end(ms: int, fired: bool, family: str) -> None:
    rig = keyed_rig(KEY)
    rig.hold = {family}
    rig.start("BTCUSDT")
    rig.wait(ms)
    reasons = [
        event.data["reason"]
        for event in rig.events
        if event.subject == "stream.down" and event.data["connection"] == family
    ]
    assert (reasons == ["the handshake took too long"]) is fired


def test_a_quiet_account_is_no_dead_stream() -> None:
    """Two hours without an event: pings are answered, the key is renewed; nothing is replaced."""
    rig = keyed_rig(KEY, link=LinkSettings())
    rig.start()
    rig.wait(7_190_000, step_ms=1_000)
    assert [send.method for send in rig.asked("/fapi/v1/listenKey")] == ["POST", "PUT", "PUT", "PUT"]
    assert len(rig.probes) > 400
    moved = [type(signal) for signal in rig.signals if isinstance(signal, PrivateUp | PrivateDown)]
    assert moved == [PrivateUp]
    assert list(rig.open) == ["private"]


def test_a_stream_that_speaks_again_is_no_longer_shown_as_silent() -> None:
    rig = trading_rig()
    rig.start("BTCUSDT")
    rig.feed(mark("BTCUSDT"), "market")
    keep(rig, 5_500, "market")
    assert rig.links.status(rig.now)["public"]["route"] == "/public"
    rig.answers["/fapi/v1/depth"] = lambda send: (200, snapshot(100, [["10", "1"]], [["11", "1"]]))
    rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
    assert "silent" not in rig.links.status(rig.now)["public"]


def shown_silent(rig: Rig, family: str) -> list[str]:
    silent: list[str] = rig.links.status(rig.now)[family].get("silent", [])
    return silent


@pytest.mark.parametrize(("trades", "told", "fired"), [(5, False, True), (0, False, False), (5, True, False)])
def test_a_bar_stream_that_is_mute_while_its_bars_are_traded(trades: int, told: bool, fired: bool) -> None:
    """Marks keep the connection alive; only REST can show that bars are missing. Without trades the market is quiet."""
    open_ms = START_WALL_NS // 1_000_000
    rig = trading_rig()
    rig.answers["/fapi/v1/klines"] = lambda send: (200, [row(open_ms - MINUTE_MS), row(open_ms)])
    rig.start("BTCUSDT", intervals=("1m",))
    rig.feed(diff("BTCUSDT", 99, 101, 98, [], []))
    later = open_ms + MINUTE_MS  # the bar that begins with the connection may have begun before it
    rig.answers["/fapi/v1/klines"] = lambda send: (
        200, [row(at, trades) for at in range(open_ms - MINUTE_MS, rig.now.wall_ms, MINUTE_MS)]
    )  # fmt: skip
    for minute in range(3):
        if told:
            rig.feed(kline(later + minute * MINUTE_MS - 10, later + (minute - 1) * MINUTE_MS), "market")
        keep(rig, MINUTE_MS, "public", "market")
    keep(rig, 5_000, "public", "market")
    found = [event.data for event in rig.events if event.subject == "stream.silent"]
    assert bool(found) is fired
    commands = [frame.data for frame in rig.frames_sent if b"kline_1m" in frame.data]
    assert bool(commands) is fired, "it is asked for again"
    if fired:
        assert (found[0]["stream"], found[0]["route"], found[0]["deadline_ms"]) == (
            "btcusdt@kline_1m",
            "market",
            62_500,
        )
