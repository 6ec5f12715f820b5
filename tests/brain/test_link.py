"""The brain's line over a real socket: answers by errand, an end that is told once, connecting again by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from brain.inputs import Answered, Ask, Connected, Disconnected, Errand, Input
from brain.shell.link import HISTORY_SUBJECTS, Link
from ipc import client, events, wire
from ipc.errors import IpcError
from tests.ipc.gateway_double import Double, echo
from tests.waiting import wait_until


@pytest.fixture
def double(run_dir: Path) -> Iterator[Double]:
    with Double(run_dir / "main.sock") as each:
        yield each


@pytest.fixture
def link(double: Double) -> Iterator[Link]:
    each = Link(double.path)
    assert each.inputs() == [Connected()]
    yield each
    each.close()


def until(link: Link, count: int) -> list[Input]:
    got: list[Input] = []

    def enough() -> bool:
        got.extend(link.inputs())
        return len(got) >= count

    wait_until(enough, 5, f"{count} inputs")
    return got


def test_each_answer_comes_back_with_what_it_was_for(double: Double, link: Link) -> None:
    errands = [Errand("ping"), Errand("place", ("r1", 1)), Errand("cancel", ("r1", 1))]
    for errand in errands:
        link.send(Ask(errand, wire.Ping(id=0)))
    got = until(link, 3)
    assert [each.errand for each in got if isinstance(each, Answered)] == errands


def test_an_end_is_told_once_then_it_connects_again(double: Double, link: Link) -> None:
    double.hang_up()
    first = until(link, 1)
    assert [type(each) for each in first] == [Disconnected]
    assert [type(each) for each in until(link, 1)] == [Connected]
    link.send(Ask(Errand("ping"), wire.Ping(id=0)))
    assert [type(each) for each in until(link, 1)] == [Answered]


def test_what_was_asked_on_the_old_connection_is_not_taken_for_an_answer_on_the_new(double: Double, link: Link) -> None:
    double.reply = lambda _request: b""
    link.send(Ask(Errand("place", ("r1", 1)), wire.Ping(id=0)))
    wait_until(lambda: double.requests, 2, "the request")
    double.hang_up()
    assert [type(each) for each in until(link, 2)] == [Disconnected, Connected]
    double.reply = echo
    double.say(wire.encode(wire.Answer(id=1, ok=True)))
    link.send(Ask(Errand("ping"), wire.Ping(id=0)))
    assert [each.errand for each in until(link, 1) if isinstance(each, Answered)] == [Errand("ping")]


def test_nobody_there_is_a_problem_with_a_name_and_no_input(run_dir: Path) -> None:
    link = Link(run_dir / "main.sock")
    assert link.inputs() == [] and "main.sock" in link.problem
    link.send(Ask(Errand("ping"), wire.Ping(id=0)))
    assert link.filenos() == []
    with Double(run_dir / "main.sock"):
        assert [type(each) for each in until(link, 1)] == [Connected]
        assert link.problem == ""
    link.close()


def test_a_gateway_that_answers_nothing_for_long_is_hung_up(
    double: Double, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_IN_FLIGHT", 5)
    double.reply = lambda _request: b""
    for _ in range(6):
        link.send(Ask(Errand("ping"), wire.Ping(id=0)))
    assert [type(each) for each in until(link, 2)] == [Disconnected, Connected]


@pytest.mark.parametrize("paged", [True, False])
def test_history_asks_for_what_a_brain_lives_on(double: Double, link: Link, paged: bool) -> None:
    event = events.Event(seq=7, at_ns=1, subject="order.filled", source="gateway", data={"x": "1"})
    rows = [msgspec.to_builtins(event)]
    result = {"events": rows} if paged else rows
    double.reply = lambda request: wire.encode(wire.Answer(id=request.id, ok=True, result=result))
    assert link.history(6, 500) == [event]
    assert double.requests == [wire.EventsQuery(id=1, after=6, limit=500, subjects=HISTORY_SUBJECTS)]


def test_history_follows_pages_that_a_full_line_ended(double: Double, link: Link) -> None:
    """A page holds as many events as fit a line, so a short one is not the last; what lies behind it would be lost."""
    journal = [
        events.Event(seq=seq, at_ns=1, subject="order.filled", source="venue", data={"x": "y" * 500})
        for seq in range(1, 301)
    ]

    def page(request: wire.Request) -> bytes:
        assert isinstance(request, wire.EventsQuery)
        rest = [event for event in journal if event.seq > request.after]
        rows = rest[: min(request.limit, 80)]
        more = len(rest) > len(rows)
        next_ = str(rows[-1].seq) if more else None
        result = [msgspec.to_builtins(event) for event in rows]
        return wire.encode(wire.Answer(id=request.id, ok=True, result=result, next=next_))

    double.reply = page
    assert link.history(10, 500) == journal[10:]
    assert link.history(10, 100) == journal[10:110], "no more than asked for"


def test_history_without_an_answer_raises_soon(double: Double, link: Link) -> None:
    double.reply = lambda _request: b""
    with pytest.raises(IpcError, match=r"gateway\.unreachable"):
        link.history(0, 10)
