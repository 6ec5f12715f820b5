"""The market core takes any exchange that fits its port: one of other names, paths and wire forms."""

from __future__ import annotations

from ipc import keys
from tests.gateway.market_rig import ACCOUNT, Rig
from tests.gateway.second_venue import SecondVenue

SYMBOL = "AAA-BBB"


def second_rig() -> Rig:
    rig = Rig(venue=SecondVenue(), private=True)
    rig.answers = {
        "/clock": lambda send: (200, b"%d" % rig.now.wall_ms),
        "/listing": lambda send: (200, b"AAA-BBB 0.1\nBAD x"),
        f"/books/{SYMBOL}": lambda send: (200, b"100|10.1x3,10.0x1|10.2x2"),
        "/session": lambda send: (200, b"key-of-the-session"),
    }
    return rig


def test_a_book_of_another_exchange_goes_live_is_resynced_after_a_gap_and_shown_as_sent() -> None:
    rig = second_rig()
    rig.start(SYMBOL)
    assert [url.partition("#")[2] for url in rig.open.values() if "#" in url] == [f"BOOK {SYMBOL}", f"MARK {SYMBOL}"]
    assert any("key-of-the-session" in url for url in rig.open.values())
    rig.wait(2_000)
    rig.feed(f"BOOK {SYMBOL}|99|99|101|5|10.1x4|".encode())
    shown = rig.book(SYMBOL)
    assert (shown["state"], shown["u"], shown["event_ms"]) == ("live", 101, 5)
    assert (shown["bids"], shown["asks"]) == ([["10.1", "4"], ["10.0", "1"]], [["10.2", "2"]])
    rig.answers[f"/books/{SYMBOL}"] = lambda send: (200, b"205|10.0x9|10.2x2")
    rig.feed(f"BOOK {SYMBOL}|200|201|202|6|10.0x7|".encode())
    assert rig.last("book.gap").data["expected_pu"] == 101
    rig.feed(f"BOOK {SYMBOL}|202|203|206|7||10.2x0,10.3x1".encode())
    rig.wait(1_000)
    shown = rig.book(SYMBOL)
    assert (shown["state"], shown["u"], shown["bids"], shown["asks"]) == ("live", 206, [["10.0", "9"]], [["10.3", "1"]])


def test_marks_instruments_and_bad_frames_of_another_exchange() -> None:
    rig = second_rig()
    rig.start(SYMBOL, "BAD", "NONE")
    rig.feed(f"MARK {SYMBOL}|7|10.15".encode(), "market")
    assert rig.slice(keys.mark(ACCOUNT, SYMBOL))["mark"] == "10.15"
    assert rig.slice(keys.instrument(ACCOUNT, SYMBOL))["tick"] == "0.1"
    assert "tick x" in (rig.core.down_reason("BAD") or "")
    assert "no symbol NONE" in (rig.core.down_reason("NONE") or "")
    rig.feed(f"BOOK {SYMBOL}|what".encode())
    assert rig.core.counters()["frame.bad_line"] == 1


def test_nothing_is_asked_in_the_words_of_an_exchange_the_core_was_not_given() -> None:
    rig = second_rig()
    rig.start(SYMBOL, intervals=("1m",))
    rig.wait(2_000_000, step_ms=1_000)  # long enough for renewals, time and information to be asked again
    assert {send.path for send in rig.sends} == {
        "/clock", "/listing", "/session", f"/books/{SYMBOL}", f"/bars/{SYMBOL}/1m",
    }  # fmt: skip
