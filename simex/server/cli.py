"""From command-line flags to a running process: settings, signals, TLS, the ready line."""

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from aiohttp.http_exceptions import HttpProcessingError

from simex.server.app import start
from simex.server.chaos.certificates import Certificates
from simex.server.chaos.draw import plan
from simex.server.flags import settings_from
from simex.server.settings import Settings

log = logging.getLogger("simex")
Announce = Callable[[dict[str, object]], None]
__all__ = ["planned", "run", "settings_from"]


def planned(settings: Settings, seconds: float) -> list[dict[str, Any]]:
    """What --chaos-seed would do in that time. ValueError without a seed."""
    if settings.chaos_drawn is None:
        raise ValueError("--chaos-plan: goes with --chaos-seed")
    return plan(settings.chaos_drawn, seconds)


def run(settings: Settings, announce: Announce) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiohttp.server").addFilter(_in_one_line)
    return uvloop.run(_serve(settings, announce))


def _in_one_line(record: logging.LogRecord) -> bool:
    """What is no HTTP is the sender's fault and was answered with 400: one line, no traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        reason = " ".join(str(error.message).split())[:200]
        record.msg, record.args = "not a request (https on a plain port?): %s", (reason,)
        record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
    return True


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
        if settings.chaos_drawn is not None:
            ready["chaos_seed"] = settings.chaos_drawn.seed
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
