"""Bars expanded to trades and minutes: folded again they are the bars of the file, to the last lot."""

from __future__ import annotations

import gzip
import json
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simex.market.barfile import BadBars, BarFile, FundingFile, read_file
from simex.market.bars import Bar, aggregate
from simex.market.history import COLUMNS, Rows
from simex.market.tape import MOST_TRADES, expand, minutes_of

HEADER = "open_time_ms,open,high,low,close,volume\n"
START_MS = 1_735_689_600_000
FIVE_MS = 300_000


def row(values: tuple[int, ...]) -> Rows:
    table = np.zeros((1, COLUMNS), dtype=np.int64)
    table[0, : len(values)] = values
    table[0, 10:] = -1
    return table


@st.composite
def bars(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """Open, high, low, close, volume of a possible bar: with as many lots as its prices need trades."""
    low = draw(st.integers(1, 10**6))
    high = low + draw(st.one_of(st.just(0), st.integers(0, 5), st.integers(0, 10**5)))
    opened, closed = draw(st.integers(low, high)), draw(st.integers(low, high))
    beyond = (high > max(opened, closed)) + (low < min(opened, closed))
    needed = 1 + beyond + (opened != closed or beyond > 0)
    if high == low and draw(st.booleans()):
        return low, low, low, low, 0
    return opened, high, low, closed, needed + draw(st.one_of(st.integers(0, 6), st.integers(0, 10**9)))


@settings(max_examples=150, deadline=None)
@given(bar=bars(), seed=st.integers(0, 2**32), length_ms=st.sampled_from([60_000, FIVE_MS, 86_400_000]))
def test_the_trades_of_a_bar_make_exactly_this_bar(
    bar: tuple[int, int, int, int, int], seed: int, length_ms: int
) -> None:
    opened, high, low, closed, volume = bar
    trades = expand(row((START_MS, *bar))[0], length_ms, seed)
    assert trades == expand(row((START_MS, *bar))[0], length_ms, seed)
    if volume == 0:
        assert trades == []
        return
    folded = Bar.flat(START_MS, 0)
    for number, trade in enumerate(trades):
        assert trade.lots >= 1
        folded.add_trade(trade.price, trade.lots, trade.buyer_is_maker, number, number)
    assert (folded.open, folded.high, folded.low, folded.close, folded.volume) == (opened, high, low, closed, volume)
    times = [trade.after_ms for trade in trades]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < length_ms
    assert len(trades) <= MOST_TRADES


@settings(max_examples=60, deadline=None)
@given(table=st.lists(bars(), min_size=1, max_size=20), seed=st.integers(0, 2**32))
def test_the_minutes_below_a_bar_fold_into_exactly_this_bar(
    table: list[tuple[int, int, int, int, int]], seed: int
) -> None:
    rows = np.concatenate([row((START_MS + FIVE_MS * number, *bar)) for number, bar in enumerate(table)])
    minutes = minutes_of(rows, FIVE_MS, seed)
    assert minutes[:, 0].tolist() == list(range(START_MS, START_MS + FIVE_MS * len(table), 60_000))
    assert (minutes[:, 2] >= minutes[:, [1, 4]].max(axis=1)).all()
    assert (minutes[:, 3] <= minutes[:, [1, 4]].min(axis=1)).all()
    assert (minutes[:, 5] >= 0).all()
    assert aggregate(minutes, "5m")[:, :6].tolist() == rows[:, :6].tolist()


def write(folder: Path, text: str, name: str = "BTCUSDT-1m.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_is_read_in_every_form_it_comes_in(tmp_path: Path) -> None:
    lines = [f"{START_MS + 60_000 * number},10.5,10.6,10.1,10.25,{number + 5}.5" for number in range(3)]
    plain = write(tmp_path, HEADER + "\n".join(lines))
    bare = write(tmp_path, "\n".join(lines), "x_BTCUSDT_bare.csv")
    zipped = tmp_path / "BTCUSDT-1m-2025-01.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        long = [f"{line},{START_MS + 60_000 * number + 59_999},1,2,3,4,0" for number, line in enumerate(lines)]
        archive.writestr("BTCUSDT-1m-2025-01.csv", "\n".join(long))
    packed = tmp_path / "usdm_BTCUSDT_1m.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes().replace(str(START_MS).encode(), b"2025-01-01 00:00:00")))
    body = tmp_path / "BTCUSDT.json"
    body.write_text(
        json.dumps([[int(line.split(",")[0]), *line.split(",")[1:], 0, "0", 1, "0", "0", "0"] for line in lines])
    )
    for path in (plain, bare, zipped, packed, body):
        found = read_file(path)
        assert isinstance(found, BarFile), path.name
        assert (found.symbol, found.interval, found.tick, found.step) == (
            "BTCUSDT",
            "1m",
            Decimal("0.05"),
            Decimal("0.5"),
        )
        assert found.rows[:, :6].tolist() == [[START_MS + 60_000 * n, 210, 212, 202, 205, 11 + 2 * n] for n in range(3)]


def test_funding_rates_are_read_too_and_a_symbol_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, "calc_time,funding_interval_hours,last_funding_rate\n1749744000001,8,1.198e-05\n", "f.csv")
    found = read_file(path, "ETHUSDT")
    assert isinstance(found, FundingFile)
    assert (found.symbol, found.points) == ("ETHUSDT", ((1_749_744_000_001, Decimal("0.00001198")),))


ROW = f"{START_MS},10,11,9,10,5\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no row"),
        (HEADER, "holds no row"),
        (f"open_time_ms,open,high,low,close\n{START_MS},2,3,1,2\n", "no column volume"),
        (HEADER + ROW + ROW, "row 2 does not come after"),
        (HEADER + ROW + f"{START_MS + 61_000},10,11,9,10,5\n", "no interval"),
        (HEADER + f"{START_MS + 1},10,11,9,10,5\n", "full 1m"),
        (HEADER + f"{START_MS},10,9,9,10,5\n", "row 1 has its high or low inside"),
        (HEADER + f"{START_MS},10,11,10,10,0\n", "row 1 moves without volume"),
        (HEADER + f"{START_MS},10,11,9,10,3\n" + f"{START_MS + 60_000},10,10,10,10,1\n", "row 1 has less volume"),
        (HEADER + f"{START_MS},10,11,9,10\n", "cut short"),
        (HEADER + f"{START_MS},ten,11,9,10,5\n", "no number"),
        (HEADER + f"{START_MS},NaN,11,9,10,5\n", "no number"),
        ("1,2,3\n", "no header"),
    ],
)
def test_a_bad_file_is_refused_with_its_row_and_reason(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(BadBars, match=says) as refused:
        read_file(write(tmp_path, text))
    assert "BTCUSDT-1m.csv" in str(refused.value)


def test_a_name_without_a_symbol_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(BadBars, match=r"SYMBOL=bars\.csv"):
        read_file(write(tmp_path, HEADER + ROW, "bars.csv"))


def test_recorded_months_are_rebuilt_from_their_tape_bar_by_bar(data_dir: Path) -> None:
    """Stretches of recorded files: the bar that fell 20 %, and the two in which the venue stood still."""
    for name, begin in (("usdm_ETHUSDT_5m_2025Q1.csv.gz", 9_500), ("usdm_BTCUSDT_5m_2025Q1.csv.gz", 8_000)):
        found = read_file(data_dir / "klines" / name)
        assert isinstance(found, BarFile)
        assert len(found.rows) == 25_920
        stretch = found.rows[begin : begin + 100]
        for line in stretch:
            bar = Bar.flat(int(line[0]), int(line[4]))
            for trade in expand(line, found.step_ms, 7):
                bar.add_trade(trade.price, trade.lots, trade.buyer_is_maker, 0, 0)
            assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == tuple(int(value) for value in line[1:6])
        minutes = minutes_of(found.rows, found.step_ms, 7)
        assert aggregate(minutes, "5m")[:, :6].tolist() == found.rows[:, :6].tolist()
        stands_still = begin == 8_000
        assert (stretch[:, 5] == 0).sum() == (2 if stands_still else 0)
        assert ((stretch[:, 2] / stretch[:, 3]).max() > 1.2) == (not stands_still)
