"""One run of the demo: what it starts, watches, closes, and finds left at its end. Its options are `scripts.demo`'s."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from ipc.client import Client
from ipc.errors import IpcError
from ipc.wire import Risk
from scripts import demo_setup, flatten
from scripts.demo_summary import Outcome, wallet_of
from scripts.plan import Plan
from scripts.supervised import ProcessView
from scripts.supervisor import Supervisor
from scripts.top import watch
from scripts.view_model import Model, ProcessLine
from scripts.view_reader import Reader

FLATTEN_S = 20.0
SETTLE_S = 2.0
_POLL_S = 0.05


class Demo:
    """One run. `asked_to_end` says how often somebody has (Ctrl-C, a signal): once flattens and ends, twice does not
    wait for the flattening. `model` is the last picture."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        seed: int,
        asked_to_end: Callable[[], int],
        *,
        seconds: float | None,
        replays: bool,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._seconds = seconds
        pairs = [(brain.full_name, symbol) for brain in plan.brains for symbol in brain.symbols]
        self._reader = Reader(plan.redis_url, "main", plan.symbols, pairs)
        self._outcome = Outcome(seed=seed, ran_s=0.0)
        self._replays = replays
        self._asked_to_end = asked_to_end
        self._asked_exchange_s = 0.0
        self._started_s = time.monotonic() - _process_age_s()
        self._view_s = 0.0
        self._view_wall_ns = 0
        self.model: Model = self._reader.model

    def run(self) -> Outcome:
        supervisor = Supervisor(self._plan.specs, self._plan.log_dir)
        try:
            supervisor.launch()
            self._begin_view()
            with contextlib.suppress(OSError):  # the terminal or the pipe's reader has gone: nobody looks any more
                watch(lambda: self._picture(supervisor), lambda: self._over(supervisor))
            self._wind_down(supervisor)
        finally:
            supervisor.close()
            self._reader.close()
        self._outcome.ran_s = time.monotonic() - self._view_s
        self._outcome.left_processes = demo_setup.processes_of(self._folder, but=os.getpid())
        return self._outcome

    # -- while it runs -----------------------------------------------------------------------------------------

    def _begin_view(self) -> None:
        self._view_s = time.monotonic()
        self._view_wall_ns = time.time_ns()
        self._outcome.view_after_s = self._view_s - self._started_s

    def _picture(self, supervisor: Supervisor) -> Model:
        views = supervisor.view()
        processes = [_line(view, supervisor) for view in views]
        self._outcome.restarts = sum(view.restarts for view in views)
        title = f"Brainstem demo, seed {self._outcome.seed}"
        footer = (
            f"Ctrl-C flattens and ends.  Other tools: .venv/bin/brainstem status --config {self._folder}/config.json"
        )
        self.model = model = self._reader.read(processes, title=title, footer=footer)
        self._note(model)
        return model

    def _note(self, model: Model) -> None:
        outcome = self._outcome
        if outcome.wallet_start is None and model.gateway is not None and model.gateway.ready:
            outcome.wallet_start = wallet_of(model)
        if outcome.live_after_s is None and model.is_live:
            outcome.live_after_s = time.monotonic() - self._started_s
        if outcome.first_fill_after_s is None and model.tally.first_fill_ns is not None:
            outcome.first_fill_after_s = max(0.0, (model.tally.first_fill_ns - self._view_wall_ns) / 1e9)

    def _over(self, supervisor: Supervisor) -> bool:
        if self._asked_to_end():
            return True
        if self._seconds is not None and time.monotonic() - self._view_s >= self._seconds:
            return True
        views = supervisor.view()
        gone = [view for view in views if view.state in ("failed", "ended")]
        for view in gone:
            self._outcome.faults.append(str(supervisor.failure(view.name, view.reason or "has ended by itself")))
        return bool(gone) or self._recording_is_over(supervisor)

    def _recording_is_over(self, supervisor: Supervisor) -> bool:
        if not self._replays or time.monotonic() < self._asked_exchange_s + 1.0:
            return False
        self._asked_exchange_s = time.monotonic()
        try:
            return self._exchange(supervisor).get("market", {}).get("over") is True
        except (OSError, ValueError):
            return False  # it is starting, or ending: the next look tells

    @staticmethod
    def _exchange(supervisor: Supervisor) -> dict[str, Any]:
        """What the simulated exchange says of itself; {} where it is not up. Raises OSError, ValueError."""
        view = supervisor.of("simex")
        if view.state != "ready":
            return {}
        with urllib.request.urlopen(f"{view.ready['rest']}/admin/state", timeout=5) as reply:
            found: dict[str, Any] = json.load(reply)
        return found

    # -- the end -----------------------------------------------------------------------------------------------

    def _wind_down(self, supervisor: Supervisor) -> None:
        gateway = next(name for name in self._plan.names if name.startswith("gateway"))
        if supervisor.of(gateway).ready:
            _say("flattening ... (Ctrl-C again skips it)")
            try:
                self._flatten(self._asked_to_end())
            except IpcError as error:
                self._outcome.faults.append(f"flattening: {error.code}: {error.message}")
            deadline_s = time.monotonic() + SETTLE_S
            while not self._picture(supervisor).is_flat and time.monotonic() < deadline_s:  # Redis follows in 100 ms
                time.sleep(_POLL_S)
        else:
            self._outcome.flat = True  # nobody could have traded yet; the exchange is asked all the same
        _say("stopping ...")
        supervisor.stop(*(brain.full_name for brain in self._plan.brains))
        supervisor.stop(gateway)
        self._ask_exchange(supervisor)

    def _flatten(self, already: int) -> None:
        """No entries first, else a brain would open again what is being closed."""
        deadline_s = time.monotonic() + FLATTEN_S
        with self._connected(deadline_s) as client:
            client.result(Risk(id=0, action="pause", reason="the demo ends"))
            flatten.ask(client, None, "the demo ends")
            left = flatten.holding(client)
            while not left.is_flat and time.monotonic() < deadline_s and self._asked_to_end() == already:
                time.sleep(_POLL_S)
                left = flatten.holding(client)
        self._outcome.flat = left.is_flat

    def _connected(self, deadline_s: float) -> Client:
        """A gateway that is just being started again is waited for. Raises IpcError when the time is over."""
        while True:
            try:
                client = Client.connect(self._plan.sockets["main"])
            except IpcError:
                if time.monotonic() > deadline_s or self._asked_to_end() > 1:
                    raise
                time.sleep(_POLL_S)
            else:
                client.hello()
                return client

    def _ask_exchange(self, supervisor: Supervisor) -> None:
        """The exchange's own truth, after the gateway has gone."""
        try:
            accounts: dict[str, Any] = self._exchange(supervisor).get("truth", {}).get("accounts", {})
        except (OSError, ValueError) as error:
            self._outcome.faults.append(f"the exchange could not be asked what is left: {error!r}")
            return
        orders = [row["clientOrderId"] for held in accounts.values() for row in held["open_orders"]]
        positions = [
            f"{row['symbol']} {row['amount']}"
            for held in accounts.values()
            for row in held["positions"]
            if Decimal(row["amount"]) != 0
        ]
        self._outcome.left_orders, self._outcome.left_positions = orders, positions


def _line(view: ProcessView, supervisor: Supervisor) -> ProcessLine:
    """A process that does not stay up says why."""
    detail = view.reason or (supervisor.tail(view.name, 1) if view.state == "backoff" else "")
    return ProcessLine(view.name, view.state, view.restarts, detail)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone: what is left to do is done all the same
        print(text, file=sys.stderr, flush=True)


def _process_age_s() -> float:
    """Since the command was started: the shell script becomes this process, so its making of the environment counts."""
    stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    started_ticks = int(stat.rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
