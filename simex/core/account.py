"""Money of one account: wallet, positions, entry price, realised profit, fees, isolated margin, funding.

Every amount that moves the wallet is rounded to 8 decimals before it is booked, so that the identity
wallet = opening + realised - fees + funding + transfers holds exactly. The arithmetic of isolated margin (a fill that
flips a position is a close and an opening, the fee split between them, each paid by its own wallet) reproduces
recorded sessions of the real exchange.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from simex.core.algo import AlgoBook
from simex.core.api import AccountSpec, Side
from simex.core.fees import BURN_ASSET, BURN_FACTOR, TIERS, tier_rate
from simex.core.instrument import Instrument
from simex.core.order import Fill, Order, PositionSide

ZERO = Decimal(0)
_CENT8 = Decimal("0.00000001")

MAX_CLOSED_ORDERS = 100_000
MAX_FILLS = 100_000
MAX_INCOME = 200_000
MAX_MARGIN_MOVES = 10_000
"""History kept per account; the oldest goes first. Open orders are never dropped."""


def money(value: Decimal) -> Decimal:
    """Rounded to the 8 decimals in which the exchange books."""
    return value.quantize(_CENT8, rounding=ROUND_HALF_EVEN)


@dataclass(slots=True)
class Position:
    """One leg. `amount` is signed; `cost` is what its open part was bought or sold for (not negative)."""

    symbol: str
    side: PositionSide
    amount: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    """Accumulated since the account exists, before fees."""
    isolated_wallet: Decimal = ZERO
    fees_less_realised: Decimal = ZERO
    """Fees paid minus profit realised since the leg was last flat: what the break-even price must win back."""
    update_ms: int = 0

    @property
    def entry_price(self) -> Decimal:
        return self.cost / abs(self.amount) if self.amount else ZERO

    @property
    def break_even_price(self) -> Decimal:
        return (self.amount * self.entry_price + self.fees_less_realised) / self.amount if self.amount else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        return self.amount * mark - self.cost if self.amount >= 0 else self.amount * mark + self.cost


@dataclass(slots=True)
class SymbolConfig:
    """What the account chose for one symbol."""

    leverage: int
    isolated: bool


@dataclass(frozen=True, slots=True)
class Income:
    """One line of the income history."""

    symbol: str
    kind: str
    amount: Decimal
    asset: str
    time_ms: int
    tran_id: int
    trade_id: int | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """What one fill did to the money. `realised` is in the instrument's margin asset."""

    fee: Decimal
    fee_asset: str
    realised: Decimal
    position: Position


@dataclass(frozen=True, slots=True)
class MarginMove:
    """Isolated margin added (positive) or taken back by hand."""

    symbol: str
    side: PositionSide
    amount: Decimal
    asset: str
    time_ms: int


@dataclass(slots=True)
class History:
    """Everything that happened, bounded, oldest first."""

    fills: deque[Fill] = field(default_factory=lambda: deque(maxlen=MAX_FILLS))
    income: deque[Income] = field(default_factory=lambda: deque(maxlen=MAX_INCOME))
    margin_moves: deque[MarginMove] = field(default_factory=lambda: deque(maxlen=MAX_MARGIN_MOVES))


_OPENED_MS = 1_569_398_400_000
"""Update time of the opening balances: an asset with 0 there counts as never used, and clients leave it out."""


