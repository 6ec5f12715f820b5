"""Files of historical bars and funding rates: read, checked, and put on a grid of whole ticks and lots.

Known forms: CSV (plain, `.gz`, or the only file of a `.zip`) with a header, or without one in the exchange's own column
order, and the JSON body of its klines request (`.json`, `.json.gz`). Times are milliseconds, microseconds or ISO text.
Numbers with more than eight decimals are what is left of somebody's floating point; they are rounded to eight.
"""

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

import numpy as np

from simex.market.history import COLUMNS, Rows
from simex.market.intervals import DAY_MS, INTERVALS, MONTH, bucket_start, typical_ms
from simex.market.survey import Grid

MAX_BARS = 2_000_000
_SYMBOL = re.compile(r"(?:^|[^A-Z0-9])([A-Z0-9]{2,16}(?:USDT|USDC))(?:[^A-Z0-9]|$)")
_OWN_ORDER = ("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
              "taker_buy_volume", "taker_buy_quote_volume", "ignore")  # fmt: skip
_TIMES = ("open_time", "open_time_ms", "timestamp")
_FUNDING_TIMES = ("funding_time_ms", "calc_time")
_FUNDING_RATES = ("funding_rate", "last_funding_rate")
_EXACT = Decimal("1e-8")
_MOST = 2**63


class BadBars(ValueError):
    """The file cannot be used; the text says which, where and why."""


@dataclass(frozen=True)
class BarFile:
    """Bars of one symbol, oldest first: `rows` as in `simex.market.history`, in ticks and lots of this grid."""

    name: str
    symbol: str
    interval: str
    tick: Decimal
    step: Decimal
    rows: Rows

    @property
    def step_ms(self) -> int:
        """Length of a bar."""
        return typical_ms(self.interval)

    @property
    def end_ms(self) -> int:
        """When the last bar is over."""
        return int(self.rows[-1, 0]) + self.step_ms


@dataclass(frozen=True)
class FundingFile:
    """Settlements of one symbol, oldest first: (time in ms, rate)."""

    name: str
    symbol: str
    points: tuple[tuple[int, Decimal], ...]


def read_file(path: Path, symbol: str | None = None) -> BarFile | FundingFile:
    """Read one file; without `symbol` its name says whose bars they are. Raises BadBars."""
    found = symbol or _symbol_in(path.name)
    try:
        if ".json" in path.suffixes:
            header: Sequence[str] = _OWN_ORDER
            lines: list[Sequence[str]] = [[str(value) for value in row] for row in json.loads(_text(path))]
        else:
            header, lines = _columns(path.name, list(csv.reader(io.StringIO(_text(path)))))
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise BadBars(f"{path.name}: cannot be read: {error}") from error
    if not lines:
        raise BadBars(f"{path.name}: holds no row")
    if len(lines) > MAX_BARS:
        raise BadBars(f"{path.name}: more than {MAX_BARS} rows")
    columns = {name: index for index, name in enumerate(header)}
    try:
        if any(name in columns for name in _FUNDING_RATES):
            return _funding(path.name, found, columns, lines)
        return _bars(path.name, found, columns, lines)
    except (IndexError, InvalidOperation) as error:
        raise BadBars(f"{path.name}: a row is cut short or holds no number: {error!r}") from error


def _symbol_in(name: str) -> str:
    found = _SYMBOL.search(name)
    if found is None:
        raise BadBars(f"{name}: the name shows no symbol; say whose bars they are by SYMBOL={name}")
    return found[1]


