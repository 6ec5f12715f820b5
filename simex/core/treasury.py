"""Money that moves without a trade: funding, transfers, insurance; and what the exchange itself has taken and given.

Every movement of a wallet goes through here or through a fill, and every one is told by an ACCOUNT_UPDATE.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from simex.core.account import ZERO, Account, Position
from simex.core.api import FundingSettled
from simex.core.collateral import dollar_price
from simex.core.effects import Effects
from simex.core.fees import BURN_ASSET
from simex.core.instrument import Instrument
from simex.core.market import Market, State
from simex.core.timers import Key, Timers
from simex.payloads import events

FUNDING = "funding"
"""Timers of settlements as announced with the mark price; key: symbol."""
_HOUR_MS = 3_600_000
OPENING_INSURANCE = Decimal(1_000_000)
"""What the insurance fund holds of each margin asset at the start."""

TRANSFER_KINDS: dict[str, str] = {
    **dict.fromkeys(("DEPOSIT", "WITHDRAW", "WITHDRAW_REJECT", "ADMIN_WITHDRAW", "ADJUSTMENT"), "TRANSFER"),
    "ADMIN_DEPOSIT": "COMMISSION_REBATE",
    "ASSET_TRANSFER": "INTERNAL_TRANSFER",
    **{kind: kind for kind in ("OPTIONS_PREMIUM_FEE", "OPTIONS_SETTLE_PROFIT", "AUTO_EXCHANGE")},
    **{kind: kind for kind in ("COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW")},
}
"""Why money comes or goes by itself (`m` of ACCOUNT_UPDATE), and the type of its income line. The other reasons (ORDER,
FUNDING_FEE, INSURANCE_CLEAR, MARGIN_TRANSFER, MARGIN_TYPE_CHANGE) have causes of their own."""

MAX_TRANSFER = Decimal(10) ** 15
"""What can come or go at once: far below where 8 decimals would no longer be exact."""

Sums = defaultdict[str, Decimal]
"""Amounts by asset."""


class Treasury:
    """Markets, accounts, timers, and the exchange's own purses."""

    def __init__(self, markets: dict[str, Market], accounts: dict[str, Account], own_visible: bool) -> None:
        self.state = State(markets, own_visible)
        self.markets = markets
        self.accounts = accounts
        self.own_visible = own_visible
        self.timers = Timers()
        self.timers.register(FUNDING, self._funding_due)
        self.fees: Sums = defaultdict(Decimal)
        """Commission taken from all accounts since the start."""
        self.funding: Sums = defaultdict(Decimal)
        """Funding paid out to all accounts, less what they paid; the outside world is the other side."""
        self.insurance: Sums = defaultdict(lambda: OPENING_INSURANCE)
        self.moved: set[str] = set()
        """Accounts whose money or positions have changed since the margin was looked at last."""

    # -- funding ------------------------------------------------------------------------------------------------

    def announce_funding(self, market: Market, rate: Decimal, next_ms: int, fx: Effects) -> None:
        """What the mark price says of funding. A settlement that the announcement has passed by takes place now.

        (A recording played faster than the clock, or with its own times, moves on before the clock does.)
        """
        symbol, due_ms = market.instrument.symbol, market.next_funding_ms
        if due_ms and next_ms - due_ms >= _HOUR_MS and market.funded_ms < due_ms:
            self._funding_due((symbol,), fx)
        market.funding_rate, market.next_funding_ms = rate, next_ms
        if next_ms > max(fx.now_ms, market.funded_ms):
            if self.timers.due_ms(FUNDING, (symbol,)) != next_ms:
                self.timers.set(FUNDING, (symbol,), next_ms)
        else:
            self.timers.clear(FUNDING, (symbol,))

    def _funding_due(self, key: Key, fx: Effects) -> None:
        market = self.markets[str(key[0])]
        market.funded_ms = market.next_funding_ms
        self.settle_funding(market, fx)

    def settle_funding(self, market: Market, fx: Effects) -> None:
        """Every open leg of the symbol pays or gets notional at mark * rate; isolated legs from their own wallet."""
        instrument, mark, rate = market.instrument, market.mark, market.funding_rate
        for account in self.accounts.values():
            isolated = account.config(instrument).isolated
            for position in account.legs(instrument.symbol):
                if not position.amount:
                    continue
                amount = account.apply_funding(instrument, position, mark, rate, fx.now_ms)
                self.funding[instrument.quote_asset] += amount
                rows = [position] if isolated else []
                self.account_event(account, "FUNDING_FEE", instrument, amount, rows, fx, instrument.symbol)
        fx.settled(FundingSettled(instrument.symbol, fx.now_ms, rate, mark))

    # -- transfers ----------------------------------------------------------------------------------------------

    def transfer(self, account: Account, asset: str, amount: Decimal, reason: str, fx: Effects) -> None:
        """Money comes (positive) or goes; `reason` is one of `TRANSFER_KINDS`."""
        booked = account.transfer(asset, amount, fx.now_ms, TRANSFER_KINDS[reason])
        self.wallet_event(account, asset, reason, booked, fx)

    def clear_with_insurance(self, account: Account, instrument: Instrument, amount: Decimal, fx: Effects) -> None:
        """The fund pays what an account lost beyond its margin (positive), or takes its clearance fee (negative)."""
        if not amount:
            return
        asset = instrument.quote_asset
        account.clear(instrument.symbol, asset, amount, fx.now_ms)
        self.insurance[asset] -= amount
        self.wallet_event(account, asset, "INSURANCE_CLEAR", amount, fx)

    def burn_price(self, margin_asset: str) -> Decimal | None:
        """BNB in units of a margin asset."""
        price, unit = dollar_price(self.state, BURN_ASSET), dollar_price(self.state, margin_asset)
        return None if price is None or unit is None else price / unit

    # -- telling ------------------------------------------------------------------------------------------------

    def wallet_event(self, account: Account, asset: str, reason: str, change: Decimal, fx: Effects) -> None:
        """ACCOUNT_UPDATE about one asset and no position."""
        self.moved.add(account.name)
        fx.event(account.name, events.account_update(reason, fx.now_ms, [self._balance(account, asset, change)], []))

    def account_event(
        self,
        account: Account,
        reason: str,
        instrument: Instrument,
        change: Decimal,
        positions: Iterable[Position],
        fx: Effects,
        symbol: str | None = None,
        also: str | None = None,
    ) -> None:
        """ACCOUNT_UPDATE about the wallet of the instrument's margin asset (and `also` of another) and these legs."""
        self.moved.add(account.name)
        isolated = account.config(instrument).isolated
        rows = [(position, instrument, self.state.mark_of(position.symbol), isolated) for position in positions]
        balances = [self._balance(account, instrument.quote_asset, change)]
        if also is not None:
            balances.append(self._balance(account, also, ZERO))
        fx.event(account.name, events.account_update(reason, fx.now_ms, balances, rows, symbol))

    def _balance(self, account: Account, asset: str, change: Decimal) -> events.Balance:
        wallet = account.wallet(asset, self.state.instruments)
        return asset, wallet, account.cross_wallet.get(asset, ZERO), change


def transfer_reason(amount: Decimal, reason: str | None) -> str:
    """DEPOSIT or WITHDRAW by the sign if None.

    ValueError for a reason that is none of `TRANSFER_KINDS`, and for an amount that no wallet can hold.
    """
    if not amount.is_finite() or abs(amount) > MAX_TRANSFER:
        raise ValueError(f"at most {MAX_TRANSFER:,} can be moved at once, not {amount!s:.40}")
    found = reason or ("DEPOSIT" if amount >= 0 else "WITHDRAW")
    if found not in TRANSFER_KINDS:
        raise ValueError(f"money does not move by itself for {found!r}; reasons are {', '.join(TRANSFER_KINDS)}")
    return found
