"""Two connections of one family beside each other, before the exchange cuts the older one at 24 hours. Pure.

"Connected" proves nothing (law 5), so the newer one takes over only when it was seen to say what the older one says:
every stream that speaks there speaks here, every subscription was answered; of the account's events at least one came
over both and none over the older one alone. One that fails this is given up, named, and tried again later: there are
still hours. Where nothing is said on either for the whole time, nothing can be lost, and it takes over too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from gateway.core.inputs import Conn, Frame, Now
from gateway.core.link_overlap import Overlap
from gateway.core.market_settings import LinkSettings

_MS = 1_000_000
OVERLAP_NS = 1_000 * _MS  # both are heard at least so long before the change, and the older one so long after it
MUTE_NS = 5_000 * _MS  # an account event that the newer connection has not told by then it will never tell
NAMED = 3


class Verdict(NamedTuple):
    what: Literal["wait", "take", "give_up"]
    reason: str = ""


WAIT, TAKE = Verdict("wait"), Verdict("take")


class StreamsBeside:
    """Market data: which streams were heard on each connection since both were there."""

    def __init__(self, now: Now, settings: LinkSettings) -> None:
        self._opened_ns = now.boot_ns
        self._settings = settings
        self._old: set[str] = set()
        self._new: set[str] = set()

    def saw(self, now: Now, stream: str, *, new: bool) -> None:
        """What the older one says in the first moment may have been sent before the newer one listened."""
        if new:
            self._new.add(stream)
        elif now.boot_ns - self._opened_ns >= OVERLAP_NS:
            self._old.add(stream)

    def verdict(self, now: Now, *, subscribed: bool) -> Verdict:
        """`subscribed`: every command left and was answered."""
        age_ns = now.boot_ns - self._opened_ns
        if age_ns < 2 * OVERLAP_NS:
            return WAIT
        missing = sorted(self._old - self._new)
        if subscribed and not missing and self._new:
            return TAKE
        if age_ns < self._settings.handover_ms * _MS:
            return WAIT
        if not subscribed:
            return Verdict("give_up", "the replacement did not answer its subscriptions")
        if missing:
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            return Verdict("give_up", f"the replacement was accepted but is silent: {', '.join(missing[:NAMED])}{more}")
        return TAKE


class AccountBeside:
    """The private stream: `overlap` merges what both say."""

    def __init__(self, now: Now, settings: LinkSettings) -> None:
        self._opened_ns = now.boot_ns
        self._settings = settings
        self.overlap = Overlap()

    def frames(self, now: Now, frame: Frame, identity: bytes, *, new: bool) -> list[Frame]:
        counted = now.boot_ns - self._opened_ns >= OVERLAP_NS
        return self.overlap.take(now, frame, identity, new=new, counted=counted)

    def verdict(self, now: Now) -> Verdict:
        age_ns = now.boot_ns - self._opened_ns
        alone_ns = self.overlap.alone_since_ns
        if alone_ns is not None and now.boot_ns - alone_ns >= MUTE_NS:
            return Verdict("give_up", "the replacement was accepted but is silent: an account event came without it")
        if age_ns < 2 * OVERLAP_NS:
            return WAIT
        proven = self.overlap.matched > 0 and alone_ns is None
        quiet = age_ns >= self._settings.handover_ms * _MS and alone_ns is None
        return TAKE if proven or quiet else WAIT


class Handover(NamedTuple):
    """`old` and `new` name the connections; by family one of `streams` and `account` is set."""

    family: str
    old: Conn
    new: Conn
    streams: StreamsBeside | None
    account: AccountBeside | None

    def has(self, conn: Conn) -> bool:
        return conn in (self.old, self.new)

    def saw(self, now: Now, conn: Conn, stream: str) -> None:
        if self.streams is not None and self.has(conn):
            self.streams.saw(now, stream, new=conn == self.new)

    def frames(self, now: Now, frame: Frame, identity: Callable[[bytes], bytes]) -> list[Frame]:
        if self.account is None or not self.has(frame.conn):
            return [frame]
        return self.account.frames(now, frame, identity(frame.data), new=frame.conn == self.new)

    def due(self, now: Now) -> list[Frame]:
        return self.account.overlap.due(now) if self.account is not None else []

    def end(self) -> list[Frame]:
        return self.account.overlap.end() if self.account is not None else []

    def verdict(self, now: Now, *, subscribed: bool) -> Verdict:
        if self.account is not None:
            return self.account.verdict(now)
        return self.streams.verdict(now, subscribed=subscribed) if self.streams is not None else WAIT


def begin(now: Now, family: str, old: Conn, new: Conn, settings: LinkSettings) -> Handover:
    """From the moment the newer connection is open."""
    if family == "private":
        return Handover(family, old, new, None, AccountBeside(now, settings))
    return Handover(family, old, new, StreamsBeside(now, settings), None)
