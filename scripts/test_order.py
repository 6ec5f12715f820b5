"""`test-order`: one far-away limit order through the whole path, then its cancel. Nothing is meant to fill.

The order rests 5 % away from the market on the losing side of nobody: a BUY below, a SELL above, rounded to the tick
away from the market, with the smallest quantity the exchange takes (or `--qty`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ipc import clock, keys
from ipc.client import Client
from ipc.config import Config
from ipc.errors import IpcError
from ipc.paths import redis_url
from ipc.slices import BookSlice, InstrumentSlice, decode, judge
from ipc.wire import Answer, IntentId, Place, Side
from scripts.asking import acting, amount, config_of, connect, guarded, parser, show, socket_of
from scripts.exits import DONE, FAILED, UNKNOWN

BRAIN = "test-order"
AWAY = Decimal("0.05")
_BOOK_AGE_NS = 1_000_000_000


class Wanted(NamedTuple):
    price: Decimal
    qty: Decimal


def main(argv: Sequence[str] | None = None) -> int:
    """Console script. Exit codes: 0 accepted and cancelled, 1 refused, 2 usage or config, 3 nobody there, 4 unknown."""
    made = parser("test-order", "Place one limit order 5 % away from the market and cancel it; print the round trip.")
    made.add_argument("--symbol", required=True)
    made.add_argument("--side", choices=("BUY", "SELL"), default="BUY")
    made.add_argument("--qty", type=amount, help="default: the smallest the exchange takes")
    made.add_argument("--dry-run", action="store_true", help="say what would be sent and send nothing")
    args = made.parse_args(argv)
    return guarded(lambda: _run(args))


def far_away(side: Side, best: Decimal, instrument: InstrumentSlice, qty: Decimal | None) -> Wanted:
    """Price rounded to the tick away from the market; quantity rounded up to the step, to both minima of the exchange.

    Pure. Raises ValueError where the quantity asked for is below a minimum or off the step.
    """
    tick, step = Decimal(instrument.tick), Decimal(instrument.step)
    if side == "BUY":
        price = (best * (1 - AWAY) / tick).to_integral_value(ROUND_FLOOR) * tick
    else:
        price = (best * (1 + AWAY) / tick).to_integral_value(ROUND_CEILING) * tick
    needed = max(Decimal(instrument.min_qty), Decimal(instrument.min_notional) / price)
    smallest = (needed / step).to_integral_value(ROUND_CEILING) * step
    if qty is None:
        return Wanted(price, smallest)
    if qty < smallest or qty % step != 0:
        raise ValueError(f"--qty {qty}: at {price} the exchange takes {smallest} or more, in steps of {step}")
    return Wanted(price, qty)


def _run(args: argparse.Namespace) -> int:
    config = config_of(args)
    symbol = args.symbol.upper()
    with connect(config, args.account) as client:  # first of all: is there a gateway?
        epoch = client.hello()["epoch"]
    book, instrument = _market(config, args.account, symbol, epoch)
    best = Decimal((book.bids if args.side == "BUY" else book.asks)[0][0])
    try:
        wanted = far_away(args.side, best, instrument, args.qty)
    except ValueError as error:
        print(error, file=sys.stderr)
        return FAILED
    run = f"r{clock.wall_ns() // 1_000_000}"
    place = Place(
        id=0, intent=IntentId(BRAIN, run, 1), symbol=symbol, side=args.side, type="LIMIT", qty=f"{wanted.qty:f}",
        price=f"{wanted.price:f}", tif="GTC", tag="test-order",
    )  # fmt: skip
    report: dict[str, Any] = {
        "intent": f"{BRAIN}/{run}/1", "symbol": symbol, "side": args.side, "qty": place.qty, "price": place.price,
        "market": str(best), "dry_run": args.dry_run,
    }  # fmt: skip
    code = DONE
    if not args.dry_run:
        code = _send(config, args.account, place, report)
    show(args, report, text)
    return code


def _send(config: Config, account: str, place: Place, report: dict[str, Any]) -> int:
    with Client.connect(socket_of(config, account)) as client:
        # it claims no symbol: a brain may be trading this one
        client.hello(brain=BRAIN, run=place.intent.run, strategy=BRAIN)
        started_ns = time.perf_counter_ns()
        placed = acting(lambda: client.place(place))
        report["place"] = _told(placed, started_ns)
        if placed.outcome == "rejected":
            return FAILED
        started_ns = time.perf_counter_ns()
        cancelled = acting(lambda: client.cancel(place.intent))
        report["cancel"] = _told(cancelled, started_ns)
    if "unknown" in (placed.outcome, cancelled.outcome):
        return UNKNOWN
    return DONE if cancelled.ok else FAILED


def _told(answer: Answer, started_ns: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "outcome": answer.outcome or ("accepted" if answer.ok else "rejected"),
        "round_trip_ms": round((time.perf_counter_ns() - started_ns) / 1e6, 3),
    }
    if answer.order is not None:
        told["client_order_id"] = answer.order.client_order_id
        told["order_id"] = answer.order.order_id
        told["state"] = answer.order.state
    if answer.error is not None:
        told["error"] = f"{answer.error.code}: {answer.error.message}"
    return told


def _market(config: Config, account: str, symbol: str, epoch: str) -> tuple[BookSlice, InstrumentSlice]:
    """The slices a brain would decide on. Raises IpcError where they are not fresh, or Redis is not there."""
    url = redis_url(config, os.environ)
    client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=1, socket_connect_timeout=1)
    try:
        raw = client.mget([keys.book(account, symbol), keys.instrument(account, symbol)])
    except (redis.RedisError, OSError) as error:
        raise IpcError("gateway.unreachable", f"Redis cannot be read ({error}); is the set-up running?") from None
    finally:
        client.close()
    if not isinstance(raw[0], bytes) or not isinstance(raw[1], bytes):
        raise IpcError("symbol.unknown", f"the gateway publishes no {symbol}: is it among the account's symbols?")
    book, instrument = decode(BookSlice, raw[0]), decode(InstrumentSlice, raw[1])
    now = clock.reader_now(clock.boot_id())
    for head, max_age_ns in ((book, _BOOK_AGE_NS), (instrument, None)):
        verdict = judge(head, now, epoch=epoch, max_age_ns=max_age_ns)
        if not verdict.ok:
            raise IpcError("risk.stale", f"{symbol} cannot be decided on: {verdict.reason} ({verdict.detail})")
    return book, instrument


def text(report: dict[str, Any]) -> str:
    lines = [
        f"{report['side']} {report['qty']} {report['symbol']} at {report['price']} (market {report['market']}), "
        f"intent {report['intent']}"
    ]
    if report["dry_run"]:
        return "\n".join([*lines, "dry run: nothing was sent"])
    for what in ("place", "cancel"):
        told = report.get(what)
        if told is not None:
            name = f" as {told['client_order_id']} ({told['state']})" if "client_order_id" in told else ""
            fault = f": {told['error']}" if "error" in told else ""
            lines.append(f"{what:<7} {told['outcome']}{name}{fault}, round trip {told['round_trip_ms']:.2f} ms")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