class Account:
    """State of one account. Cross wallet by asset; isolated wallets sit in the positions."""

    def __init__(self, spec: AccountSpec) -> None:
        self.name = spec.name
        self.hedge = spec.hedge
        self.multi_assets = spec.multi_assets
        self.maker_rate = spec.maker_rate
        self.taker_rate = spec.taker_rate
        if not 0 <= spec.fee_tier < len(TIERS):
            raise ValueError(f"account {spec.name}: fee_tier must be 0 to {len(TIERS) - 1}, not {spec.fee_tier}")
        self.fee_tier = spec.fee_tier
        self.fee_burn = spec.fee_burn
        self.rights = spec.rights
        self.config_ms = 0
        """When a setting of the whole account was changed last."""
        self.called: set[str] = set()
        """Margin pools that a MARGIN_CALL has told of and that have not recovered since."""
        self.cross_wallet: dict[str, Decimal] = {asset: money(value) for asset, value in spec.balances.items()}
        self.balance_update_ms: dict[str, int] = dict.fromkeys(self.cross_wallet, _OPENED_MS)
        self.positions: dict[tuple[str, PositionSide], Position] = {}
        self.open_orders: dict[str, dict[int, Order]] = {}
        """By symbol, then by order id."""
        self.closed_orders: dict[tuple[str, int], Order] = {}
        self.open_client_ids: dict[str, Order] = {}
        self.last_by_client_id: dict[tuple[str, str], Order] = {}
        self.algos = AlgoBook()
        self.history = History()
        self._defaults = SymbolConfig(spec.leverage, spec.margin_type == "ISOLATED")
        self.configs: dict[str, SymbolConfig] = {}
        self.tran_ids = 9_689_322_392_000

    # -- configuration ------------------------------------------------------------------------------------------

    def config(self, instrument: Instrument) -> SymbolConfig:
        """Leverage and margin type of a symbol; the default leverage never exceeds the symbol's maximum."""
        config = self.configs.get(instrument.symbol)
        if config is None:
            leverage = min(self._defaults.leverage, instrument.max_leverage)
            config = self.configs[instrument.symbol] = SymbolConfig(leverage, self._defaults.isolated)
        return config

    def fee_rate(self, instrument: Instrument, is_maker: bool) -> Decimal:
        """The account's own rate if it was given one, else that of its tier."""
        own = self.maker_rate if is_maker else self.taker_rate
        if own is not None:
            return own
        ordinary = instrument.maker_rate if is_maker else instrument.taker_rate
        return tier_rate(self.fee_tier, ordinary, is_maker=is_maker)

    # -- reading ------------------------------------------------------------------------------------------------

    def position(self, symbol: str, side: PositionSide) -> Position:
        """The leg, made on first use."""
        key = (symbol, side)
        position = self.positions.get(key)
        if position is None:
            position = self.positions[key] = Position(symbol, side)
        return position

    def legs(self, symbol: str) -> list[Position]:
        """Existing legs of a symbol."""
        sides: tuple[PositionSide, ...] = ("BOTH", "LONG", "SHORT")
        return [self.positions[symbol, side] for side in sides if (symbol, side) in self.positions]

    def orders_on(self, symbol: str) -> list[Order]:
        """Open orders of a symbol, oldest first."""
        return list(self.open_orders.get(symbol, {}).values())

    def all_open(self) -> list[Order]:
        return [order for orders in self.open_orders.values() for order in orders.values()]

    def wallet(self, asset: str, instruments: Mapping[str, Instrument]) -> Decimal:
        """Cross wallet plus the isolated wallets of positions margined in this asset."""
        isolated = (p.isolated_wallet for p in self.positions.values() if instruments[p.symbol].quote_asset == asset)
        return self.cross_wallet.get(asset, ZERO) + sum(isolated, ZERO)

    # -- orders -------------------------------------------------------------------------------------------------

    def add_order(self, order: Order) -> None:
        self.open_orders.setdefault(order.symbol, {})[order.order_id] = order
        self.open_client_ids[order.client_id] = order
        self.last_by_client_id[order.symbol, order.client_id] = order

    def close_order(self, order: Order) -> None:
        """Move a finished order to the history; past `MAX_CLOSED_ORDERS` the oldest is forgotten."""
        del self.open_orders[order.symbol][order.order_id]
        del self.open_client_ids[order.client_id]
        self.closed_orders[order.symbol, order.order_id] = order
        if len(self.closed_orders) > MAX_CLOSED_ORDERS:
            self.forget(self.closed_orders[next(iter(self.closed_orders))])

    def restore_orders(self, still_open: Iterable[Order], closed: Iterable[Order]) -> None:
        """Orders of an earlier life, each list in its old order; of one client id the youngest is the one found."""
        for order in closed:
            self.closed_orders[order.symbol, order.order_id] = order
        for order in still_open:
            self.open_orders.setdefault(order.symbol, {})[order.order_id] = order
            self.open_client_ids[order.client_id] = order
        everything = [*self.closed_orders.values(), *self.all_open()]
        for order in sorted(everything, key=lambda o: (o.created_ms, o.order_id)):
            self.last_by_client_id[order.symbol, order.client_id] = order

    def forget(self, order: Order) -> None:
        del self.closed_orders[order.symbol, order.order_id]
        if self.last_by_client_id.get((order.symbol, order.client_id)) is order:
            del self.last_by_client_id[order.symbol, order.client_id]

    # -- money --------------------------------------------------------------------------------------------------

    def apply_fill(
        self,
        instrument: Instrument,
        position_side: PositionSide,
        side: Side,
        qty: Decimal,
        price: Decimal,
        *,
        is_maker: bool,
        now_ms: int,
        trade_id: int,
        burn_price: Decimal | None = None,
        free: bool = False,
    ) -> Booking:
        """Book one fill: position, realised profit, fee by the account's rate, isolated margin, income lines.

        `burn_price` is BNB in the margin asset, for those who pay in it; `free`: the exchange charges nothing.
        """
        position = self.position(instrument.symbol, position_side)
        signed = qty if side == "BUY" else -qty
        full_fee = ZERO if free else money(qty * price * self.fee_rate(instrument, is_maker))
        burned = self._burned(full_fee, burn_price)
        fee = ZERO if burned else full_fee
        closing = min(qty, abs(position.amount)) if position.amount * signed < 0 else ZERO
        close_fee = money(fee * closing / qty)
        asset = instrument.quote_asset
        realised = self._close(position, asset, closing, price, close_fee)
        opening = signed + closing if signed < 0 else signed - closing
        self._open(instrument, position, opening, price, fee - close_fee)
        position.update_ms = now_ms
        self.balance_update_ms[asset] = now_ms
        if realised:
            self._note(instrument.symbol, "REALIZED_PNL", realised, asset, now_ms, trade_id)
        if burned:
            self._add_cross(BURN_ASSET, -burned)
            self.balance_update_ms[BURN_ASSET] = now_ms
            position.fees_less_realised += money(burned * (burn_price or ZERO)) if position.amount else ZERO
        charged, charged_in = (burned, BURN_ASSET) if burned else (fee, asset)
        if charged:
            self._note(instrument.symbol, "COMMISSION", -charged, charged_in, now_ms, trade_id)
        return Booking(charged, charged_in, realised, position)

    def _burned(self, fee: Decimal, burn_price: Decimal | None) -> Decimal:
        """The fee in BNB, if the account pays so and has enough; else 0. A rebate (negative fee) is never burned."""
        if not self.fee_burn or burn_price is None or fee <= 0:
            return ZERO
        burned = money(fee * BURN_FACTOR / burn_price)
        return burned if self.cross_wallet.get(BURN_ASSET, ZERO) >= burned else ZERO

    def _close(self, position: Position, asset: str, closing: Decimal, price: Decimal, fee: Decimal) -> Decimal:
        """Close part of a leg: profit and fee go to the cross wallet with the share of isolated margin it frees."""
        if not closing:
            return ZERO
        size = abs(position.amount)
        closed_cost = position.cost if closing == size else position.cost * closing / size
        value = closing * price
        realised = money(value - closed_cost if position.amount > 0 else closed_cost - value)
        freed = position.isolated_wallet if closing == size else money(position.isolated_wallet * closing / size)
        position.isolated_wallet -= freed
        self._add_cross(asset, freed + realised - fee)
        position.amount -= closing.copy_sign(position.amount)
        position.cost -= closed_cost
        position.realised += realised
        position.fees_less_realised = position.fees_less_realised + fee - realised if position.amount else ZERO
        return realised

    def _open(self, instrument: Instrument, position: Position, signed: Decimal, price: Decimal, fee: Decimal) -> None:
        """Open or enlarge a leg; in isolated mode its margin leaves the cross wallet and pays the fee."""
        if not signed:
            return
        notional = abs(signed) * price
        config = self.config(instrument)
        if config.isolated:
            margin = money(notional / config.leverage)
            self._add_cross(instrument.quote_asset, -margin)
            position.isolated_wallet += margin - fee
        else:
            self._add_cross(instrument.quote_asset, -fee)
        position.amount += signed
        position.cost += notional
        position.fees_less_realised += fee

    def apply_funding(
        self, instrument: Instrument, position: Position, mark: Decimal, rate: Decimal, now_ms: int
    ) -> Decimal:
        """Long pays short while the rate is positive. Returns what the account received (negative = paid)."""
        amount = money(-position.amount * mark * rate)
        if self.config(instrument).isolated:
            position.isolated_wallet += amount
            position.update_ms = now_ms
        else:
            self._add_cross(instrument.quote_asset, amount)
        self.balance_update_ms[instrument.quote_asset] = now_ms
        self._note(instrument.symbol, "FUNDING_FEE", amount, instrument.quote_asset, now_ms, None)
        return amount

    def transfer(self, asset: str, amount: Decimal, now_ms: int, kind: str = "TRANSFER") -> Decimal:
        """Deposit (positive) or withdrawal; returns the booked amount. `kind` is the type of its income line."""
        booked = money(amount)
        self._add_cross(asset, booked)
        self.balance_update_ms[asset] = now_ms
        self._note("", kind, booked, asset, now_ms, None)
        return booked

    def move_margin(self, instrument: Instrument, position: Position, amount: Decimal, now_ms: int) -> None:
        """From the cross wallet to an isolated leg (positive) or back; `amount` has 8 decimals at most."""
        asset = instrument.quote_asset
        self._add_cross(asset, -amount)
        position.isolated_wallet += amount
        position.update_ms = self.balance_update_ms[asset] = now_ms
        self.history.margin_moves.append(MarginMove(position.symbol, position.side, amount, asset, now_ms))

    def clear(self, symbol: str, asset: str, amount: Decimal, now_ms: int) -> None:
        """The insurance fund pays (positive) or takes."""
        self._add_cross(asset, amount)
        self.balance_update_ms[asset] = now_ms
        self._note(symbol, "INSURANCE_CLEAR", amount, asset, now_ms, None)

    def _add_cross(self, asset: str, amount: Decimal) -> None:
        self.cross_wallet[asset] = self.cross_wallet.get(asset, ZERO) + amount

    def _note(self, symbol: str, kind: str, amount: Decimal, asset: str, now_ms: int, trade_id: int | None) -> None:
        self.tran_ids += 1
        self.history.income.append(Income(symbol, kind, amount, asset, now_ms, self.tran_ids, trade_id))
