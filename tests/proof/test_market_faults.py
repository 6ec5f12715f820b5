"""Recorded sessions with messages dropped, duplicated, swapped or cut, at every place of each: a book served as `live`
is exact at its own `u`, and it comes back to `live` by itself before the next fault."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.proof.market_chains import DEEP, FAULTS, SHALLOW, SPACING, Chain, Exchange
from tests.proof.market_recordings import CRYPTOFEED_SYMBOLS, USDM_FILES, Session, load_cryptofeed, load_depth_binance

pytestmark = pytest.mark.recordings


BEFORE, AFTER = 2, 6  # messages around a place that needs a deep book of its own


def prove(session: Session, seed: int, firsts: Sequence[int] = range(SPACING)) -> None:
    """Every fault at every message of the session that another one follows; of each `SPACING`, those of `firsts`."""
    exchange = Exchange(session)
    dice = random.Random(seed)
    last = len(exchange.frames) - 1
    chains = [
        Chain(exchange, session.speed, fault, range(first, last, SPACING), SHALLOW, dice)
        for fault in FAULTS
        for first in firsts
    ]
    while exchange.sent <= last:
        frame = exchange.send()
        for chain in chains:
            chain.take(frame)
    for chain in chains:
        chain.end()
    left = {(chain.fault, place) for chain in chains for place in chain.shallow}
    chains += prove_each(session, left, dice)
    wanted = [place for place in range(last) if place % SPACING in firsts]
    print(f"{session.symbol}: {len(FAULTS)} faults at {len(wanted)} places, {len(left)} with a deep book of their own")
    for fault in FAULTS:
        proven = sorted(place for chain in chains if chain.fault == fault for place in chain.proven)
        assert proven == wanted, f"{fault}: not every place once"


def prove_each(session: Session, cases: set[tuple[str, int]], dice: random.Random) -> list[Chain]:
    """Each case on a new market core, from a deep snapshot shortly before its place."""
    exchange = Exchange(session)
    done: list[Chain] = []
    running: list[tuple[int, Chain]] = []
    for index in range(len(exchange.frames)) if cases else ():
        for fault, place in sorted(cases):
            if max(place - BEFORE, 0) == index:
                chain = Chain(exchange, session.speed, fault, (place,), DEEP, dice)
                running.append((min(place + AFTER, len(exchange.frames) - 1), chain))
        frame = exchange.send()
        for until, chain in running:
            chain.take(frame)
            if until == index:
                chain.end()
                done.append(chain)
        running = [(until, chain) for until, chain in running if until > index]
    return done


@pytest.mark.parametrize("symbol", CRYPTOFEED_SYMBOLS)
def test_every_place_of_the_small_sessions(data_dir: Path, seed: int, symbol: str) -> None:
    prove(load_cryptofeed(data_dir)[symbol], seed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("firsts", [range(SPACING // 2), range(SPACING // 2, SPACING)], ids=["half", "other half"])
@pytest.mark.parametrize("name", USDM_FILES)
def test_every_place_of_the_large_sessions(data_dir: Path, seed: int, name: str, firsts: range) -> None:
    prove(load_depth_binance(data_dir, name), seed, firsts)
