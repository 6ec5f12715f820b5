"""The gateway process through a proxy to simex under TLS: trade, the proxy dies, is named, comes back, go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.proxy_rig import ForwardProxy
from tests.gateway.rig import Rig, far_below
from tests.simex.running import running
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)


class Aside:
    """A forward proxy on a loop of its own thread."""

    def __init__(self) -> None:
        self.proxy = ForwardProxy("trader", "s3cret")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.turn(on=True)

    def turn(self, *, on: bool) -> None:
        work = self.proxy.start() if on else self.proxy.stop()
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def end(self) -> None:
        self.turn(on=False)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def aside() -> Iterator[Aside]:
    aside = Aside()
    yield aside
    aside.end()


def test_everything_goes_through_the_proxy_and_heals_with_it(
    aside: Aside, redis_url: str, tmp_path: Path, run_dir: Path
) -> None:
    with running("--seed", "7", "--tls", log=tmp_path / "simex.log") as simex:
        venue = {"ca_file": simex.ready["ca"], "proxy": aside.proxy.url("socks5h"), "no_proxy": []}
        port = int(simex.rest.rpartition(":")[2])
        with Rig(simex, redis_url, tmp_path, run_dir, venue=venue, gateway={"lease_ms": 60_000}) as rig:
            brain = rig.brain()
            assert brain.place("BUY", "0.002", far_below(rig.book_live()))["ok"]
            assert len(aside.proxy.asked) >= 5, "three streams, orders and questions"
            assert {where for _, _, where in aside.proxy.asked} == {port}
            before = brain.ask("ping")["as_of"]
            aside.turn(on=False)
            wait_until(lambda: not rig.slice("gateway")["ready"], 20, "entries have stopped")
            wait_until(lambda: "proxy: " in rig.log.read_text(), 20, "the fault is named")
            aside.turn(on=True)
            wait_until(lambda: rig.slice("gateway")["ready"], 60, "ready again without hands")
            events = brain.result("events", after=before, limit=1000, subjects=["stream.down"])
            assert {event["data"]["connection"] for event in events} == {"public", "market", "private"}
            assert brain.ask("cancel_all")["result"]["cancelled"] == 1
            assert rig.stop() == 0
        written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "config.json"]
        assert [path for path in written if b"s3cret" in path.read_bytes()] == [], "and no file holds the password"


def test_an_exchange_nobody_vouches_for_is_never_talked_to_and_the_next_step_is_said(
    redis_url: str, tmp_path: Path, run_dir: Path
) -> None:
    with running("--seed", "7", "--tls", log=tmp_path / "simex.log") as simex:
        rig = Rig(simex, redis_url, tmp_path, run_dir)
        rig.process = rig.spawn()
        try:
            wait_until(lambda: rig.log.exists() and "tls: the certificate of" in rig.log.read_text(), 30, "it is named")
            assert "venue.ca_file" in rig.log.read_text()
            rig.process.terminate()
            assert rig.process.wait(30) == 0
            assert rig.process.stdout is not None
            assert rig.process.stdout.read() == b"", "it never was ready"
        finally:
            rig.__exit__(None, None, None)
