"""The watchdog is fed while slices are young and the private stream is alive, and not otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.shell.watchdog import SLICES_AGE_NS, STEPS_AGE_NS, STREAM_GRACE_NS, Vitals, Watchdog
from ipc.notify import Notifier

S = 1_000_000_000
DEADLINE_MS = 20_000


class Heard(Notifier):
    def __init__(self) -> None:
        super().__init__("/nowhere", 45.0)
        self.messages: list[str] = []

    def _send(self, message: str) -> bool:
        self.messages.append(message)
        return True

    def take(self) -> list[str]:
        taken, self.messages = self.messages, []
        return taken


class Rig:
    """A gateway that is well, second after second; `second(...)` says what is different from now on."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.watchdog = Watchdog(self.heard, stream_deadline_ms=DEADLINE_MS, stop_within_s=18)
        self.now_ns = 1000 * S
        self.steps = 0
        self.held: dict[str, Any] = {}
        self.stopped_steps = False

    def second(self, ns: int = S, **changed: Any) -> str:
        self.held |= changed
        self.now_ns += ns
        self.steps += not self.stopped_steps
        well = {
            "now_ns": self.now_ns, "ready": True, "stopping": False, "steps": self.steps,
            "slices_ns": self.now_ns - 50_000_000, "stream_age_ms": 3000, "silent": False,
        }  # fmt: skip
        return self.watchdog.look(Vitals(**(well | self.held)))

    def started(self) -> Rig:
        self.second()
        self.watchdog.ready(self.now_ns)
        self.heard.take()
        return self


def test_a_start_asks_for_time_until_it_is_ready_and_never_feeds_before() -> None:
    rig = Rig()
    for _ in range(300):
        rig.second(ready=False, stream_age_ms=None)
    heard = rig.heard.take()
    assert heard.count("EXTEND_TIMEOUT_USEC=30000000") == 300
    assert not {"READY=1", "WATCHDOG=1"} & set(heard)
    assert any("starting: the private stream has been gone" in line for line in heard)
    rig.watchdog.ready(rig.now_ns)
    assert rig.heard.take() == ["STATUS=ready", "READY=1", "WATCHDOG=1"]
    rig.second(ready=True, stream_age_ms=1)
    assert rig.heard.take() == ["WATCHDOG=1"]


def test_a_start_whose_core_stands_still_gets_no_more_time() -> None:
    rig = Rig()
    rig.second(ready=False)
    rig.stopped_steps = True
    rig.second(STEPS_AGE_NS + 1)
    rig.heard.take()
    rig.second()
    assert not [line for line in rig.heard.take() if line.startswith("EXTEND")]


@pytest.mark.parametrize("age_ns", [0, SLICES_AGE_NS, SLICES_AGE_NS + 1])
def test_slices_on_both_sides_of_their_age(age_ns: int) -> None:
    rig = Rig().started()
    told = rig.second(slices_ns=rig.now_ns + S - age_ns)
    assert ("WATCHDOG=1" in rig.heard.take()) == (age_ns <= SLICES_AGE_NS) == (told == "")


def test_without_redis_it_is_fed_and_says_so() -> None:
    rig = Rig().started()
    assert rig.second(slices_ns=None) == ""
    assert rig.heard.take() == ["WATCHDOG=1", "STATUS=Redis is not reached"]


@pytest.mark.parametrize("gone", [{"stream_age_ms": None}, {"stream_age_ms": DEADLINE_MS + 1}])
def test_a_private_stream_may_be_gone_for_its_grace_and_no_longer(gone: dict[str, Any]) -> None:
    rig = Rig().started()
    rig.second()
    for _ in range(STREAM_GRACE_NS // S):
        assert rig.second(**gone) == ""
    fed = rig.heard.take().count("WATCHDOG=1")
    assert fed == 1 + STREAM_GRACE_NS // S
    assert "the private stream has been gone for 16 s" in rig.second()
    assert rig.heard.take() == ["STATUS=NOT WELL: the private stream has been gone for 16 s"]
    assert rig.second(stream_age_ms=DEADLINE_MS) == ""
    assert "WATCHDOG=1" in rig.heard.take()


def test_a_ban_is_no_reason_to_be_ended() -> None:
    rig = Rig().started()
    for _ in range(600):
        assert rig.second(stream_age_ms=None, silent=True) == ""
    assert rig.heard.take().count("WATCHDOG=1") == 600


def test_a_core_that_stands_still_is_not_fed() -> None:
    rig = Rig().started()
    rig.second()
    rig.stopped_steps = True
    assert rig.second(STEPS_AGE_NS) == ""
    assert "the core has handled nothing for 6 s" in rig.second()


def test_an_end_is_told_once_with_the_time_it_may_take() -> None:
    rig = Rig().started()
    rig.second(stopping=True)
    rig.second()
    rig.watchdog.stopping()
    assert rig.heard.take() == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=18000000", "STATUS=stopping"]
