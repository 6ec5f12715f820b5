"""What several market-data requests ask for: a symbol or all, a limit, a span of time. Refusals are raised."""

from collections.abc import Callable, Mapping

from simex.server.params import text_of, time_of, whole
from simex.server.refusals import Refused, bad_symbol, invalid
from simex.server.state import SymbolState
from simex.server.world import World

Params = Mapping[str, str]


def symbol_of(world: World, params: Params, name: str = "symbol") -> SymbolState:
    """The symbol that a request names. Raises Refused -1102 or -1121."""
    state = world.symbols.get(text_of(params, name))
    if state is None:
        raise bad_symbol()
    return state


def one_or_all(world: World, params: Params, row: Callable[[SymbolState], object]) -> object:
    """One object when `symbol` is given, a list otherwise."""
    if "symbol" in params:
        return row(symbol_of(world, params))
    return [row(state) for state in world.symbols.values()]


def limit_of(params: Params, default: int, top: int) -> int:
    """`limit`, refused with -1130 outside 1...top."""
    limit = whole(params, "limit", default)
    if not 1 <= limit <= top:
        raise invalid("limit")
    return limit


def times_of(params: Params) -> tuple[int | None, int | None]:
    """`startTime` and `endTime` in ms. Raises Refused -1023 if they are the wrong way round."""
    start, end = time_of(params, "startTime"), time_of(params, "endTime")
    if start is not None and end is not None and start > end:
        raise Refused(400, -1023, "Start time is greater than end time.")
    return start, end
