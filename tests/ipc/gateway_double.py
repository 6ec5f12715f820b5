"""A socket that answers as a test says: one thread, one function from a request to what is sent back."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from ipc import wire
from ipc.framing import LineSplitter, TooLong
from tests.waiting import wait_until

Reply = Callable[[wire.Request], bytes]


def echo(request: wire.Request) -> bytes:
    """The answer whose result names the operation."""
    return wire.encode(wire.Answer(id=request.id, ok=True, result=str(request.__struct_config__.tag)))


class Double:
    """`requests` are all that came, in order. `held` False makes it stop reading. Use as a context manager."""

    def __init__(self, path: Path, reply: Reply = echo) -> None:
        self.path = path
        self.reply = reply
        self.requests: list[wire.Request] = []
        self.reading = threading.Event()
        self.reading.set()
        self.clients: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()

    def __enter__(self) -> Double:
        self.path.unlink(missing_ok=True)
        self._server.bind(str(self.path))
        self._server.listen(8)
        self._server.settimeout(0.05)
        self._spawn(self._accept)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self.reading.set()
        self.hang_up()
        self._server.close()
        for thread in self._threads:
            thread.join(5)

    def hang_up(self) -> None:
        """Ends every connection; one must have been made."""
        wait_until(lambda: self.clients or self._stop.is_set(), 5, "a connection to hang up")
        for client in self.clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
        self.clients.clear()

    def say(self, data: bytes) -> None:
        wait_until(lambda: self.clients, 5, "a connection to speak on")
        self.clients[-1].sendall(data)

    def _spawn(self, what: Callable[..., None], *args: object) -> None:
        self._threads.append(threading.Thread(target=what, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.clients.append(client)
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        splitter = LineSplitter()
        while not self._stop.is_set():
            self.reading.wait()
            try:
                data = client.recv(65_536)
                for line in splitter.feed(data):
                    assert not isinstance(line, TooLong)
                    request = wire.decode_request(line)
                    self.requests.append(request)
                    client.sendall(self.reply(request))
            except OSError:
                return
            if not data:
                return
