"""The Unix domain socket's server: bytes in, lines out to a handler, answers back. A raw protocol, not streams.

The handler runs synchronously for each line, so an order goes from the socket to the exchange's within one call.
Bounds: lines by `ipc.framing`; connections by `max_connections` (more are closed at once); bytes a reader leaves
unread by `max_unread_bytes` (then it is disconnected: its answers are facts it can ask for again).

A flood delays nobody else: of what one read brings, `TURN_LINES` are handled, the rest on later turns of the loop, and
the connection is not read meanwhile. Within such a rest, what only reads or records waits for all that acts; lines that
act keep their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import stat
import struct
from collections import deque
from pathlib import Path
from typing import Protocol, cast

from ipc.framing import LineSplitter, TooLong

SOCKET_MODE = 0o660
MAX_PATH_BYTES = 107
MAX_CONNECTIONS = 256
MAX_UNREAD_BYTES = 4 << 20
TURN_LINES = 32

_PEER = struct.Struct("3i")
_CAN_WAIT = re.compile(rb'(?<!\\)"op"\s*:\s*"(?:events|bars|book|orders|position|account|note)"').search


class SocketBusy(Exception):
    """Somebody answers on the path already."""


class Handler(Protocol):
    """What the server tells. Called on the loop; must not raise and must not block."""

    def opened(self, client: int, uid: int, pid: int) -> None: ...

    def line(self, client: int, line: bytes | TooLong) -> None: ...

    def closed(self, client: int, reason: str, process_gone: bool) -> None: ...


class Server:
    """`start()` binds the path (mode 0660); `send(client, line)` answers; `close()` flushes and removes the path."""

    def __init__(
        self,
        path: Path,
        handler: Handler,
        *,
        max_connections: int = MAX_CONNECTIONS,
        max_unread_bytes: int = MAX_UNREAD_BYTES,
    ) -> None:
        if len(os.fsencode(path)) > MAX_PATH_BYTES:
            raise ValueError(f"socket path {path} has more than {MAX_PATH_BYTES} bytes; choose a shorter run_dir")
        self.path = path
        self.refused = 0
        self._handler = handler
        self.line = handler.line
        self.crowded = False  # more than one connection: a newcomer's hello is worth a look at the others
        self._max_connections = max_connections
        self._max_unread_bytes = max_unread_bytes
        self._peers: dict[int, _Peer] = {}
        self._next_client = 1
        self._server: asyncio.AbstractServer | None = None
        self._inode = 0

    async def start(self) -> None:
        """Raises SocketBusy where a live server has the path; a stale one is removed. Hold the journal's lock first."""
        await self._clear_stale()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old_mask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listening.bind(os.fspath(self.path))
        finally:
            os.umask(old_mask)
        self._inode = self.path.stat().st_ino
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Peer(self), sock=listening, backlog=128)

    async def _clear_stale(self) -> None:
        try:
            held = self.path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(held.st_mode):
            raise SocketBusy(f"{self.path} exists and is no socket; remove it or choose another run_dir")
        try:
            _, writer = await asyncio.wait_for(asyncio.open_unix_connection(os.fspath(self.path)), 2.0)
        except (ConnectionError, FileNotFoundError):
            self.path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass  # it listens and does not accept (stopped, perhaps): alive all the same
        else:
            writer.close()
        raise SocketBusy(f"another gateway answers on {self.path}; stop it, or choose another account or run_dir")

    def send(self, client: int, line: bytes) -> bool:
        """False where the client is gone."""
        peer = self._peers.get(client)
        return peer is not None and peer.send(line)

    def hang_up(self, client: int, reason: str) -> None:
        peer = self._peers.get(client)
        if peer is not None:
            peer.end(reason)

    def sweep(self) -> None:
        """Close connections whose process is gone while somebody else still holds the descriptor (a fork's child)."""
        for peer in list(self._peers.values()):
            if peer.process_gone():
                peer.end("its process is gone", process_gone=True)

    def stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()

    async def close(self, grace_s: float = 1.0) -> None:
        """Stops accepting, gives answers already written `grace_s` to leave, closes, removes the path if it is ours."""
        self.stop_listening()
        deadline_s = asyncio.get_running_loop().time() + grace_s
        while any(peer.unsent() for peer in self._peers.values()):
            if asyncio.get_running_loop().time() > deadline_s:
                break
            await asyncio.sleep(0.01)
        for peer in list(self._peers.values()):
            peer.end("the gateway is stopping")
        await asyncio.sleep(0)
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    # -- called by the peers -------------------------------------------------------------------------------------

    def admit(self, peer: _Peer) -> int | None:
        if len(self._peers) >= self._max_connections:
            self.sweep()
        if len(self._peers) >= self._max_connections:
            self.refused += 1
            return None
        client = self._next_client
        self._next_client += 1
        self._peers[client] = peer
        self.crowded = len(self._peers) > 1
        self._handler.opened(client, peer.uid, peer.pid)
        return client

    def got(self, client: int, line: bytes | TooLong) -> None:
        if self.crowded and type(line) is bytes and b'"hello"' in line:
            self.sweep()  # a newcomer may take the name of a brain whose process is gone
        self.line(client, line)

    def gone(self, client: int, reason: str, process_gone: bool) -> None:
        gone = self._peers.pop(client, None)
        self.crowded = len(self._peers) > 1
        if gone is not None:
            self._handler.closed(client, reason, process_gone)

    @property
    def max_unread_bytes(self) -> int:
        return self._max_unread_bytes


