"""simex: a simulated Binance USDⓈ-M exchange over real HTTP and WebSocket."""

import argparse
import json
import sys
from pathlib import Path

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simex",
        description="A simulated Binance USDⓈ-M exchange. Prints one JSON line when ready; logs to stderr. "
        "Without --accounts there is one account, key and secret `simex`.",
    )
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0 takes a free one (default)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--seed", type=int, help="seed of market and dice; random and printed when absent")
    parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT", help="symbols of the seeded market, by comma")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="serve a recorded session instead of the market")
    parser.add_argument("--keep-times", action="store_true", help="replay: leave the recorded times as they are")
    parser.add_argument("--speed", default="1", metavar="X|max", help="replay: how much faster than recorded")
    parser.add_argument("--tls", action="store_true", help="serve https and wss with a throw-away authority")
    parser.add_argument("--accounts", type=Path, metavar="FILE", help="JSON list of accounts")
    parser.add_argument("--faults", metavar="JSON", help="faults to switch on at the start, as for POST /admin/faults")
    parser.add_argument("--retired-urls", action="store_true", help="also serve the unrouted /ws and /stream of before")
    parser.add_argument("--weight-limit", type=int, default=2400, help="request weight a minute and address")
    parser.add_argument("--ping-every", type=float, default=180.0, metavar="S", help="seconds between server pings")
    parser.add_argument("--life", type=float, default=86_400.0, metavar="S", help="seconds a connection may live")
    parser.add_argument(
        "--buffer-bytes",
        type=int,
        default=32 * 1024 * 1024,
        metavar="N",
        help="unsent bytes at which a slow reader is cut",
    )
    parser.add_argument("--listen-key-life", type=float, default=3_600.0, metavar="S", help="seconds of a listenKey")
    parser.add_argument(
        "--relay",
        action="store_true",
        help="show another exchange's public market and match orders on it; --symbols are those that can be traded",
    )
    parser.add_argument(
        "--upstream-rest",
        metavar="URL",
        help="relay: its REST (default https://fapi.binance.com); HTTPS_PROXY is heeded",
    )
    parser.add_argument("--upstream-ws", metavar="URL", help="relay: its streams (default wss://fstream.binance.com)")
    parser.add_argument("--upstream-ca", metavar="FILE", help="relay: certificate authority to trust there")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Console script. Exit codes: 0 ended cleanly, 1 could not start, 2 wrong usage."""
    args = _parser().parse_args(argv)
    from simex.server import cli
    from simex.server.settings import BadSettings

    try:
        settings = cli.settings_from(args)
    except BadSettings as error:
        print(f"simex: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        return cli.run(settings, lambda line: print(json.dumps(line), flush=True))
    except (OSError, ValueError) as error:
        print(f"simex: cannot start: {error}", file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
