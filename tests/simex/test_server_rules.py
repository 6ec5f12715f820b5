"""The server's pure rules: signatures, time, parameters, limits, keys, stream names, URLs, faults."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simex.core.api import AccountSpec
from simex.market.recording import shifted
from simex.market.scale import Scale, fixed, units_of
from simex.market.survey import Grid
from simex.server.faults import Faults
from simex.server.limits import Limits, LimitSettings
from simex.server.listen_keys import LIFE_MS, ListenKeys
from simex.server.params import merge, split_pairs
from simex.server.refusals import Refused
from simex.server.security import Keyring, check_time
from simex.server.sockets import Address, Wanted, parse_address
from simex.server.streams import parse_stream

KEY = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
AT_MS = 1591702613943
RING = Keyring([AccountSpec("main", KEY, SECRET)])
ORDER = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
HEAD, TAIL = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC",
    "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943",
)
CHINESE = "symbol=%E6%B5%8B%E8%AF%95USDT&side=BUY&type=MARKET&quantity=1&timestamp=1760000007980"
BATCH = (
    "batchOrders=%5B%7B%22symbol%22%3A%22BTCUSDT%22%2C%22side%22%3A%22BUY%22%2C%22type%22%3A%22LIMIT%22%2C%22quantity%22"
    "%3A%220.010%22%2C%22price%22%3A%229000.0%22%2C%22timeInForce%22%3A%22GTX%22%2C%22newClientOrderId%22%3A%22a1-0001"
    "%22%7D%5D&recvWindow=5000&timestamp=1591702613943"
)


def refused(code: int, status: int = 400) -> pytest.RaisesExc[Refused]:
    return pytest.RaisesExc(Refused, check=lambda error: (error.code, error.status) == (code, status))


def verify(query: str, body: str, at_ms: int = AT_MS, api_key: str | None = KEY) -> str:
    return RING.verify(at_ms, api_key, query, body, merge(query, body))


@pytest.mark.parametrize(
    ("query", "body", "at_ms"),
    [
        (f"{ORDER}&signature=3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9", "", AT_MS),
        ("", f"{ORDER}&signature=3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9", AT_MS),
        (HEAD, f"{TAIL}&signature=30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4", AT_MS),
        (f"{HEAD}&signature=30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4", TAIL, AT_MS),
        (f"{CHINESE}&signature=F5A675ACF0ED2365094143F2921DF08B17BA837118E5E06178DEFA1B39D60116", "", 1760000007980),
        (f"{BATCH}&signature=26a3218690ce762931b5364345fe7ab6e2cbccc5c263c4f16629f50c53203353", "", AT_MS),
    ],
    ids=["documented, in the query", "in the body", "query and body", "signature in the query", "Chinese", "batch"],
)
def test_the_published_signatures_are_accepted(query: str, body: str, at_ms: int) -> None:
    assert verify(query, body, at_ms) == "main"


@given(st.integers(0, len(ORDER) - 1), st.sampled_from("0129abzXYZ"))
def test_one_changed_character_is_refused(place: int, new: str) -> None:
    text = ORDER[:place] + new + ORDER[place + 1 :]
    if text == ORDER:
        return
    with pytest.raises(Refused) as caught:
        verify(f"{text}&signature=3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9", "")
    assert caught.value.code in (-1022, -1021, -1100, -1101, -1102, -1105, -1131)


def test_each_thing_wrong_with_a_signed_request_has_its_own_code() -> None:
    good = f"{ORDER}&signature=3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    with refused(-2014, 401):
        verify(good, "", api_key=None)
    with refused(-2014, 401):
        verify(good, "", api_key="a key")
    with refused(-2015, 401):
        verify(good, "", api_key="f" * 64)
    with refused(-1102):
        verify(ORDER, "")
    with refused(-1102):
        verify("symbol=BTCUSDT&signature=00", "")
    with refused(-1022):
        verify(f"{ORDER}&signature=00é", "")


@pytest.mark.parametrize(
    ("offset_ms", "window", "code"),
    [(999, None, 0), (1000, None, -1021), (-5000, None, 0), (-5001, None, -1021), (-60_000, "60000", 0),
     (-60_001, "60000", -1021), (0, "60001", -1131), (-1, "0", -1021), (0, "0", 0)],
)  # fmt: skip
def test_the_time_rule_has_sharp_edges(offset_ms: int, window: str | None, code: int) -> None:
    params = {"timestamp": str(AT_MS + offset_ms)} | ({"recvWindow": window} if window else {})
    if code:
        with refused(code):
            check_time(AT_MS, params)
    else:
        check_time(AT_MS, params)


def test_parameters_are_taken_from_query_and_body_and_the_query_wins() -> None:
    assert merge("a=1&b=%5B2%5D", "b=3&c=x+y") == {"a": "1", "b": "[2]", "c": "x y"}
    with refused(-1101):
        split_pairs("a=1&a=2")
    with refused(-1105):
        split_pairs("a=1&orderId=")


def test_a_secret_never_shows() -> None:
    assert SECRET not in repr(AccountSpec("main", KEY, SECRET))
    assert SECRET not in repr(RING)


def test_weight_ends_at_the_limit_and_begins_anew_with_the_minute() -> None:
    limits = Limits(LimitSettings(weight_1m=100))
    limits.charge(60_000, "a", 100)
    with refused(-1003, 429):
        limits.charge(119_999, "a", 1)
    limits.charge(119_999, "b", 100)
    limits.charge(120_000, "a", 100)
    assert limits.used_weight(120_000, "a") == 100


def test_who_goes_on_after_429_is_banned_longer_each_time() -> None:
    limits = Limits(LimitSettings(weight_1m=10, refusals_before_ban=3, first_ban_ms=120_000))
    limits.charge(0, "a", 10)
    for _ in range(3):
        with refused(-1003, 429):
            limits.charge(1, "a", 1)
    with pytest.raises(Refused) as caught:
        limits.charge(2, "a", 1)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (418, "120")
    assert "banned until 120002" in caught.value.message
    with refused(-1003, 418):
        limits.charge(120_001, "a", 0)
    limits.charge(120_002, "a", 10)
    for _ in range(3):
        with refused(-1003, 429):
            limits.charge(120_003, "a", 1)
    with pytest.raises(Refused) as caught:
        limits.charge(120_004, "a", 1)
    assert caught.value.headers["Retry-After"] == "240"


def test_orders_are_counted_per_account_in_both_windows() -> None:
    limits = Limits(LimitSettings(orders_10s=3, orders_1m=5))
    for count in (1, 2, 3):
        limits.check_orders(0, "a")
        assert limits.count_orders(0, "a", 1) == (count, count)
    with refused(-1015, 429):
        limits.check_orders(9_999, "a")
    limits.check_orders(9_999, "b")
    limits.check_orders(10_000, "a")
    assert limits.count_orders(10_000, "a", 2) == (2, 5)
    with refused(-1015, 429):
        limits.check_orders(20_000, "a")


def test_a_listen_key_is_shared_extended_and_ends() -> None:
    names = iter("xyz")
    keys = ListenKeys(lambda account: account + next(names))
    with refused(-1125):
        keys.extend(0, "a")
    assert keys.create(0, "a") == keys.create(10, "a") == "ax"
    assert keys.expired(LIFE_MS + 9) == []
    assert keys.extend(LIFE_MS + 9, "a") == "ax"
    assert keys.expired(2 * LIFE_MS + 8) == []
    assert keys.expired(2 * LIFE_MS + 9) == ["ax"]
    assert keys.key_of("a") is None
    assert keys.create(0, "a") == "ay"
    assert keys.close("a") == "ay"
    assert keys.close("a") is None


@pytest.mark.parametrize(
    ("name", "kind", "route", "every_ms"),
    [
        ("btcusdt@depth", "depth", "public", 250), ("btcusdt@depth@0ms", "depth", "public", 0),
        ("btcusdt@depth@500ms", "depth", "public", 500), ("btcusdt@depth20@100ms", "partialDepth", "public", 100),
        ("btcusdt@bookTicker", "bookTicker", "public", 0), ("btcusdt@aggTrade", "aggTrade", "market", 0),
        ("btcusdt@kline_1M", "kline", "market", 250), ("btcusdt@markPrice@1s", "markPrice", "market", 1000),
        ("btcusdt_perpetual@continuousKline_1m", "continuousKline", "market", 250),
        ("!ticker@arr", "allTicker", "market", 1000), ("!forceOrder@arr", "allForceOrder", "market", 1000),
    ],
)  # fmt: skip
def test_stream_names_are_understood(name: str, kind: str, route: str, every_ms: int) -> None:
    stream = parse_stream(name)
    assert stream is not None
    assert (stream.kind, stream.route, stream.every_ms) == (kind, route, every_ms)


@pytest.mark.parametrize(
    "name", ["BTCUSDT@depth", "btcusdt@depth@200ms", "btcusdt@depth7", "btcusdt", "x@kline_7m", "@"]
)
def test_other_names_are_no_streams(name: str) -> None:
    assert parse_stream(name) is None


def test_socket_urls_mean_route_mode_and_names() -> None:
    depth: Wanted = [("btcusdt@depth", None), ("ethusdt@depth", None)]
    assert parse_address("/public/ws/btcusdt@depth/ethusdt@depth", "") == Address("public", False, depth)
    assert parse_address("/market/stream", "streams=btcusdt@depth/ethusdt@depth") == Address("market", True, depth)
    assert parse_address("/public/ws/3", "") == Address("public", False, [])
    assert parse_address("/private/ws/KEY", "") == Address("private", False, [("KEY", None)])
    two = "listenKey=K1&events=A/B&listenKey=K2"
    allowed = [("K1", frozenset({"A", "B"})), ("K2", None)]
    assert parse_address("/private/stream", two) == Address("private", True, allowed)
    assert parse_address("/ws/btcusdt@depth", "") == Address("legacy", False, [("btcusdt@depth", None)])
    for path, query in (("/public/ws/", ""), ("/public", ""), ("/other/ws", ""), ("/ws", "btcusdt@depth"), ("/", "")):
        assert parse_address(path, query) is None, path


@given(st.integers(-(10**12), 10**12), st.integers(0, 8))
def test_fixed_text_and_units_are_inverse(units: int, decimals: int) -> None:
    assert units_of(fixed(units, decimals), decimals) == units


def test_numbers_between_two_ticks_are_refused() -> None:
    scale = Scale(2, 10, 3, 1)
    assert scale.ticks("91250.10") == 912501
    assert scale.price(912501) == "91250.10"
    for text in ("91250.15", "1e3", "", "--1", "1.2.3", "nan"):
        with pytest.raises(ValueError):
            scale.ticks(text)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.integers(0, 5))
def test_a_grid_divides_every_number_it_has_seen(numbers: list[int], decimals: int) -> None:
    grid = Grid()
    for number in numbers:
        grid.add(fixed(number, decimals))
    assert all((number * grid.step.scaleb(0)).is_finite() for number in numbers)
    for number in numbers:
        quotient = (grid.step * 0 + number).scaleb(-decimals) / grid.step
        assert quotient == quotient.to_integral_value()


def test_only_event_and_transaction_times_move() -> None:
    text = b'{"e":"trade","E":1723161256322,"T": 1723161256322,"s":"BTCUSDT","t":5266583935,"p":"1723161256322"}'
    moved = b'{"e":"trade","E":1723161256323,"T": 1723161256323,"s":"BTCUSDT","t":5266583935,"p":"1723161256322"}'
    assert shifted(text, 1) == moved
    assert shifted(text, 0) is text


def test_depth_faults_choose_their_messages() -> None:
    faults = Faults(Random(1))
    faults.add(0, {"fault": "depth_drop", "symbol": "BTCUSDT", "nth": 3})
    actions = [faults.depth_action(0, "BTCUSDT")[0] for _ in range(7)]
    assert actions == ["pass", "pass", "drop", "pass", "pass", "pass", "pass"]
    faults.add(0, {"fault": "depth_delay", "delay_ms": 70, "count": 2})
    found = [faults.depth_action(0, "ETHUSDT") for _ in range(3)]
    assert [(action, fields.get("delay_ms")) for action, fields in found] == [("delay", 70)] * 2 + [("pass", None)]
    faults.add(0, {"fault": "depth_duplicate", "for_s": 1})
    assert faults.depth_action(999, "BTCUSDT")[0] == "duplicate"
    assert faults.depth_action(1000, "BTCUSDT")[0] == "pass"
    assert faults.listing(1000) == []


def test_a_share_is_about_that_share_and_repeatable_by_seed() -> None:
    def struck(seed: int) -> list[str]:
        faults = Faults(Random(seed))
        faults.add(0, {"fault": "depth_drop", "share": 0.2})
        return [faults.depth_action(0, "BTCUSDT")[0] for _ in range(2000)]

    assert struck(5) == struck(5)
    assert 300 < struck(5).count("drop") < 500


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({}, "unknown fault"), ({"fault": "nope"}, "unknown fault 'nope'"), ({"fault": "depth_drop", "x": 1}, "x"),
        ({"fault": "depth_drop", "nth": 0}, "nth"), ({"fault": "depth_drop", "nth": 1, "share": 0.5}, "exclude"),
        ({"fault": "depth_drop", "share": 1.5}, "share"), ({"fault": "reply_delay"}, "delay_ms"),
        ({"fault": "reply_error", "variant": "x"}, "variant"), ({"fault": "reply_lost", "when": "later"}, "when"),
        ({"fault": "silent", "for_s": -1}, "for_s"), ({"fault": "silent", "count": True}, "count"),
    ],
)  # fmt: skip
def test_a_senseless_fault_is_refused_by_the_field(spec: dict[str, object], names: str) -> None:
    faults = Faults(Random(1))
    with pytest.raises(ValueError, match=names):
        faults.add(0, spec)
    assert faults.listing(0) == []
