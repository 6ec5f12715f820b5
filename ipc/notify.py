"""What a service manager is told of a process (systemd's sd_notify): one datagram each to `$NOTIFY_SOCKET`.

Without that variable every call does nothing. A datagram that does not fit into the manager's queue is dropped: each of
them is said again, or is news that the next one replaces. `failed` says why the last one did not leave.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import closing

MAX_STATUS_CHARS = 200
_BEATS = 3  # signs of life an interval of the watchdog


class Notifier:
    """`watchdog_s`: how long the manager waits for a sign of life; None: it does not watch this process."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else None
        self.failed = ""
        self._status = ""

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Notifier:
        """As sd_watchdog_enabled(3) reads the environment: a watchdog meant for another process is none of ours."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        usec = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", "")
        watched = usec.isascii() and usec.isdigit() and int(usec) > 0 and meant in ("", str(pid))
        return cls(address, int(usec) / 1e6 if watched else None)

    @property
    def enabled(self) -> bool:
        return bool(self._address)

    @property
    def beat_s(self) -> float:
        """How often a sign of life is due; at least one a second, so that the status is fresh too."""
        return min(1.0, (self.watchdog_s or 1.0) / _BEATS)

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self, within_s: float) -> None:
        """`within_s`: how long the end may take."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    def alive(self) -> None:
        """The watchdog's sign of life."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def extend(self, by_s: float) -> None:
        """More time for a start or an end that goes on."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(by_s * 1e6)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; said again only when it changes."""
        line = " ".join(text.split())[:MAX_STATUS_CHARS]
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def _send(self, message: str) -> bool:
        if not self._address:
            return False
        # a socket each time: nothing to keep, and a manager that was started anew is found again
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(message.encode(), self._address)
            except OSError as error:
                self.failed = os.strerror(error.errno) if error.errno else str(error)
                return False
        self.failed = ""
        return True
