"""simex: a simulated Binance USDⓈ-M exchange over real HTTP and WebSocket."""

import argparse
import json
import sys
from pathlib import Path

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

DESCRIPTION = """\
A simulated Binance USDⓈ-M futures exchange: REST, public, market and private streams and the WebSocket API on one
port, with the real one's paths, payloads, error codes, filters and limits. Point any client at it by its base URLs.

Prints one JSON line when it is ready, {"ready": true, "rest": "http://...", "ws": "ws://...", "seed": N}, and logs to
stderr. Without --accounts there is one account, API key and secret `simex`, with 10,000 USDT. SIGTERM ends it.
"""

EPILOG = """\
examples:
  simex --port 9000                                   BTCUSDT and ETHUSDT, market by a random seed
  simex --seed 7 --symbols BTCUSDT,SOLUSDT,XRPUSDT    the same market each time
  simex --replay session.gz --speed 10                a recorded session, ten times as fast
  simex --bars BTCUSDT-5m-2025-01.zip --clock-speed 60   last year's bars, an hour a minute
  simex --relay --symbols BTCUSDT                     the real public market; orders match on it here
  simex --clock-speed 60                              an hour a minute: bars, funding, good-till dates, everything
  simex --tls --host ::                               https and wss, IPv4 and IPv6; the ready line names the authority
  simex --state simex.json                            positions and orders outlive a restart
  simex --accounts accounts.json                      your own accounts, keys, balances and fees
  simex --chaos plan.json                             faults by the clock
  simex --chaos-seed 7 --chaos-level heavy            faults by seed, the same each time
  simex --chaos-seed 7 --chaos-plan 600               only print what that seed would do in ten minutes

clients:
  REST <rest>/fapi/v1/...; streams <ws>/public|market|private, each /ws and /stream; WebSocket API <ws>/ws-fapi/v1
  administration, from this machine only: <rest>/admin/state, /admin/chaos, /admin/faults, /admin/openapi.json, ...
  docs/simex.md shows the exact override of six clients, the accounts file, every fault and every limit.

exit codes: 0 ended cleanly, 1 could not start or the market failed, 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """All flags, in groups."""
    made = argparse.ArgumentParser(
        prog="simex",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _door_flags(made)
    _market_flags(made)
    _account_flags(made)
    _rule_flags(made)
    _chaos_flags(made)
    return made


def _door_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it listens")
    group.add_argument("--port", type=int, default=0, help="TCP port; 0 takes a free one (default)")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on, IPv4 or IPv6 (default 127.0.0.1)")
    group.add_argument("--tls", action="store_true", help="https and wss; an authority is made at the start")
    group.add_argument("--cert", type=Path, metavar="FILE", help="your own certificate chain instead (PEM, with --key)")
    group.add_argument("--key", type=Path, metavar="FILE", help="its private key (PEM)")
    group.add_argument(
        "--retired-urls", action="store_true", help="also serve /ws and /stream without a route, which carry books only"
    )
    group.add_argument(
        "--unrouted", action="store_true", help="carry everything there, as before 2026-04-23: for older clients"
    )


def _market_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where its prices come from")
    group.add_argument("--seed", type=int, help="seed of market and dice; random and printed when absent")
    group.add_argument("--symbols", default="BTCUSDT,ETHUSDT", help="symbols, by comma (default BTCUSDT,ETHUSDT)")
    group.add_argument(
        "--funding-hours", metavar="LIST", help="hours between fundings, by comma: SOLUSDT=4,XRPUSDT=1 (default 8 or 4)"
    )
    group.add_argument(
        "--replay", type=Path, metavar="FILE", help="serve a recorded session instead of the seeded market"
    )
    group.add_argument(
        "--bars",
        metavar="FILES",
        help="play historical bars (CSV, .gz, .zip, klines JSON; funding rates too), by comma; SYMBOL=FILE if need be",
    )
    group.add_argument("--bars-from", metavar="TIME", help="bars: where to begin (default: a third of the way in)")
    group.add_argument("--keep-times", action="store_true", help="replay, bars: leave the times as they are")
    group.add_argument("--speed", default="1", metavar="X|max", help="replay: how much faster than recorded")
    group.add_argument(
        "--relay",
        action="store_true",
        help="show another exchange's public market and match orders on it; --symbols are those that can be traded",
    )
    group.add_argument(
        "--upstream-rest",
        metavar="URL",
        help="relay: its REST (default https://fapi.binance.com); HTTPS_PROXY is heeded",
    )
    group.add_argument("--upstream-ws", metavar="URL", help="relay: its streams (default wss://fstream.binance.com)")
    group.add_argument("--upstream-ca", metavar="FILE", help="relay: certificate authority to trust there")
    group.add_argument(
        "--clock-speed",
        type=float,
        default=1.0,
        metavar="X",
        help="X seconds pass here in one of yours: hours in minutes",
    )
    group.add_argument("--clock-start", metavar="TIME", help="what the clock says at the start, 2026-11-20T07:59:00")


def _account_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who trades")
    group.add_argument(
        "--tape",
        type=Path,
        metavar="FILE",
        help="append what is true there, for those who check a client: each book as told, by update id, and each"
        " private event before any fault meets it (JSON lines)",
    )
    group.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="keep orders, positions, wallets and settings there, and go on from them after a restart",
    )
    group.add_argument(
        "--accounts",
        type=Path,
        metavar="FILE",
        help='JSON list: [{"name": "main", "api_key": "k", "api_secret": "s", "balances": {"USDT": "10000"}, '
        '"hedge": false, "leverage": 20, "margin_type": "CROSSED", "public_keys": {"k2": "-----BEGIN PUBLIC..."}}]',
    )


def _rule_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("its limits")
    group.add_argument(
        "--rule",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what the protocol's sources leave open, chosen otherwise; docs/simex.md lists the names",
    )
    group.add_argument(
        "--countdown-cancels-algos",
        action="store_true",
        help="the dead man's switch removes conditional orders too (short for --rule countdown-cancels-algos=true)",
    )
    group.add_argument("--weight-limit", type=int, default=2400, metavar="N", help="weight a minute and address")
    group.add_argument("--order-limit-10s", type=int, default=300, metavar="N", help="orders in 10 s of an account")
    group.add_argument("--order-limit-1m", type=int, default=1200, metavar="N", help="orders in a minute of an account")
    group.add_argument(
        "--connect-limit", type=int, default=300, metavar="N", help="WebSocket connections in 5 minutes of an address"
    )
    group.add_argument("--ping-every", type=float, default=180.0, metavar="S", help="seconds between server pings")
    group.add_argument(
        "--pong-within", type=float, default=600.0, metavar="S", help="seconds until a pong must be here"
    )
    group.add_argument("--life", type=float, default=86_400.0, metavar="S", help="seconds a connection may live")
    group.add_argument(
        "--buffer-bytes",
        type=int,
        default=32 * 1024 * 1024,
        metavar="N",
        help="unsent bytes at which a slow reader is cut",
    )
    group.add_argument("--listen-key-life", type=float, default=3_600.0, metavar="S", help="seconds of a listenKey")


def _chaos_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what goes wrong")
    group.add_argument("--faults", metavar="JSON", help="faults to switch on at the start, as for POST /admin/faults")
    group.add_argument(
        "--chaos",
        type=Path,
        metavar="FILE",
        help='faults by the clock: [{"at_s": 5, "fault": "half_open", "route": "public", "for_s": 3}, '
        '{"every_s": 60, "times": 10, "fault": "cut_all"}]',
    )
    group.add_argument("--chaos-seed", type=int, metavar="N", help="draw faults from every family by this seed")
    group.add_argument(
        "--chaos-level", default="medium", help="light, medium or heavy: one every 30, 10 or 3 s on average"
    )
    group.add_argument(
        "--chaos-families", metavar="LIST", help="only these, by comma: stream,user,socket,http,door,..."
    )
    group.add_argument("--chaos-plan", type=float, metavar="S", help="print the seed's faults of S seconds, and end")


def main(argv: list[str] | None = None) -> int:
    """Console script. Exit codes: 0 ended cleanly, 1 could not start, 2 wrong usage."""
    args = parser().parse_args(argv)
    from simex.core.codec import BadState
    from simex.server import cli
    from simex.server.settings import BadSettings

    try:
        settings = cli.settings_from(args)
        if args.chaos_plan is not None:
            for row in cli.planned(settings, args.chaos_plan):
                print(json.dumps(row))
            return EXIT_OK
    except BadSettings as error:
        print(f"simex: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        return cli.run(settings, lambda line: print(json.dumps(line), flush=True))
    except BadState as error:
        print(f"simex: --state: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (OSError, ValueError) as error:
        print(f"simex: cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
