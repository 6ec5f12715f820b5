"""One closed list of error codes for answers on the socket.

A code is `<room>.<what>`; `retryable` says whether the same request may be sent again *as it is* with a
chance of another answer. Brains in other languages rely on this list: add at the end, never rename.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class CodeInfo(NamedTuple):
    """What a code means: `retryable` by default, and one sentence for the generated documentation."""

    retryable: bool
    meaning: str


CODES: dict[str, CodeInfo] = {
    # the line itself
    "wire.too_long": CodeInfo(False, "The line is longer than 64 KiB; it was thrown away up to its end."),
    "wire.bad_json": CodeInfo(False, "The line is not one JSON object in UTF-8."),
    "wire.bad_request": CodeInfo(
        False, "A field is missing, unknown, of the wrong type or out of range; the path is named."
    ),
    "wire.version": CodeInfo(False, "The caller speaks another version of the contract."),
    "wire.busy": CodeInfo(True, "Too many unanswered requests on this connection."),
    "op.unknown": CodeInfo(False, "No such operation."),
    "op.not_supported": CodeInfo(False, "The operation exists in the contract and is not served by this gateway yet."),
    "op.internal": CodeInfo(False, "A fault inside the gateway; it is logged there under the id in `detail`."),
    # who asks
    "rights.denied": CodeInfo(False, "The caller's user may not do this, or not under this brain's name."),
    "rights.hello_first": CodeInfo(False, "The operation needs a `hello` that named a brain."),
    "brain.name_taken": CodeInfo(False, "A live process holds this brain name."),
    "brain.symbol_taken": CodeInfo(False, "Another brain trades this symbol on this account."),
    "brain.run_used": CodeInfo(False, "The run is not newer than the brain's last registered one."),
    "brain.too_many": CodeInfo(False, "So many brain names are registered that no further one is taken."),
    # what is asked for
    "symbol.unknown": CodeInfo(False, "The gateway does not serve this symbol, or the exchange lacks it."),
    "symbol.not_trading": CodeInfo(True, "The exchange does not trade this symbol now."),
    "order.not_found": CodeInfo(False, "No order of that name in the journal."),
    "page.bad_token": CodeInfo(False, "The `next` token does not belong to this list."),
    # intents
    "intent.conflict": CodeInfo(False, "This intent name already carries other content; nothing was sent."),
    "intent.expired": CodeInfo(False, "The deadline passed before the order could leave; nothing was sent."),
    "intent.old_run": CodeInfo(False, "The intent's run or number lies behind what this brain has registered."),
    "intent.cancelled": CodeInfo(False, "The intent was cancelled while it was still queued; nothing was sent."),
    # filters
    "filter.price": CodeInfo(False, "The price is outside the exchange's bounds after rounding to the tick."),
    "filter.qty": CodeInfo(False, "The quantity is outside the exchange's bounds after rounding to the step."),
    "filter.min_notional": CodeInfo(False, "Price times quantity is below the exchange's minimum."),
    "filter.max_orders": CodeInfo(True, "The exchange's limit of open orders on the symbol is reached."),
    # risk
    "risk.max_notional": CodeInfo(False, "The order's notional is above the limit."),
    "risk.max_position": CodeInfo(
        False, "The position could exceed its limit, unknown and in-flight orders counted at their worst."
    ),
    "risk.price_band": CodeInfo(False, "The price is too far on the losing side of the mark price."),
    "risk.order_rate": CodeInfo(True, "Too many orders in too short a time."),
    "risk.stale": CodeInfo(True, "An entry needs a live book and a fresh mark price of its symbol."),
    "risk.not_ready": CodeInfo(True, "The gateway has not finished its reconciliation; entries wait."),
    "risk.reduce_only": CodeInfo(True, "Entries are stopped (state `reduce_only`); closes pass."),
    "risk.cancel_only": CodeInfo(True, "Only cancels pass (state `cancel_only`)."),
    "risk.halted": CodeInfo(False, "The account or brain is halted; only a person resumes it."),
    "risk.exit_unknown": CodeInfo(
        True, "An exit of this brain has an unknown outcome; entries wait until it is resolved."
    ),
    "risk.not_a_close": CodeInfo(False, "A reduce-only order would not reduce this brain's position."),
    "risk.settings": CodeInfo(
        False, "Leverage, margin type or position mode differ from the configuration; entries are refused."
    ),
    "risk.lease": CodeInfo(True, "The brain's lease has expired; its entries are refused until it asks again."),
    # the venue
    "venue.rejected": CodeInfo(False, "The exchange refused the order; its code and text are in `detail`."),
    "venue.no_answer": CodeInfo(
        False, "No answer that proves anything arrived; the outcome is unknown and is being resolved."
    ),
    "venue.not_sent": CodeInfo(True, "The order certainly did not arrive, and its retries or its deadline ran out."),
    "venue.rate_limited": CodeInfo(True, "The exchange's limits are used up; `detail.wait_ms` says for how long."),
    "venue.unavailable": CodeInfo(True, "The exchange could not be reached for this query."),
    # the gateway itself
    "gateway.stopping": CodeInfo(True, "The gateway is shutting down."),
    "gateway.journal": CodeInfo(False, "The journal cannot be written; only what is safe to repeat may leave."),
    "gateway.unreachable": CodeInfo(True, "Client side: no gateway on the socket, or it did not answer in time."),
}


class IpcError(Exception):
    """A refusal or fault under one of `CODES`.

    Attributes: `code`, `message` (what, where, next step), `retryable`, `detail` (JSON values only).
    """

    def __init__(
        self, code: str, message: str, *, retryable: bool | None = None, detail: dict[str, Any] | None = None
    ) -> None:
        if code not in CODES:
            raise ValueError(f"{code!r} is not in ipc.errors.CODES")
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = CODES[code].retryable if retryable is None else retryable
        self.detail: dict[str, Any] = detail or {}
