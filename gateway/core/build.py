"""Makes the parts of the core and ties them together. Pure: everything from outside comes as an argument."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

from gateway.core.account import AccountCore
from gateway.core.account_settings import AccountWish
from gateway.core.assembly import Parts, RootSettings
from gateway.core.eventlog import EventLog
from gateway.core.gateway import Gateway
from gateway.core.governor import Governor
from gateway.core.heads import Heads
from gateway.core.inputs import Now
from gateway.core.links import Links
from gateway.core.market import MarketCore
from gateway.core.market_context import MarketContext
from gateway.core.market_settings import LinkSettings, MarketSettings
from gateway.core.market_venue import Endpoints
from gateway.core.order_settings import OrderSettings
from gateway.core.orders import OrderCore
from gateway.core.ports import OrdersView
from gateway.core.rights import Rights
from gateway.core.rows import Restored
from gateway.core.sessions import Sessions, SessionSettings
from gateway.core.venue import Venue


@dataclasses.dataclass(frozen=True, slots=True)
class CoreSettings:
    root: RootSettings
    sessions: SessionSettings
    market: MarketSettings
    links: LinkSettings
    orders: OrderSettings
    wish: AccountWish
    endpoints: Endpoints
    rights: Rights


class _Later:
    """A view handed out before its part exists: the account and the order part need each other."""

    def __init__(self) -> None:
        self.part: object = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)


def build(
    settings: CoreSettings,
    venue: Venue,
    restored: Restored,
    now: Now,
    *,
    epoch: str,
    boot: str,
    new_tag: str,
    draw: Callable[[], float],
) -> Gateway:
    """`new_tag` names a new installation; the journal's own one wins."""
    account_name = settings.root.account
    tag = restored.kv["install"].decode() if "install" in restored.kv else new_tag
    heads = Heads(epoch=epoch, account=account_name, venue=venue.name, boot=boot)
    log = EventLog(restored.next_event_seq)
    context = MarketContext(account_name, heads, log, draw)
    identity = venue.account.user_frame_identity
    links = Links(settings.links, settings.endpoints, context, venue.market, identity=identity)
    market = MarketCore(settings.market, context, links, venue.market, stored=restored.kv)
    sessions = Sessions(settings.sessions, restored, settings.rights, log, epoch)
    orders_later = _Later()
    account = AccountCore(
        account=account_name,
        symbols=settings.root.symbols,
        wish=settings.wish,
        venue=venue.account,
        heads=heads,
        events=log,
        market=market,
        orders=cast(OrdersView, orders_later),
        brains=sessions.brains,
        lease_ms=settings.sessions.lease_ms,
        draw=draw,
    )
    market.bind(account)
    limits = settings.orders.limits
    governor = Governor(venue.limits, entries_per_s=limits.orders_per_s, entry_burst=limits.orders_burst)
    orders = OrderCore(
        account_name=account_name,
        settings=settings.orders,
        venue=venue.orders,
        market=market,
        account=account,
        brains=sessions.brains,
        log=log,
        lanes=governor,
        tag=tag,
        now=now,
        boot=boot,
    )
    orders_later.part = orders
    parts = Parts(heads, log, links, market, account, orders, governor, sessions)
    return Gateway(settings.root, parts, restored, tag)