class _Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._max_unread_bytes = server.max_unread_bytes
        self._splitter = LineSplitter()
        self._transport: asyncio.Transport | None = None
        self._client: int | None = None
        self._born = ""
        self._acting: deque[bytes | TooLong] = deque()
        self._reading: deque[bytes | TooLong] = deque()
        self.uid = -1
        self.pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        peer_socket = transport.get_extra_info("socket")
        self.pid, self.uid, _gid = _PEER.unpack(
            peer_socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        )
        self._born = _born(self.pid)
        self._transport.set_write_buffer_limits(high=1 << 20)
        self._client = self._server.admit(self)
        if self._client is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._client is None:
            return
        lines = self._splitter.feed(data)
        if len(lines) > TURN_LINES or self._acting or self._reading:
            for line in lines:
                (self._reading if isinstance(line, bytes) and _CAN_WAIT(line) else self._acting).append(line)
            if self._transport is not None:
                self._transport.pause_reading()
            self._turn()
            return
        server = self._server
        for line in lines:
            if self._transport is None:
                return  # hung up by an earlier line
            if server.crowded:
                server.got(self._client, line)
            else:
                server.line(self._client, line)

    def _turn(self) -> None:
        """Handle some of what waits, then let the loop look at everybody else."""
        for _ in range(TURN_LINES):
            waiting = self._acting or self._reading
            if self._transport is None or self._client is None or not waiting:
                break
            self._server.got(self._client, waiting.popleft())
        if self._transport is None:
            return
        if self._acting or self._reading:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        return False  # half a line without its newline is nobody's request

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._client is not None:
            self._server.gone(self._client, str(exc) if exc else "closed by the client", False)

    def send(self, line: bytes) -> bool:
        if self._transport is None:
            return False
        self._transport.write(line)
        if self._transport.get_write_buffer_size() > self._max_unread_bytes:
            self.end(f"more than {self._max_unread_bytes} bytes left unread", flush=False)
            return False
        return True

    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def end(self, reason: str, *, process_gone: bool = False, flush: bool = True) -> None:
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if flush and not process_gone:
            transport.close()
        else:
            transport.abort()
        if self._client is not None:
            self._server.gone(self._client, reason, process_gone)

    def process_gone(self) -> bool:
        """True only where the peer's process certainly ended: no such pid, a zombie, or the pid is another's now."""
        return self.pid > 0 and self._born != "" and _born(self.pid) != self._born


def _born(pid: int) -> str:
    """The kernel's start time of a living process, "" where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
