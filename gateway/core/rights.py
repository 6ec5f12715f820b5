"""Who may do what: rights hang on the caller's user id, by peer credentials (design section 3). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ipc import wire
from ipc.errors import IpcError


@dataclass(frozen=True, slots=True)
class Grant:
    """What one user id may. `brains` None: any brain name; `symbols` None: any symbol."""

    uid: int
    trade: bool = False
    admin: bool = False
    brains: frozenset[str] | None = None
    symbols: frozenset[str] | None = None


class Rights:
    """Everybody who can open the socket may read. The gateway's own user may do everything, unless a grant names it."""

    def __init__(self, owner_uid: int, grants: Iterable[Grant] = ()) -> None:
        self._grants = {owner_uid: Grant(owner_uid, trade=True, admin=True)} | {grant.uid: grant for grant in grants}

    def of(self, uid: int) -> Grant:
        return self._grants.get(uid) or Grant(uid)

    def may_admin(self, uid: int) -> bool:
        return self.of(uid).admin

    def check_hello(self, uid: int, hello: wire.Hello) -> None:
        """Raises rights.denied where this user may not speak under the brain's name, or trade one of its symbols."""
        if hello.brain is None:
            return
        grant = self.of(uid)
        if not grant.trade:
            raise IpcError("rights.denied", f"user {uid} may read only; a grant with `trade` lets it run brains")
        if grant.brains is not None and hello.brain not in grant.brains:
            raise IpcError("rights.denied", f"user {uid} may not speak as brain {hello.brain!r}")
        if grant.symbols is not None:
            denied = [symbol for symbol in hello.symbols if symbol not in grant.symbols]
            if denied:
                raise IpcError("rights.denied", f"user {uid} may not trade {', '.join(denied)}")


def check(request: wire.Request, *, brain: str | None, admin: bool) -> None:
    """May a connection that said hello as `brain` (None: a tool) ask this? `place` has a check of its own.

    Raises rights.denied, rights.hello_first."""
    kind = type(request)
    if kind is wire.Note:
        if brain is None:
            raise IpcError("rights.hello_first", "a note needs a hello that names its brain")
    elif kind is wire.Risk:
        _check_risk(request, brain, admin)  # type: ignore[arg-type]
    elif kind in (wire.Cancel, wire.CancelAll, wire.Flatten, wire.Amend, wire.Batch, wire.Protect, wire.Params):
        if brain is None and not admin:
            raise IpcError("rights.hello_first", f"{_op(request)} needs a hello of a brain, or an administrator")
        if kind is wire.Cancel:
            _check_cancel(request, brain, admin)  # type: ignore[arg-type]
        if kind is wire.CancelAll and request.everyone and not admin:  # type: ignore[union-attr]
            raise IpcError("rights.denied", "cancel_all with `everyone` is for administrators")


def check_place(place: wire.Place, brain: str | None, symbols: tuple[str, ...] | None) -> None:
    """`symbols` None: it may trade any. Raises rights.denied, rights.hello_first."""
    if brain is None:
        raise IpcError("rights.hello_first", "place needs a hello that names its brain")
    if place.intent.brain != brain:
        raise IpcError("rights.denied", f"this connection speaks for {brain!r}, not for {place.intent.brain!r}")
    if symbols is not None and place.symbol not in symbols:
        raise IpcError("rights.denied", f"{brain!r} said hello for {', '.join(symbols)}, not for {place.symbol}")


def _check_cancel(cancel: wire.Cancel, brain: str | None, admin: bool) -> None:
    if not admin and cancel.intent is not None and cancel.intent.brain != brain:
        raise IpcError("rights.denied", f"{brain!r} may not cancel an intent of {cancel.intent.brain!r}")


def _check_risk(risk: wire.Risk, brain: str | None, admin: bool) -> None:
    if risk.action == "state" or admin:
        return
    if brain is not None and risk.brain == brain and risk.action == "pause":
        return  # a brain may stop itself; going on again is for a person
    raise IpcError("rights.denied", f"risk {risk.action} is for administrators (a brain may pause itself)")


def _op(request: wire.Request) -> str:
    return str(type(request).__struct_config__.tag)
