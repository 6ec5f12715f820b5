"""Faults by seed: an endless plan that draws from every family. The same seed and setting give the same plan. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from random import Random
from typing import Any

from simex.server.chaos.kinds import (
    DOOR,
    EXCHANGE,
    FAMILIES,
    FOREIGN,
    HTTP,
    KEYS,
    KINDS,
    SOCKET,
    STREAM,
    USER,
)
from simex.server.chaos.variants import ERROR_VARIANTS

ROUTES = ("public", "market", "private")
_TRANSIENT = ("503_unknown", "503_unavailable", "503_internal", "503_throttled", "408", "400_unexpected", "429",
              "200_html", "403_html", "502_html", "504_html")  # fmt: skip
_ORDER = {"path": "/fapi/v1/order", "method": "POST"}
assert set(_TRANSIENT) <= set(ERROR_VARIANTS)


@dataclass(frozen=True, slots=True)
class Level:
    """How rough: mean seconds between two faults, and how long one lasts."""

    gap_s: float
    short_s: float
    long_s: float


LEVELS = {"light": Level(30.0, 0.3, 3.0), "medium": Level(10.0, 0.5, 6.0), "heavy": Level(3.0, 0.5, 10.0)}


@dataclass(frozen=True)
class Setting:
    """What a plan is drawn from. `symbols` and `accounts` are those of the exchange, `tls` whether there is any."""

    seed: int
    level: str
    symbols: Sequence[str]
    accounts: Sequence[str]
    tls: bool = False
    families: Sequence[str] = FAMILIES

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"the level is one of {', '.join(LEVELS)}, not {self.level!r}")
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or not self.families:
            raise ValueError(f"families are {', '.join(FAMILIES)}, not {', '.join(map(repr, unknown)) or 'none'}")


def plan(setting: Setting, seconds: float) -> list[dict[str, Any]]:
    """The rows of the first seconds, as a schedule file has them."""
    return list(takewhile(lambda row: row["at_s"] <= seconds, rows(setting)))


def rows(setting: Setting) -> Iterator[dict[str, Any]]:
    """Rows without end, `at_s` rising."""
    dice = Random(f"{setting.seed}/chaos/{setting.level}")
    level = LEVELS[setting.level]
    at_s = 0.0
    while True:
        at_s = round(at_s + dice.uniform(0.3, 1.7) * level.gap_s, 1)
        family = dice.choice(list(setting.families))
        kind = dice.choice([name for name in _DRAWS[family] if setting.tls or not name.startswith("tls_")])
        for_s = round(dice.uniform(level.short_s, level.long_s), 1)
        yield {"at_s": at_s, "fault": kind, **_DRAWS[family][kind](dice, setting, for_s)}


Draw = Callable[[Random, Setting, float], dict[str, Any]]


def _symbol(dice: Random, setting: Setting) -> dict[str, Any]:
    return {"symbol": dice.choice(list(setting.symbols))}


def _account(dice: Random, setting: Setting) -> dict[str, Any]:
    return {"account": dice.choice(list(setting.accounts))}


def _route(dice: Random) -> dict[str, Any]:
    return {"route": dice.choice(ROUTES)}


def _depth(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return _symbol(dice, setting) | {"nth": dice.randint(1, 20)}


def _stream(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return {"route": dice.choice(ROUTES[:2]), "share": round(dice.uniform(0.05, 0.5), 2), "for_s": for_s}


def _user(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return _account(dice, setting) | {"share": round(dice.uniform(0.1, 1.0), 2), "for_s": max(for_s, 2.0)}


def _order(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return _ORDER | {"count": dice.randint(1, 3), "for_s": max(for_s, 5.0)}


def _timed(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return {"for_s": for_s}


def _routed(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return _route(dice) | {"for_s": for_s}


def _any_route(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return _route(dice)


def _once(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return {}


def _owned(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return _account(dice, setting)


def _with(draw: Draw, **more: Callable[[Random], Any]) -> Draw:
    """A draw with further fields."""
    return lambda dice, setting, for_s: draw(dice, setting, for_s) | {name: value(dice) for name, value in more.items()}


def _delay(dice: Random) -> int:
    return dice.randint(50, 3000)


def _when(dice: Random) -> str:
    return dice.choice(("before", "during", "after"))


def _moved(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    symbol = dice.choice(list(setting.symbols)).lower()
    return {"stream": f"{symbol}@{dice.choice(('depth*', 'aggTrade', 'kline*', 'markPrice*'))}", "for_s": for_s}


def _filters(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return _symbol(dice, setting) | {"min_notional": dice.choice(("100", "200")), "for_s": for_s}


def _foreign_order(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    more = {"side": dice.choice(("BUY", "SELL")), "quantity": "0.002", "away_bps": dice.randint(50, 300)}
    return _account(dice, setting) | _symbol(dice, setting) | more


def _foreign_on(dice: Random, setting: Setting, for_s: float) -> dict[str, Any]:
    return _account(dice, setting) | _symbol(dice, setting)


_DRAWS: dict[str, dict[str, Draw]] = {
    STREAM: {
        "depth_drop": _depth, "depth_duplicate": _depth, "depth_reorder": _depth,
        "depth_delay": _with(_depth, delay_ms=_delay), "depth_cut": _depth, "stream_drop": _stream,
        "stream_duplicate": _stream, "stream_reorder": _stream, "stream_delay": _with(_stream, delay_ms=_delay),
        "stream_cut": _stream, "silent": _routed, "moved": _moved,
    },
    USER: {
        "user_drop": _user, "user_duplicate": _user, "user_reorder": _user,
        "user_delay": _with(_user, delay_ms=_delay), "events_first": _with(_order, delay_ms=_delay),
        "replies_first": _with(_order, delay_ms=_delay),
    },
    SOCKET: {
        "close": _with(_any_route, code=lambda dice: dice.choice((1000, 1001, 1011, 1012))),
        "cut_all": _once, "frame_cut": _any_route, "half_open": _routed, "drip": _routed,
        "handshake_error": _with(_routed, status=lambda dice: dice.choice((403, 429, 502, 503))),
    },
    HTTP: {
        "reply_lost": _with(_order, when=_when),
        "reply_error": _with(_order, when=lambda dice: dice.choice(("before", "after")),
                             variant=lambda dice: dice.choice(_TRANSIENT)),
        "reply_body": _with(_order, body=lambda dice: dice.choice(("", "{", "[]", "null", "<html></html>"))),
        "reply_truncate": _order, "reply_drip": _order, "reply_delay": _with(_order, delay_ms=_delay),
    },
    DOOR: {
        "refuse": _timed, "tls_refuse": _timed,
        "tls_certificate": _with(_timed, variant=lambda dice: dice.choice(("untrusted", "wrong_host", "expired"))),
    },
    EXCHANGE: {
        "clock": _with(_timed, skew_ms=lambda dice: dice.choice((-1, 1)) * dice.randint(500, 5000)),
        "stale_info": _timed, "filters": _filters,
        "symbol_status": _with(
            lambda dice, setting, for_s: _symbol(dice, setting) | {"for_s": for_s},
            status=lambda dice: dice.choice(("BREAK", "SETTLING", "PENDING_TRADING")),
        ),
    },
    KEYS: {
        "listen_key_expire": _owned, "listen_key_delete": _owned, "listen_key_gone": _owned,
        "listen_key_mute": lambda dice, setting, for_s: _account(dice, setting) | {"for_s": for_s},
    },
    FOREIGN: {
        "foreign_order": _foreign_order,
        "foreign_cancel": _with(_foreign_on, which=lambda dice: dice.choice(("oldest", "newest"))),
        "foreign_leverage": _with(_foreign_on, leverage=lambda dice: dice.choice((3, 5, 10))),
        "foreign_margin_type": _with(_foreign_on, marginType=lambda dice: dice.choice(("ISOLATED", "CROSSED"))),
        "foreign_position_mode": _with(_owned, hedge=lambda dice: dice.choice((True, False))),
    },
}  # fmt: skip
assert all(kind in KINDS and KINDS[kind].family == family for family, draws in _DRAWS.items() for kind in draws)
