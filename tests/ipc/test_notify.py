"""What a service manager hears, on a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipc.notify import MAX_STATUS_CHARS, Notifier


class Manager:
    """The socket of a service manager; `heard()` is every datagram so far."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        out = []
        while True:
            try:
                out.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return out


@pytest.fixture
def manager(run_dir: Path) -> Iterator[Callable[[str], Manager]]:
    made: list[Manager] = []

    def make(address: str = "") -> Manager:
        made.append(Manager(address or str(run_dir / "notify")))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()


def test_each_message_in_the_words_of_the_protocol(manager: Callable[..., Manager]) -> None:
    held = manager()
    told = Notifier.of(held.environ | {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 77)
    assert (told.enabled, told.watchdog_s, told.beat_s) == (True, 30.0, 1.0)
    told.extend(2.5)
    told.status("two\nlines  become one")
    told.ready()
    told.alive()
    told.stopping(18)
    assert held.heard() == [
        "EXTEND_TIMEOUT_USEC=2500000", "STATUS=two lines become one", "READY=1", "WATCHDOG=1",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=18000000",
    ]  # fmt: skip
    assert told.failed == ""


def test_an_abstract_socket_is_found_too(manager: Callable[..., Manager]) -> None:
    held = manager(f"@brainstem-test-{os.getpid()}")
    Notifier.of(held.environ, 1).ready()
    assert held.heard() == ["READY=1"]


@pytest.mark.parametrize(
    ("more", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "600000"}, 0.6),
        ({"WATCHDOG_USEC": "600000", "WATCHDOG_PID": "77"}, 0.6),
        ({"WATCHDOG_USEC": "600000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_for_another_process_or_of_nonsense_is_none(
    manager: Callable[..., Manager], more: dict[str, str], watchdog_s: float | None
) -> None:
    held = manager()
    told = Notifier.of(held.environ | more, 77)
    assert told.watchdog_s == watchdog_s
    told.alive()
    assert held.heard() == (["WATCHDOG=1"] if watchdog_s else [])
    assert told.beat_s <= (watchdog_s or 3) / 3, "three signs of life an interval"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    told = Notifier.of(environ | {"WATCHDOG_USEC": "1000000"}, 1)
    for say in (told.ready, told.alive, lambda: told.stopping(1), lambda: told.extend(1), lambda: told.status("x")):
        say()
    assert (told.enabled, told.watchdog_s, told.failed) == (False, None, "")


def test_a_manager_that_is_away_or_does_not_read_stops_nobody(manager: Callable[..., Manager], run_dir: Path) -> None:
    told = Notifier.of({"NOTIFY_SOCKET": str(run_dir / "nobody"), "WATCHDOG_USEC": "1000000"}, 1)
    told.status("here")
    assert told.failed == "No such file or directory"
    held = manager(str(run_dir / "nobody"))
    for _ in range(5000):  # far more than a datagram queue takes
        told.alive()
    assert told.failed != ""
    assert set(held.heard()) == {"WATCHDOG=1"}
    told.status("here")
    assert held.heard() == ["STATUS=here"], "one that did not leave is said again"


def test_a_status_is_one_bounded_line_and_said_when_it_changes(manager: Callable[..., Manager]) -> None:
    held = manager()
    told = Notifier.of(held.environ, 1)
    for text in ("a", "a", "b", "x" * 5000, "b\nREADY=1"):
        told.status(text)
    assert held.heard() == ["STATUS=a", "STATUS=b", "STATUS=" + "x" * MAX_STATUS_CHARS, "STATUS=b READY=1"]
