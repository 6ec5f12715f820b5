"""A TCP port that stays ours while the process that serves it comes and goes.

The socket is bound and never listens: whoever sets SO_REUSEADDR (every server here does) can still bind and listen on
the port, but the kernel gives it to nobody else, neither as a free port nor for an outgoing connection.
"""

from __future__ import annotations

import os
import socket
import weakref

HOST = "127.0.0.1"


class ReservedPort:
    """Held as long as this object lives. `wanted` 0: any free one. Raises OSError where `wanted` is served already."""

    def __init__(self, wanted: int = 0) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((HOST, wanted))
            self.number: int = bound.getsockname()[1]
            self._release = weakref.finalize(self, os.close, bound.detach())

    @property
    def rest(self) -> str:
        return f"http://{HOST}:{self.number}"

    @property
    def ws(self) -> str:
        return f"ws://{HOST}:{self.number}"

    def close(self) -> None:
        self._release()
