"""The port itself: opened, refusing for a while, with a good or a wrong certificate."""

import asyncio
import socket
from collections.abc import Callable

from simex.server.chaos.certificates import Certificates

Undo = Callable[[], None]
BACKLOG = 512


class Door:
    """Listens on one address. While it refuses, the port stays ours: a bound socket that does not listen holds it.

    `protocols` makes the protocol of a new connection; `certificates` is None without TLS.
    """

    def __init__(
        self, host: str, port: int, protocols: Callable[[], asyncio.Protocol], certificates: Certificates | None
    ) -> None:
        self._host = host
        self._protocols = protocols
        self._certificates = certificates
        self._refusing = 0
        self._server: asyncio.AbstractServer | None = None
        self._task: asyncio.Task[None] | None = None
        self._holder = _bound(host, port)
        self.port = int(self._holder.getsockname()[1])

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return self._certificates is not None

    async def open(self) -> None:
        """Begin to listen. OSError if the address is taken."""
        listener = _bound(self._host, self.port)
        try:
            context = self._certificates.context if self._certificates else None
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._protocols, sock=listener, ssl=context, backlog=BACKLOG)
        except OSError:
            listener.close()
            raise

    def close(self) -> None:
        """Listen no more; connections that stand are not touched."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def end(self) -> None:
        """Close for good."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        self.close()
        self._holder.close()

    def refuse(self) -> Undo:
        """Refuse connections until the returned callable is called."""
        self._refusing += 1
        self.close()
        return self._accept_again

    def _accept_again(self) -> None:
        self._refusing -= 1
        if not self._refusing:
            self._task = asyncio.get_running_loop().create_task(self.open())

    def refuse_handshakes(self) -> Undo:
        """Answer every TLS hello with an alert. ValueError without TLS."""
        return self._tls("tls_refuse").refuse()

    def wrong_certificate(self, variant: str) -> Undo:
        """Show a wrong certificate. ValueError without TLS."""
        return self._tls("tls_certificate").wrong(variant)

    def _tls(self, kind: str) -> Certificates:
        if self._certificates is None:
            raise ValueError(f"fault {kind}: there is no TLS here: start with --tls")
        return self._certificates


def _bound(host: str, port: int) -> socket.socket:
    """A socket that is bound and not listening; its connections will inherit TCP_NODELAY. `::` takes IPv4 too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    made.setblocking(False)
    return made
