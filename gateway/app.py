"""The composition root: settings, journal and lock, the core, the shells around it, the loop, the orderly end.

Reading order: `gateway.core.gateway` decides, `gateway.shell.engine` drives it, this file ties both to the world.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import random
import secrets
import signal
import ssl
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import uvloop

from gateway.core.assembly import RootSettings, Shown
from gateway.core.build import CoreSettings, build
from gateway.core.client_ids import ALPHABET, TAG_LENGTH
from gateway.core.effects import Connect, Disconnect, Probe, Send, SendFrame
from gateway.core.gateway import Gateway
from gateway.core.inputs import ClientClosed, ClientOpened, Now, Shutdown
from gateway.core.rights import Rights
from gateway.core.sessions import SessionSettings
from gateway.settings import Plan, plan
from gateway.shell import alarm
from gateway.shell.engine import Engine
from gateway.shell.histogram import Latencies
from gateway.shell.journal import Journal, JournalError
from gateway.shell.journal_log import LoggedJournal
from gateway.shell.journal_pruning import Pruner
from gateway.shell.journal_upkeep import Upkeep
from gateway.shell.locks import AlreadyRunning, JournalLock
from gateway.shell.order_transport import OrderTransport
from gateway.shell.publisher import Publisher
from gateway.shell.redis_store import RedisStore
from gateway.shell.rest import Rest
from gateway.shell.streams import Streams
from gateway.shell.watchdog import Vitals, Watchdog
from gateway.venues.adapter import RequestSigner
from ipc import logs, paths
from ipc.clock import boot_id, boot_ns, wall_ns
from ipc.config import Config
from ipc.faults import ConfigError, Fault
from ipc.notify import Notifier
from ipc.server import Server, SocketBusy
from ipc.settings import LogSettings, RedisSettings

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
CLOSE_WITHIN_S = 10.0  # connections, Redis and the journal, after the core has let go
HOUSEKEEPING_S = 1.0
IDLE_NS = 50_000_000


def run(config: Config, account: str, symbols: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """Serve until a signal. Raises ConfigError; returns the exit code of design section 10."""
    told = plan(config, account, symbols)
    context = trusted(told, config.source)
    keys = config.keys(account)
    signer = told.adapter.signer(keys.api_key.get_secret_value(), keys.api_secret.get_secret_value())
    state_dir, run_dir = paths.state_dir(config, environ), paths.run_dir(config, environ)
    socket_path = paths.socket_path(run_dir, account)
    log_settings = config.section("log", LogSettings)
    log = logs.setup("gateway", log_settings, secrets=config.secret_values(), folder=state_dir)
    redis = config.section("redis", RedisSettings)
    watchdog = _watchdog(told, Notifier.of(environ, os.getpid()))
    for warning in config.warnings:
        log.warning(warning)
    journal_path = state_dir / f"{account}.journal.sqlite"
    try:
        lock = JournalLock(journal_path)
    except AlreadyRunning as error:
        log.error("cannot start", reason=str(error))
        return EXIT_USAGE
    except OSError as error:
        log.error("cannot start", reason=f"{error}; the state folder must be this user's and writable")
        return EXIT_FAILED
    try:
        journal = LoggedJournal(journal_path, told.gateway.durability)
        if journal.dropped:
            log.warning(
                "records behind a hole in the journal's log are gone, as after a loss of power", n=journal.dropped
            )
        return uvloop.run(_Process(told, signer, journal, socket_path, redis, context, watchdog, log).serve())
    except SocketBusy as error:
        log.error("cannot start", reason=str(error))
        return EXIT_USAGE
    except JournalError as error:
        log.error("cannot start", reason=str(error))
        return EXIT_FAILED
    except OSError as error:
        log.error("cannot go on", reason=f"{error}; check {run_dir} and {state_dir}: owner, mode, room")
        return EXIT_FAILED
    finally:
        lock.release()


def _watchdog(told: Plan, notifier: Notifier) -> Watchdog:
    if notifier.watchdog_s is not None:
        faulthandler.enable()  # what the manager ends with SIGABRT says where it stood
    links = told.gateway.links
    return Watchdog(
        notifier,
        stream_deadline_ms=links.private_probe_after_ms + links.probe_answer_ms,
        stop_within_s=told.gateway.stop_within_ms / 1000 + CLOSE_WITHIN_S,
    )


def trusted(told: Plan, source: str) -> ssl.SSLContext | None:
    """The authority of `venue.ca_file`; None: those of the machine. Raises ConfigError."""
    if told.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=os.fspath(told.ca_file))
    except OSError as error:  # ssl.SSLError too
        what = f"{told.ca_file} cannot be used ({error.strerror or error})"
        raise ConfigError(
            [Fault("venue.ca_file", what, "Name a readable PEM file with the authority")], source
        ) from None


class _Process:
    """Everything that lives as long as the process. Implements `engine.Shells` and `ipc.server.Handler`."""

    def __init__(
        self,
        told: Plan,
        signer: RequestSigner,
        journal: Journal,
        socket_path: Path,
        redis: RedisSettings,
        context: ssl.SSLContext | None,
        watchdog: Watchdog,
        log: Any,
    ) -> None:
        self._told = told
        self._context = context
        self._signer = signer
        self._journal = journal
        self._socket_path = socket_path
        self._redis = redis
        self._watchdog = watchdog
        self._log = log
        self._epoch = _new_epoch()
        self._latencies = Latencies()
        self._upkeep = Upkeep(journal.path)
        self._pruner = Pruner(
            journal.path, keep_days=told.gateway.keep_days, keep_events=told.gateway.keep_events
        )  # fmt: skip
        self._leaving: asyncio.Event = asyncio.Event()
        self._exit_code = EXIT_OK
        self._status_ns = boot_ns()
        self._core = self._build()
        self._publisher = Publisher(
            told.account,
            begin_write=self._core.begin_write,
            render=lambda key: self._engine.render(key),
            all_keys=self._core.keys,
            refused=self._refused,
            observe=self._latencies.observe,
        )
        self._engine = Engine(self._core, journal, self._publisher, self, log, self._latencies)
        self.line = self._engine.line  # bound, not wrapped: it is called for every line
        self._store: RedisStore | None = None

    def _build(self) -> Gateway:
        told, gateway = self._told, self._told.gateway
        rights = Rights(os.getuid(), [one.grant() for one in told.account_settings.rights])
        flatten_after_ms = None if gateway.flatten_after_ms == "keep" else gateway.flatten_after_ms
        settings = CoreSettings(
            root=RootSettings(
                account=told.account,
                environment=told.environment,
                version=_version(),
                pid=os.getpid(),
                symbols=told.symbols,
                intervals=told.account_settings.intervals,
                stop_within_ms=gateway.stop_within_ms,
            ),
            sessions=SessionSettings(
                account=told.account,
                environment=told.environment,
                lease_ms=gateway.lease_ms,
                flatten_after_ms=flatten_after_ms,
                max_unanswered=gateway.max_unanswered,
            ),
            market=gateway.market,
            links=gateway.links,
            orders=told.order_settings(),
            wish=told.account_settings.wish(),
            endpoints=told.endpoints,
            rights=rights,
        )
        return build(
            settings,
            told.adapter.venue,
            self._journal.restore(),
            Now(wall_ns(), boot_ns()),
            epoch=self._epoch,
            boot=boot_id(),
            new_tag="".join(secrets.choice(ALPHABET) for _ in range(TAG_LENGTH)),
            draw=random.random,
        )

    async def serve(self) -> int:
        told = self._told
        self._server = Server(self._socket_path, self)
        await self._server.start()
        context = self._context
        rest_url, dial = told.endpoints.rest, told.venue.dialler()
        self._orders = OrderTransport(
            rest_url, self._signer, self._engine.feed, told.adapter.ping_path, ssl_context=context, dial=dial,
            warm=told.gateway.warm_connections, most=told.gateway.order_connections,
            silent=lambda: self._core.silent(Now(wall_ns(), boot_ns())),
        )  # fmt: skip
        self._rest = Rest(rest_url, self._signer, self._engine.feed, ssl_context=context, dial=dial)
        self._streams = Streams(self._engine.feed, ssl_context=context, dial=dial)
        if self._redis.url is not None:
            self._store = RedisStore(
                self._redis.url, told.account, self._journal, self._publisher, self._engine.feed,
                connect_timeout_s=self._redis.connect_timeout_ms / 1000,
            )  # fmt: skip
            self._store.start()
        else:
            self._log.warning("no redis.url: slices and events stay in the gateway; brains cannot read them")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._engine.feed, Shutdown(number.name))
        self._orders.start()
        self._log.info(
            "started", account=told.account, environment=told.environment, epoch=self._epoch, symbols=list(told.symbols)
        )
        self._engine.start()
        gc.collect()
        gc.freeze()  # what lives as long as the process is never looked at again
        keeper = loop.create_task(self._housekeeping())
        keeper.add_done_callback(self._kept)
        await self._leaving.wait()
        keeper.cancel()
        await self._close()
        return self._exit_code

    async def _close(self) -> None:
        """Answers leave first, then Redis gets the last events, then connections end, the journal last."""
        self._engine.stop()
        await self._server.close()
        if self._store is not None:
            await self._store.close()
        await self._streams.close()
        await self._orders.close()
        await self._rest.close()
        await self._upkeep.stop()
        self._journal.close()

    # -- engine.Shells -------------------------------------------------------------------------------------------

    def order(self, send: Send) -> bool:
        return self._orders.send(send)

    def rest(self, send: Send) -> None:
        self._rest.send(send)

    def connect(self, effect: Connect) -> None:
        self._streams.connect(effect)

    def disconnect(self, effect: Disconnect) -> None:
        self._streams.disconnect(effect)

    def send_frame(self, effect: SendFrame) -> None:
        self._streams.send(effect)

    def probe(self, effect: Probe) -> None:
        self._streams.probe(effect)

    def answer(self, client: int, line: bytes) -> None:
        self._server.send(client, line)

    def hang_up(self, client: int, reason: str) -> None:
        self._server.hang_up(client, reason)

    def ready(self) -> None:
        line = {"ready": True, "account": self._told.account, "epoch": self._epoch, "socket": str(self._socket_path)}
        try:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        except OSError as error:  # whoever started us does not listen any more
            self._log.warning("the ready line could not be written", error=str(error))
        self._watchdog.ready(boot_ns())
        self._log.info("ready", socket=str(self._socket_path))

    def leave(self, code: int, reason: str) -> None:
        self._exit_code = code
        (self._log.info if code == EXIT_OK else self._log.error)("leaving", code=code, reason=reason)
        self._watchdog.stopping()
        self._leaving.set()

    # -- ipc.server.Handler --------------------------------------------------------------------------------------

    def opened(self, client: int, uid: int, pid: int) -> None:
        self._engine.feed(ClientOpened(client, uid, pid))

    def closed(self, client: int, reason: str, process_gone: bool) -> None:
        self._engine.feed(ClientClosed(client, process_gone))

    # -- housekeeping --------------------------------------------------------------------------------------------

    def _refused(self, reason: str) -> None:
        if self._store is not None:
            self._store.refused(reason)

    async def _housekeeping(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._publisher.set_symbols(len(self._core.symbols()))
            self._core.health.shown = Shown(self._latencies.summaries(), self._counters())
            self._watchdog.look(self._vitals(Now(wall_ns(), boot_ns())))
            idle = boot_ns() - self._engine.order_boot_ns > IDLE_NS
            self._upkeep.look(idle=idle, now_s=loop.time())
            self._pruner.look(idle=idle, now_ns=wall_ns(), boot_ns=boot_ns())
            for part, what in ((self._upkeep, "a checkpoint of the journal"), (self._pruner, "a step of its pruning")):
                if part.last_error:
                    self._log.warning(f"{what} failed", error=part.last_error)
                    part.last_error = ""
            if boot_ns() - self._status_ns >= self._told.gateway.status_line_s * 1e9:
                self._status_ns = boot_ns()
                self._status_line()
            await alarm.sleep(HOUSEKEEPING_S)

    def _vitals(self, now: Now) -> Vitals:
        health = self._core.health
        return Vitals(
            now.boot_ns,
            ready=health.ready(),
            stopping=health.stopping,
            steps=self._engine.steps,
            slices_ns=self._publisher.full_boot_ns,
            stream_age_ms=health.private_age_ms(now),
            silent=self._core.silent(now),
        )

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        """Without housekeeping the journal's log would grow unseen: its end is the process's end."""
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            self._log.error("a fault in the housekeeping", exc_info=error)
            self.leave(EXIT_FAILED, "the housekeeping ended; the journal is the truth")

    def _counters(self) -> dict[str, int]:
        held = self._orders.status()
        return {
            "steps": self._engine.steps,
            "slice_writes": self._publisher.writes,
            "slice_writes_put_off": self._publisher.skipped,
            "store_connections": self._store.connections if self._store is not None else 0,
            "journal_wal_bytes": self._upkeep.wal_bytes(),
            "journal_checkpoints": self._upkeep.done,
            "journal_checkpoints_forced": self._upkeep.forced,
            "journal_rows_in_log": self._journal.behind,
            "journal_rows_held": self._engine.backlog(),
            "journal_rows_pruned": self._pruner.pruned,
            "connections_refused": self._server.refused,
            **{f"order_connections_{name}": count for name, count in held.items()},
        }

    def _status_line(self) -> None:
        fields = self._core.health.line(Now(wall_ns(), boot_ns()))
        hops = {hop: row["p99"] for hop, row in self._core.health.shown.latency_us.items()}
        self._log.info("status", **fields, p99_us=hops)


def _new_epoch() -> str:
    """Unique, and ordered by time: milliseconds and 50 random bits, in the alphabet of ULIDs."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = (wall_ns() // 1_000_000) << 50 | secrets.randbits(50)
    return "".join(alphabet[(number >> shift) & 31] for shift in range(95, -5, -5))


def _version() -> str:
    try:
        return version("brainstem")
    except PackageNotFoundError:
        return "0+source"


__all__ = ["ConfigError", "run"]
