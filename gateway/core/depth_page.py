"""The whole held book of one symbol in pages: the operation `book`."""

from __future__ import annotations

from typing import Any

from gateway.core.book import plain_decimal
from gateway.core.depth_record import DepthRecord
from ipc.errors import IpcError
from ipc.slices import State

MAX_PAGE = 800  # levels a side in one answer: two sides of long numbers stay within 64 KiB


def book_page(record: DepthRecord, state: State, limit: int, token: str | None) -> tuple[dict[str, Any], str | None]:
    """Every held level, best first: (result, next). The token is the last price of each side: a page goes on behind
    it, in the book as it is by then (each page names its `u`). Raises IpcError: page.bad_token."""
    below, above = _page_token(token)
    limit = min(limit, MAX_PAGE)  # an answer must stay within one line
    book, live = record.keeper.book, record.live
    bids = book.bids.page(below, limit) if live else []
    asks = book.asks.page(above, limit) if live else []
    bid_edge, ask_edge = book.bids.edge_level(), book.asks.edge_level()
    result = {
        "symbol": record.symbol,
        "state": state,
        "reason": record.reason,
        "u": record.keeper.seq.at,
        "event_ms": record.keeper.event_ms,
        "bids": bids,
        "asks": asks,
        "known_to": {"bid": bid_edge[0] if bid_edge else None, "ask": ask_edge[0] if ask_edge else None},
    }
    if len(bids) < limit and len(asks) < limit:
        return result, None
    return result, f"{bids[-1][0] if bids else below or '-'}:{asks[-1][0] if asks else above or '-'}"


def _page_token(token: str | None) -> tuple[str | None, str | None]:
    if token is None:
        return None, None
    parts = token.split(":")
    if len(parts) != 2 or not all(part == "-" or plain_decimal(part) for part in parts):
        raise IpcError("page.bad_token", "the token is not one that `book` gave; start again without `next`")
    return (None if parts[0] == "-" else parts[0]), (None if parts[1] == "-" else parts[1])
