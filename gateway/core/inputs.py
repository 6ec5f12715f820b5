"""Everything the core is ever told: a closed list. One order of inputs is one history; replaying it is exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from ipc.framing import TooLong


class Now(Struct, frozen=True, gc=False):
    """The clocks at one step: wall time and CLOCK_BOOTTIME in ns. Timers and deadlines use `boot_ns` only."""

    wall_ns: int
    boot_ns: int

    @property
    def wall_ms(self) -> int:
        return self.wall_ns // 1_000_000


Conn = str  # "public", "market", "private"; a replacement connection of the 24 h hand-over has a suffix ("public#2")
Key = tuple[str | int, ...]  # names a REST request: (owner, purpose, ...): ("market", "depth", "BTCUSDT", 3)


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. The shell sends one no later than `Gateway.next_deadline_boot_ns` and at least every 100 ms."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    conn: Conn


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The connection ended or could not be made; every Connect gets exactly one StreamClosed in the end."""

    conn: Conn
    reason: str


@dataclass(frozen=True, slots=True)
class StreamAlive:
    """A ping or pong was seen: the connection breathes though no data came."""

    conn: Conn


@dataclass(frozen=True, slots=True)
class Frame:
    """One text frame as it came, stamped by the shell before anything else (wall ns, boot ns)."""

    conn: Conn
    data: bytes
    recv_ns: int
    recv_boot_ns: int


@dataclass(frozen=True, slots=True)
class RestReply:
    """An HTTP answer, whatever its status. `headers` has lower-case names."""

    key: Key
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class RestFailed:
    """No answer. `sent` is False only when certainly no byte of the request left this process."""

    key: Key
    sent: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ClientOpened:
    """Somebody connected to the socket; uid and pid by peer credentials."""

    client: int
    uid: int
    pid: int


class ClientLine(Struct, frozen=True, gc=False):
    """A Struct, as one is made for each line."""

    client: int
    line: bytes | TooLong


@dataclass(frozen=True, slots=True)
class ClientClosed:
    client: int
    process_gone: bool = False


@dataclass(frozen=True, slots=True)
class StoreState:
    """Redis is there or not; orders and answers go on without it.

    `stream_seq`: with `up`, the last sequence its event stream holds where that lies above the journal's.
    """

    up: bool
    reason: str = ""
    stream_seq: int | None = None


@dataclass(frozen=True, slots=True)
class JournalFailed:
    """The transaction of the last step did not commit; nothing of it left but what is safe to repeat."""

    reason: str


@dataclass(frozen=True, slots=True)
class JournalBack:
    """The journal takes rows again, and every row of the failed steps is in it."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """SIGTERM or SIGINT."""

    reason: str


Input = (
    Tick
    | StreamOpened
    | StreamClosed
    | StreamAlive
    | Frame
    | RestReply
    | RestFailed
    | ClientOpened
    | ClientLine
    | ClientClosed
    | StoreState
    | JournalFailed
    | JournalBack
    | Shutdown
)

Level = Literal["debug", "info", "warning", "error"]
