"""Reads the view's model from Redis: one pipelined read a picture, nothing written, no gateway needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ipc import clock, events, keys
from ipc.redaction import hide_url_password
from ipc.slices import (
    BookSlice,
    GatewaySlice,
    Head,
    LedgerSlice,
    MarkSlice,
    OrdersSlice,
    PositionSlice,
    WalletSlice,
    decode,
)
from scripts.view_model import Model, ProcessLine, SymbolModel, Tally

_TIMEOUT_S = 0.5
_MAX_EVENTS = 2000  # a picture; more come with the next

H = TypeVar("H", bound=Head)


class Reader:
    """`brains` are (name, symbol) pairs whose ledgers are shown."""

    def __init__(self, url: str, account: str, symbols: Sequence[str], brains: Iterable[tuple[str, str]]) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._shown_url = hide_url_password(url)
        self._account = account
        self._symbols = tuple(symbols)
        self._brains = tuple(brains)
        self._boot = clock.boot_id()
        self._keys = [keys.gateway(account), keys.wallet(account)]
        for symbol in self._symbols:
            self._keys += [make(account, symbol) for make in (keys.book, keys.mark, keys.position, keys.orders)]
        self._keys += [keys.ledger(account, symbol, brain) for brain, symbol in self._brains]
        self.tally = Tally()
        self.model = Model(clock.reader_now(self._boot), account, self._empty(), (), self.tally)

    def read(self, processes: Sequence[ProcessLine] = (), *, title: str = "", footer: str = "") -> Model:
        """The newest picture; where Redis cannot be read, the last one with `problem`."""
        problem = ""
        values: list[bytes | None] | None = None
        try:
            values = self._fetch()
        except (redis.RedisError, OSError) as error:
            problem = f"Redis at {self._shown_url}: {error}"
        self.model = self._built(values, processes, title, footer, problem)
        return self.model

    def close(self) -> None:
        self._client.close()

    def _fetch(self) -> list[bytes | None]:
        stream = keys.events(self._account)
        pipe = self._client.pipeline(transaction=False)
        first = events.stream_id((self.tally.last_seq or 0) + 1)
        pipe.xrange(stream, min=first, count=_MAX_EVENTS)
        pipe.mget(self._keys)
        entries, values = pipe.execute()
        for entry_id, fields in entries:
            self.tally.add(_event(entry_id, fields))
        found: list[bytes | None] = values
        return found

    def _built(
        self,
        values: Sequence[bytes | None] | None,
        processes: Sequence[ProcessLine],
        title: str,
        footer: str,
        problem: str,
    ) -> Model:
        now = clock.reader_now(self._boot)
        common: dict[str, Any] = {
            "now": now, "account": self._account, "tally": self.tally, "processes": processes,
            "title": title, "footer": footer, "problem": problem,
        }  # fmt: skip
        if values is None:
            last = self.model
            return Model(**common, symbols=last.symbols, ledgers=last.ledgers, gateway=last.gateway, wallet=last.wallet)
        rest = iter(values)
        gateway, wallet = _held(GatewaySlice, next(rest)), _held(WalletSlice, next(rest))
        symbols = {
            symbol: SymbolModel(
                book=_held(BookSlice, next(rest)),
                mark=_held(MarkSlice, next(rest)),
                position=_held(PositionSlice, next(rest)),
                orders=_held(OrdersSlice, next(rest)),
            )
            for symbol in self._symbols
        }
        ledgers = [ledger for raw in rest if (ledger := _held(LedgerSlice, raw)) is not None]
        return Model(**common, symbols=symbols, ledgers=ledgers, gateway=gateway, wallet=wallet)

    def _empty(self) -> Mapping[str, SymbolModel]:
        return {symbol: SymbolModel() for symbol in self._symbols}


def _event(entry_id: bytes, fields: Mapping[bytes, bytes]) -> events.Event:
    """An entry of another version or shape still has its number: it is counted past, and the view lives on."""
    try:
        return events.decode(fields.get(b"e", b""))
    except msgspec.MsgspecError:
        return events.Event(seq=events.seq_of(entry_id), at_ns=0, subject="unreadable", source="gateway")


def _held(kind: type[H], raw: bytes | None) -> H | None:
    """A slice of another version or shape is shown as absent: the view must not die of it."""
    if raw is None:
        return None
    try:
        return decode(kind, raw)
    except msgspec.MsgspecError:
        return None