def _text(path: Path) -> str:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                raise BadBars(f"{path.name}: one CSV file was expected inside, not {len(names)}")
            return archive.read(names[0]).decode()
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def _columns(name: str, rows: list[list[str]]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Column names and the rows below them; a file that begins with a number has no header."""
    rows = [row for row in rows if row]
    if rows and not rows[0][0][:1].isdigit():
        return [column.strip().lower() for column in rows[0]], list(rows[1:])
    if rows and len(rows[0]) not in (6, len(_OWN_ORDER)):
        raise BadBars(f"{name}: no header, and {len(rows[0])} columns: 6 or {len(_OWN_ORDER)} were expected")
    return _OWN_ORDER, list(rows)


def _place(name: str, columns: dict[str, int], wanted: Iterable[str]) -> int:
    for column in wanted:
        if column in columns:
            return columns[column]
    raise BadBars(f"{name}: there is no column {' or '.join(wanted)}")


def _time_ms(text: str) -> int:
    if text.isdigit():
        value = int(text)
        return value // 1000 if value >= 10**14 else value
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _number(text: str) -> Decimal:
    value = Decimal(text)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise InvalidOperation(f"{text!r} is not finite")
    return value.quantize(_EXACT).normalize() if exponent < -8 else value


def _funding(name: str, symbol: str, columns: dict[str, int], lines: list[Sequence[str]]) -> FundingFile:
    at, rate = _place(name, columns, _FUNDING_TIMES), _place(name, columns, _FUNDING_RATES)
    points = tuple((_time_ms(row[at]), _number(row[rate])) for row in lines)
    if any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
        raise BadBars(f"{name}: its times do not rise")
    return FundingFile(name, symbol, points)


def _bars(name: str, symbol: str, columns: dict[str, int], lines: list[Sequence[str]]) -> BarFile:
    times = np.array([_time_ms(row[_place(name, columns, _TIMES)]) for row in lines], dtype=np.int64)
    gaps = np.diff(times)
    if len(gaps) and gaps.min() <= 0:
        at = int(np.argmin(gaps)) + 1
        raise BadBars(f"{name}: row {at + 1} does not come after the one before it")
    shortest = int(gaps.min()) if len(gaps) else 60_000
    interval = next((known for known in INTERVALS if known != MONTH and typical_ms(known) == shortest), None)
    if interval is None:
        raise BadBars(f"{name}: rows are {shortest} ms apart, which is no interval of bars")
    if any(bucket_start(interval, int(at)) != at for at in times):
        raise BadBars(f"{name}: not every row begins on a full {interval}")
    prices = [
        [_number(row[_place(name, columns, (kind,))]) for kind in ("open", "high", "low", "close")] for row in lines
    ]
    volumes = [_number(row[_place(name, columns, ("volume",))]) for row in lines]
    tick, step = _grid(value for row in prices for value in row), _grid(volumes)
    rows = np.zeros((len(lines), COLUMNS), dtype=np.int64)
    rows[:, 0] = times
    rows[:, 1:5] = [[int(value / tick) for value in row] for row in prices]
    rows[:, 5] = [int(value / step) for value in volumes]
    rows[:, 10:] = -1
    _check(name, rows)
    return BarFile(name, symbol, interval, tick, step, rows)


def _grid(values: Iterable[Decimal]) -> Decimal:
    grid = Grid()
    for text in {f"{abs(value):f}" for value in values}:
        grid.add(text)
    return grid.step.normalize()


def _check(name: str, rows: Rows) -> None:
    opened, high, low, closed, volume = rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4], rows[:, 5]
    beyond = (high > np.maximum(opened, closed)) * 1 + (low < np.minimum(opened, closed))
    needed = 1 + beyond + ((opened != closed) | (beyond > 0))
    for wrong, why in (
        ((low <= 0) | (volume < 0), "has a price or volume below what is possible"),
        (
            (high < np.maximum(opened, closed)) | (low > np.minimum(opened, closed)),
            "has its high or low inside its body",
        ),
        ((volume == 0) & (high != low), "moves without volume"),
        ((volume > 0) & (volume < needed), "has less volume than its prices need trades"),
    ):
        if wrong.any():
            raise BadBars(f"{name}: row {int(np.argmax(wrong)) + 1} {why}")
    months = max(1.0, float(rows[-1, 0] - rows[0, 0]) / (31 * DAY_MS))  # a month is the longest bar
    if float(high.max()) * float(volume.sum()) / months * 2 >= _MOST:
        raise BadBars(f"{name}: its volumes are too fine to be added up exactly; round them first")
