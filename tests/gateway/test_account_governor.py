"""The rate governor: never above a limit for any arrivals, lanes that do not wait for lower ones, honest silence."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.effects import Send
from gateway.core.governor import QUEUE_CAPS, Governor
from gateway.core.inputs import Now
from gateway.core.market_data import RateLimit
from gateway.venues.binance import limits as venue

MS = 1_000_000
SECOND = 1_000_000_000
WALL = 1_795_132_800_000 * MS  # a whole minute
LIMITS = (RateLimit("orders", 10, 300), RateLimit("orders", 60, 1200), RateLimit("weight", 60, 2400))


def at(ms: int) -> Now:
    return Now(WALL + ms * MS, 5_000 * SECOND + ms * MS)


def send(lane: str, number: int = 0, *, weight: int = 1) -> Send:
    order = lane in ("close", "protection", "entry")
    return Send(
        (lane, number),
        "POST",
        "/x",
        orders=1 if order else 0,
        weight=0 if order else weight,
        lane=lane,  # type: ignore[arg-type]
    )


lanes = st.sampled_from(("cancel", "close", "protection", "entry", "lifeline", "reconcile", "data"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(lanes, st.integers(1, 60), st.integers(1, 60), st.integers(0, 3000)), min_size=5, max_size=60),
    st.integers(2, 40),
    st.integers(40, 120),
)
def test_no_window_ever_holds_more_than_its_limit(
    bursts: list[tuple[str, int, int, int]], ten_s: int, minute: int
) -> None:
    """Any window, wherever it begins; entries within 90 % of ORDERS and 30 at once; data within 70 % of the weight."""
    governor = Governor(venue)
    governor.set_limits((RateLimit("orders", 10, ten_s), RateLimit("orders", 60, minute), RateLimit("weight", 60, 200)))
    left: list[tuple[int, Send]] = []
    now_ms = 0
    for lane, count, weight, pause_ms in bursts:
        for _ in range(count):
            left += [(now_ms, out) for out in governor.admit(at(now_ms), send(lane, weight=weight))]
        for _ in range(1 + pause_ms // 500):
            now_ms += min(pause_ms, 500)
            left += [(now_ms, out) for out in governor.release(at(now_ms))]
    for start, _ in left:
        for size_ms, limit in ((10_000, ten_s), (60_000, minute)):
            window = [out for when, out in left if start <= when < start + size_ms]
            assert sum(out.orders for out in window) <= limit
        minute_window = [out for when, out in left if start <= when < start + 60_000]
        assert sum(out.weight for out in minute_window) <= 200
        burst = [out for when, out in left if start <= when < start + 1_000 and out.lane == "entry"]
        assert len(burst) <= 30 + 25
    entries = [(when, out) for when, out in left if out.lane == "entry"]
    for when, _ in entries:
        before = [out for other, out in left if when - 10_000 < other <= when]
        last = max(index for index, (other, out) in enumerate(left) if other == when and out.lane == "entry")
        used = sum(out.orders for other, out in left[: last + 1] if when - 10_000 < other)
        assert used <= ten_s * 90 // 100, before


def test_closes_never_wait_behind_entries() -> None:
    """However many entries wait, the tenth that is kept for closes is free at once."""
    governor = Governor(venue)
    governor.set_limits(LIMITS)
    passed = 0
    for ms in range(0, 20_000, 100):
        for number in range(20):
            passed += len(governor.admit(at(ms), send("entry", number)))
        governor.take_refused()
        if ms == 19_900:
            for number in range(30):
                assert governor.admit(at(ms), send("close", number)) == [send("close", number)], number
    assert passed > 0
    assert governor.wait_ms(at(19_900), "entry") > 0


def test_cancels_never_wait_for_orders_or_data() -> None:
    governor = Governor(venue)
    governor.set_limits(LIMITS)
    for number in range(2_000):
        governor.admit(at(0), send("data", number, weight=5))
        governor.admit(at(0), send("entry", number))
        governor.admit(at(0), send("close", number))
    body = b'{"code":-1015,"msg":"Too many new orders; current limit is 300 orders per 10 SECOND."}'
    assert governor.on_limit(at(0), 429, {}, body) is not None
    for number in range(100):
        assert governor.admit(at(0), send("cancel", number)) == [send("cancel", number)]
    assert governor.wait_ms(at(0), "cancel") == 0


def test_entries_leave_30_at_once_then_25_a_second() -> None:
    governor = Governor(venue)
    governor.set_limits(LIMITS)
    first = [out for number in range(100) for out in governor.admit(at(0), send("entry", number))]
    assert len(first) == 30
    per_second = [len(governor.release(at(ms))) for ms in range(40, 1_041, 40)]
    assert sum(per_second) == 26
    assert governor.budgets(at(1_040))["queued"]["entry"] == 100 - 30 - 26


def test_order_within_a_lane_is_kept_and_higher_lanes_go_first() -> None:
    governor = Governor(venue)
    governor.set_limits((RateLimit("orders", 10, 10), RateLimit("weight", 60, 100)))
    for number in range(9):
        governor.admit(at(0), send("entry", number))
    assert governor.admit(at(0), send("entry", 9)) == []
    governor.admit(at(0), send("close", 0))
    assert governor.admit(at(0), send("close", 1)) == []
    assert governor.admit(at(0), send("protection", 2)) == []
    out = governor.release(at(10_000))
    assert [item.key for item in out][:3] == [("close", 1), ("protection", 2), ("entry", 9)]


def test_a_window_frees_exactly_when_its_oldest_leaves_it() -> None:
    governor = Governor(venue)
    governor.set_limits((RateLimit("orders", 10, 10), RateLimit("weight", 60, 100)))
    for number in range(10):
        governor.admit(at(number * 100), send("close", number))
    assert governor.wait_ms(at(1_000), "close") == 9_000
    assert governor.admit(at(1_000), send("close", 99)) == []
    assert governor.next_deadline_boot_ns() == at(10_000).boot_ns
    assert governor.release(at(9_999)) == []
    assert governor.release(at(10_000)) == [send("close", 99)]
    assert governor.budgets(at(10_000))["orders_10s"]["used"] == 10
    assert governor.budgets(at(20_000))["orders_10s"]["used"] == 0


def test_a_light_request_does_not_overtake_a_heavy_one_of_its_lane() -> None:
    governor = Governor(venue)
    governor.set_limits((RateLimit("orders", 10, 10), RateLimit("weight", 60, 100)))
    assert governor.admit(at(0), send("data", 1, weight=60)) != []
    assert governor.admit(at(0), send("data", 2, weight=20)) == []
    assert governor.admit(at(0), send("data", 3, weight=1)) == []
    assert governor.admit(at(0), send("reconcile", 4, weight=1)) == [send("reconcile", 4, weight=1)]
    assert [item.key for item in governor.release(at(60_000))] == [("data", 2), ("data", 3)]


def test_a_full_queue_gives_the_newcomer_back_and_drops_nothing() -> None:
    governor = Governor(venue)
    governor.set_limits((RateLimit("orders", 10, 1), RateLimit("weight", 60, 100)))
    governor.admit(at(0), send("close", 0))
    for number in range(1, QUEUE_CAPS["close"] + 1):
        assert governor.admit(at(0), send("close", number)) == []
    assert governor.take_refused() == []
    assert governor.admit(at(0), send("close", 9_999)) == []
    assert governor.take_refused() == [send("close", 9_999)]
    assert governor.take_refused() == []
    assert governor.budgets(at(0))["queued"]["close"] == QUEUE_CAPS["close"]


def test_a_waiting_ticket_can_be_taken_out_once() -> None:
    governor = Governor(venue)
    governor.set_limits((RateLimit("orders", 10, 10), RateLimit("weight", 60, 100)))
    for number in range(10):
        governor.admit(at(0), send("entry", number))
    assert governor.queued(("entry", 9))
    assert governor.remove(("entry", 9))
    assert not governor.remove(("entry", 9))
    assert not governor.queued(("entry", 9))
    assert not governor.remove(("entry", 0)), "it left"
    assert governor.release(at(60_000)) == []


@pytest.mark.parametrize(
    ("status", "headers", "body", "silent_ms", "orders_ms"),
    [
        (429, {}, b'{"code":-1003,"msg":"Too many requests; current limit is 2400 requests per minute."}', 40_250, 0),
        (429, {"retry-after": "7"}, b"{}", 7_250, 0),
        (429, {}, b"<html>slow down</html>", 40_250, 0),
        (418, {}, b"", 120_000, 0),
        (418, {"retry-after": "180"}, b"", 180_250, 0),
        (418, {}, b'{"code":-1003,"msg":"Way too many requests; IP banned until 1795132900000. Please"}', 80_250, 0),
        (403, {}, b'{"code":-1003,"msg":"banned until 1795132900000"}', 80_250, 0),
        (418, {}, b'{"code":-1003,"msg":"IP banned until 9999999999999."}', 120_000, 0),
        (429, {}, b'{"code":-1015,"msg":"Too many new orders; current limit is 300 orders per 10 SECOND."}', 0, 10_250),
        (
            400,
            {},
            b'{"code": -1015,"msg":"Too many new orders; current limit is 1200 orders per 1 MINUTE."}',
            0,
            40_250,
        ),
        (400, {}, b'{"code":-1015,"msg":"?"}', 0, 10_250),
        (200, {}, b'{"code":-1015}', 0, 0),
        (503, {}, b"Service Unavailable.", 0, 0),
    ],
)
def test_what_the_exchange_says_silences_exactly_what_it_must(
    status: int, headers: dict[str, str], body: bytes, silent_ms: int, orders_ms: int
) -> None:
    governor = Governor(venue)
    governor.set_limits(LIMITS)
    now = at(20_000)
    said = governor.on_limit(now, status, headers, body)
    assert (said is not None) == (silent_ms + orders_ms > 0)
    for lane in ("cancel", "data", "reconcile", "lifeline"):
        assert governor.wait_ms(now, lane) == silent_ms
    for lane in ("close", "protection", "entry"):
        assert governor.wait_ms(now, lane) == max(silent_ms, orders_ms)
    end = max(silent_ms, orders_ms)
    if end:
        assert governor.admit(now, send("close", 1)) == []
        assert governor.release(at(20_000 + end - 1)) == []
        assert governor.release(at(20_000 + end)) == [send("close", 1)]


def test_a_shorter_silence_does_not_end_a_longer_one() -> None:
    governor = Governor(venue)
    governor.on_limit(at(0), 418, {"retry-after": "600"}, b"")
    governor.on_limit(at(10), 429, {"retry-after": "1"}, b"")
    assert governor.wait_ms(at(10), "cancel") > 599_000


def test_what_others_use_is_counted_from_the_headers() -> None:
    governor = Governor(venue)
    governor.set_limits(LIMITS)
    governor.on_headers(at(0), {"x-mbx-order-count-10s": "269", "x-mbx-used-weight-1m": "2390"})
    assert governor.admit(at(0), send("entry", 1)) == [send("entry", 1)]
    assert governor.admit(at(0), send("entry", 2)) == []
    assert governor.admit(at(0), send("close", 3)) == [send("close", 3)]
    assert governor.admit(at(0), send("data", 4)) == []
    assert governor.admit(at(0), send("cancel", 5)) == [send("cancel", 5)]
    assert governor.budgets(at(0))["orders_10s"] == {"used": 271, "limit": 300}
    assert {item.key for item in governor.release(at(10_000))} == {("entry", 2)}
    assert {item.key for item in governor.release(at(60_000))} == {("data", 4)}


def test_a_header_that_counts_only_ours_adds_nothing() -> None:
    governor = Governor(venue)
    governor.set_limits(LIMITS)
    for number in range(20):
        governor.admit(at(0), send("entry", number))
    governor.on_headers(at(5), {"x-mbx-order-count-10s": "20"})
    assert governor.budgets(at(5))["orders_10s"]["used"] == 20
    governor.on_headers(at(6), {"x-mbx-order-count-10s": "rubbish", "x-mbx-used-weight-1m": "-4"})
    assert governor.budgets(at(6))["orders_10s"]["used"] == 20


def test_new_limits_keep_what_was_counted() -> None:
    governor = Governor(venue)
    governor.set_limits(LIMITS)
    for number in range(30):
        governor.admit(at(0), send("entry", number))
    governor.set_limits((RateLimit("orders", 10, 40), RateLimit("orders", 300, 100)))
    assert governor.budgets(at(1))["orders_10s"] == {"used": 30, "limit": 40}
    assert governor.budgets(at(1))["orders_300s"] == {"used": 30, "limit": 100}
    assert governor.budgets(at(1))["weight_60s"]["limit"] == 2400, "a pool that is not named stays"


def test_a_flood_drains_in_bounded_time(seed: int) -> None:
    """Nothing is forgotten: everything admitted leaves in the end, each once."""
    rng = random.Random(seed)
    governor = Governor(venue)
    governor.set_limits((RateLimit("orders", 10, 50), RateLimit("weight", 60, 300)))
    names = ("cancel", "close", "protection", "entry", "lifeline", "reconcile", "data")
    asked = [send(rng.choice(names), number) for number in range(400)]
    left = [out for item in asked for out in governor.admit(at(0), item)]
    assert governor.take_refused() == []
    for ms in range(100, 300_000, 100):
        left += governor.release(at(ms))
    assert sorted(item.key for item in left) == sorted(item.key for item in asked)
    assert governor.next_deadline_boot_ns() is None
