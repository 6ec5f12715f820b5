"""From command-line flags to a running process: settings, signals, TLS, the ready line."""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvloop

from simex.server.app import start
from simex.server.chaos.certificates import Certificates
from simex.server.connection import SocketSettings
from simex.server.limits import LimitSettings
from simex.server.settings import BadSettings, Settings, Upstream, default_accounts, read_accounts, read_faults

log = logging.getLogger("simex")
Announce = Callable[[dict[str, object]], None]


def settings_from(args: argparse.Namespace) -> Settings:
    """Checked settings. Raises BadSettings."""
    symbols = [symbol.strip().upper() for symbol in args.symbols.split(",") if symbol.strip()]
    if not symbols or len(set(symbols)) != len(symbols):
        raise BadSettings("--symbols: at least one symbol, each once")
    if not 0 <= args.port <= 65_535:
        raise BadSettings("--port: 0 to 65535")
    if args.replay is not None and not args.replay.is_file():
        raise BadSettings(f"--replay: no such file: {args.replay}")
    if min(args.ping_every, args.life, args.listen_key_life, args.weight_limit, args.buffer_bytes) <= 0:
        raise BadSettings("--ping-every, --life, --listen-key-life, --weight-limit and --buffer-bytes must be above 0")
    relay = _upstream(args)
    return Settings(
        seed=secrets.randbelow(2**31) if args.seed is None else args.seed,
        symbols=symbols,
        host=args.host,
        port=args.port,
        accounts=default_accounts() if args.accounts is None else read_accounts(args.accounts),
        relay=relay,
        replay=args.replay,
        keep_times=args.keep_times,
        speed=_speed(args.speed),
        tls=args.tls,
        retired_urls=args.retired_urls,
        faults=[] if args.faults is None else read_faults(args.faults),
        limits=LimitSettings(weight_1m=args.weight_limit),
        sockets=SocketSettings(ping_every_s=args.ping_every, life_s=args.life, buffer_bytes=args.buffer_bytes),
        listen_key_life_ms=int(args.listen_key_life * 1000),
    )


def _upstream(args: argparse.Namespace) -> Upstream | None:
    """The exchange to relay, or None."""
    given = [name for name in ("rest", "ws", "ca") if getattr(args, f"upstream_{name}") is not None]
    if not args.relay:
        if given:
            raise BadSettings(f"--upstream-{given[0]}: goes with --relay only")
        return None
    if args.replay is not None:
        raise BadSettings("--relay and --replay exclude each other")
    fields = {name: getattr(args, f"upstream_{name}") for name in given}
    for name, schemes in (("rest", ("http://", "https://")), ("ws", ("ws://", "wss://"))):
        if name in fields and not fields[name].startswith(schemes):
            raise BadSettings(f"--upstream-{name}: must begin with {' or '.join(schemes)}")
    if "ca" in fields and not Path(fields["ca"]).is_file():
        raise BadSettings(f"--upstream-ca: no such file: {fields['ca']}")
    return Upstream(**fields)


def _speed(text: str) -> float:
    """0 for "max"."""
    if text == "max":
        return 0.0
    try:
        speed = float(text)
    except ValueError as error:
        raise BadSettings(f"--speed: a number or max, not {text!r}") from error
    if not 0 < speed <= 10_000:
        raise BadSettings("--speed: above 0 and at most 10000, or max")
    return speed


def run(settings: Settings, announce: Announce) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return uvloop.run(_serve(settings, announce))


async def _serve(settings: Settings, announce: Announce) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="simex-") as folder:
        certificates = Certificates(settings.host, Path(folder), settings.certificate) if settings.tls else None
        simex = await start(settings, certificates)
        host = f"[{simex.host}]" if ":" in simex.host else simex.host
        secure = "s" if settings.tls else ""
        ready: dict[str, object] = {
            "ready": True,
            "rest": f"http{secure}://{host}:{simex.port}",
            "ws": f"ws{secure}://{host}:{simex.port}",
            "seed": settings.seed,
        }
        if certificates is not None and certificates.ca_file is not None:
            ready["ca"] = str(certificates.ca_file)
        announce(ready)
        log.info("listening on %s:%s, seed %s", simex.host, simex.port, settings.seed)
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([waiting, simex.task], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        failed = simex.task.done()  # a market that stands still must not look like an exchange
        await simex.stop()
    log.info("stopped")
    return 1 if failed else 0
