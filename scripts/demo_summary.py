"""The demo's one-screen summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ipc.slices import LedgerSlice
from scripts.view_model import Model, booked_profit, quote_fees
from scripts.view_render import fill_text, latency

_SEEN = Decimal("0.0001")


@dataclass
class Outcome:
    """What is known at the end beside the last picture. `left_*` must be empty for the demo to have ended well."""

    seed: int
    ran_s: float
    view_after_s: float | None = None
    live_after_s: float | None = None
    first_fill_after_s: float | None = None
    wallet_start: Decimal | None = None
    flat: bool = False
    left_orders: Sequence[str] = ()
    left_positions: Sequence[str] = ()
    left_processes: Sequence[str] = ()
    restarts: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        left = (*self.left_orders, *self.left_positions, *self.left_processes)
        return self.flat and not left and not self.faults


def summary(model: Model, outcome: Outcome, repeat: str) -> str:
    tally = model.tally
    lines = [
        "",
        "Brainstem demo",
        f"  ran        {outcome.ran_s:.0f} s",
        f"  start      view after {_s(outcome.view_after_s)}, all live after {_s(outcome.live_after_s)}, "
        f"first fill after {_s(outcome.first_fill_after_s)}",
        f"  orders     {tally.sent} sent, {tally.fills} fills, {tally.rejected} refused; "
        f"{tally.unknown} went through an unknown outcome",
    ]
    if outcome.restarts:
        lines.append(f"  restarts   {outcome.restarts}: a process ended by itself and was started again")
    lines += _profit(model, outcome)
    if tally.newest:
        lines.append("  last fills")
        lines += [f"    {fill_text(event)}" for event in tally.newest[:4]]
    if model.latency_us:
        lines.append("  latency                 p50       p99    samples")
        lines += [_hop(hop, sample) for hop, sample in model.latency_us.items()]
    lines.append(f"  left       {_left(outcome)}")
    lines += [f"  fault      {fault}" for fault in outcome.faults]
    lines.append(f"  repeat     {repeat}")
    return "\n".join(lines)


def _hop(hop: str, sample: Mapping[str, float]) -> str:
    p50, p99 = latency(sample.get("p50")), latency(sample.get("p99"))
    return f"    {hop.replace('_', ' '):<16} {p50:>9} {p99:>9} {sample.get('n', 0):>10.0f}"


def _profit(model: Model, outcome: Outcome) -> list[str]:
    """By the wallet, which knows everything, then each brain's part of it, then what belongs to no brain."""
    of_brains = sum((booked_profit(ledger) for ledger in model.ledgers), Decimal(0))
    now = wallet_of(model)
    if now is None or outcome.wallet_start is None:
        lines = [f"  profit     {of_brains:+.4f} USDT by the brains' ledgers"]
        rest = Decimal(0)
    else:
        change = now - outcome.wallet_start
        lines = [f"  profit     {change:+.4f} USDT (wallet {outcome.wallet_start:.4f} -> {now:.4f})"]
        rest = change - of_brains
    if model.ledgers:
        lines.append(f"    {'brain':<16} {'net':>11} {'realised':>11} {'fees':>10} {'funding':>9} {'fills':>6}")
    lines += [_of_brain(ledger) for ledger in model.ledgers]
    if abs(rest) >= _SEEN:
        lines.append(f"    {'of no brain':<16} {rest:>+11.4f}")
    return lines


def _of_brain(ledger: LedgerSlice) -> str:
    """What is booked; fees in another asset than the quote's stand by themselves."""
    figures = f"{booked_profit(ledger):>+11.4f} {Decimal(ledger.realised):>11.4f} {quote_fees(ledger):>10.4f}"
    others = [f" and {fee} {asset} fees" for asset, fee in ledger.fees.items() if not asset.startswith("USD")]
    return f"    {ledger.brain:<16} {figures} {Decimal(ledger.funding):>9.4f} {ledger.fills:>6}{''.join(others)}"


def wallet_of(model: Model) -> Decimal | None:
    """The USDT balance."""
    if model.wallet is None:
        return None
    return next((Decimal(b.wallet) for b in model.wallet.balances if b.asset == "USDT"), None)


def _left(outcome: Outcome) -> str:
    left = [
        *(f"order {order}" for order in outcome.left_orders),
        *(f"position {position}" for position in outcome.left_positions),
        *(f"process {process}" for process in outcome.left_processes),
    ]
    if not outcome.flat and not left:
        left.append("unknown: the gateway could not be asked")
    return "; ".join(left) if left else "no position, no order, no process"


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"
