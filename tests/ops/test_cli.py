"""The command lines: stable exit codes, every fault by path, nothing secret printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.client import Client
from ipc.wire import Answer, EventsQuery
from scripts import brainstem, events, status, test_balance, test_order
from scripts.uplock import AlreadyUp, UpLock, holder

REPO = Path(__file__).parents[2]


def config(folder: Path, **document: Any) -> str:
    path = folder / "config.json"
    dirs = {"state_dir": str(folder / "state"), "run_dir": str(folder)}
    path.write_text(json.dumps({**dirs, **document}), encoding="utf-8")
    return str(path)


class TestConfigCheck:
    def check(self, path: str, *more: str) -> int:
        return brainstem.main(["config", "check", "--config", path, *more])

    def test_the_shipped_file_is_well(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.check(str(REPO / "config.json")) == 0
        assert "ok (environment simex)" in capsys.readouterr().out

    def test_faults_of_every_section_are_told_at_once(self, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = config(
            run_dir,
            log={"level": "loud"},
            redis={"url": "http://x"},
            supervisor={"max_restarts": -1},
            gateway={"lease": 1},
            brain={"poll_ms": 0},
            accounts={"main": {"leverag": 3}},
            brains=[
                {"strategy": "mcd", "symbols": ["BTCUSDT"]},
                {"strategy": "macd", "symbols": ["BNBUSDT"], "params": {"fats": 8}},
                {"strategy": "obi", "symbols": ["ETHUSDT"], "account": "other"},
            ],
        )
        assert self.check(path, "--json") == 2
        found = {fault["path"] for fault in json.loads(capsys.readouterr().out)["faults"]}
        assert found == {
            "log.level", "redis.url", "supervisor.max_restarts", "gateway.lease", "brain.poll_ms",
            "accounts.main.leverag", "brains[0].strategy", "brains[1].params.fats", "brains[2].account",
        }  # fmt: skip

    def test_a_brain_of_a_wrong_shape_hides_no_fault_of_a_strategy(
        self, run_dir: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = config(
            run_dir,
            brains=[
                {"strategy": "macd", "symbol": "BTCUSDT", "params": {"fats": 8}},
                {"strategy": "mcd", "symbols": []},
                {"strategy": "macd", "symbols": ["BNBUSDT"], "params": [8]},
                {"strategy": 5, "symbols": ["ETHUSDT"], "params": {"any": 1}},
                "macd",
                {"strategy": "obi", "symbols": ["ETHUSDT"], "params": {"depth": "deep"}},
            ],
        )
        assert self.check(path, "--json") == 2
        found = {fault["path"] for fault in json.loads(capsys.readouterr().out)["faults"]}
        assert found >= {
            "brains[0].symbol", "brains[0].symbols", "brains[0].params.fats", "brains[1].symbols",
            "brains[1].strategy", "brains[2].params", "brains[3].strategy", "brains[4]", "brains[5].params.depth",
        }  # fmt: skip

    def test_show_hides_secrets(self, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = config(
            run_dir,
            environment="testnet",
            accounts={"main": {"api_key": "key-of-the-test", "api_secret": "secret-of-the-test"}},
            redis={"url": "redis://:password-of-the-test@h/0"},
        )
        assert self.check(path, "--show") == 0
        captured = capsys.readouterr()
        assert "of-the-test" not in captured.out + captured.err
        assert json.loads(captured.out)["accounts"]["main"]["api_key"] == "***"
        assert "accounts.main.api_key" in captured.err

    def test_a_missing_file_is_a_usage_fault(self, run_dir: Path) -> None:
        assert self.check(str(run_dir / "none.json")) == 2


@pytest.mark.parametrize(
    "words",
    [["status"], ["flatten"], ["risk", "state"], ["events"], ["top", "--once"], ["down"]],
    ids=lambda words: str(words[0]),
)
def test_nobody_there_is_exit_3(run_dir: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert brainstem.main([*words, "--config", config(run_dir)]) == 3
    assert capsys.readouterr().err


def test_the_order_and_balance_tools_say_so_too(run_dir: Path) -> None:
    path = config(run_dir)
    assert test_order.main(["--config", path, "--symbol", "BTCUSDT"]) == 3
    assert test_balance.main(["--config", path]) == 3


@pytest.mark.parametrize(
    "words",
    [
        [], ["nonsense"], ["risk"], ["risk", "explode"], ["status", "--nonsense"], ["events", "--last", "0"],
        ["events", "--last", "-3"], ["events", "--after", "-1"], ["events", "--after", "x"],
        ["flatten", "--timeout", "nan"], ["flatten", "--timeout", "-1"],
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        brainstem.main(words)
    assert error.value.code == 2


@pytest.mark.parametrize("qty", ["abc", "NaN", "1e30", "-1", "0", "0.0", "inf", "", "1" * 31, "1_000"])
def test_a_quantity_that_is_none_is_exit_2(qty: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        test_order.main(["--symbol", "BTCUSDT", "--qty", qty])
    assert error.value.code == 2
    assert "is no quantity" in capsys.readouterr().err


def test_an_account_or_a_subject_that_is_none_is_named(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(run_dir, accounts={"main": {"symbols": ["BTCUSDT"]}})
    assert brainstem.main(["status", "--config", path, "--account", "mian"]) == 2
    assert "Did you mean main?" in capsys.readouterr().err
    assert brainstem.main(["events", "--config", path, "--filter", "order.filed"]) == 2
    assert "Did you mean order.filled" in capsys.readouterr().err
    for good in ("order.filled", "order.*", "*"):
        assert brainstem.main(["events", "--config", path, "--filter", good]) == 3
        assert "brainstem up --detach" in capsys.readouterr().err


class Journal:
    """Answers event queries in pages as a gateway may: never longer than asked for, often shorter."""

    def __init__(self, subjects: list[str], page: int) -> None:
        self.events = [{"seq": seq, "subject": subject} for seq, subject in enumerate(subjects, 1)]
        self.page = page

    def ask(self, query: EventsQuery) -> Answer:
        found = [event for event in self.events if event["seq"] > query.after and event["subject"] in query.subjects]  # type: ignore[operator]
        page = found[: min(self.page, query.limit)]
        more = str(page[-1]["seq"]) if len(page) < len(found) else None
        return Answer(id=0, ok=True, result={"events": page}, next=more)


@given(
    subjects=st.lists(st.sampled_from(["a", "b"]), max_size=80),
    page=st.integers(1, 10),
    count=st.integers(1, 20),
)
def test_the_last_events_are_the_last_of_those_asked_for(subjects: list[str], page: int, count: int) -> None:
    journal = Journal(subjects, page)
    wanted = [event for event in journal.events if event["subject"] == "a"]
    client = cast(Client, journal)
    assert list(events._pages(client, ["a"], 0)) == wanted
    assert list(events._last(client, ["a"], count, len(subjects))) == wanted[-count:]


def test_status_says_where_brains_see_nothing() -> None:
    held = {"ready": True, "account": "main"}
    assert "Redis is NOT reached" in status.text({**held, "counters": {"store_up": 0}})
    for well in ({**held, "counters": {"store_up": 1}}, {**held, "counters": {}}, held):
        assert "Redis" not in status.text(well)


class TestUp:
    def test_a_second_one_of_the_same_state_is_exit_2(self, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = config(run_dir)
        (run_dir / "state").mkdir()
        with UpLock.take(run_dir / "state"):
            assert brainstem.main(["up", "--config", path]) == 2
        assert f"already up (pid {os.getpid()})" in capsys.readouterr().err

    def test_the_lock_goes_with_its_holder(self, tmp_path: Path) -> None:
        assert holder(tmp_path) is None
        with UpLock.take(tmp_path):
            assert holder(tmp_path) == os.getpid()
            with pytest.raises(AlreadyUp):
                UpLock.take(tmp_path)
        assert holder(tmp_path) is None

    @pytest.mark.parametrize(
        "document",
        [
            {"brains": [{"strategy": "obi", "symbols": ["X"], "account": "none"}]},
            {"brains": [{"strategy": "obi", "symbols": ["X"]}, {"strategy": "obi", "symbols": ["X"]}]},
            {"brains": [{"strategy": "obi", "symbols": ["X"]}, {"strategy": "macd", "symbols": ["Y", "X"]}]},
            {"brains": [{"strategy": "mcd", "symbols": ["X"]}]},
            {"brains": [{"strategy": "nowhere.py", "symbols": ["X"]}]},
            {"brains": [{"strategy": "obi", "symbols": ["btc/usdt"]}]},
            {"accounts": {"main": {"symbols": ["BTC-USDT"]}}},
        ],
        ids=["account", "name", "symbol", "strategy", "file", "no symbol", "no account's symbol"],
    )
    def test_what_cannot_run_is_refused_before_anything_starts(self, run_dir: Path, document: dict[str, Any]) -> None:
        assert brainstem.main(["up", "--config", config(run_dir, **document)]) == 2
        assert not (run_dir / "redis.sock").exists()
        assert not (run_dir / "state" / "logs").exists()

    def test_without_a_file_there_is_nothing_to_run(self, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(run_dir)
        assert brainstem.main(["up"]) == 2


def test_starting_a_light_command_imports_nothing_heavy(run_dir: Path) -> None:
    """pandas, numpy and rich take longer than the command itself."""
    code = (
        "import sys; from scripts import brainstem; "
        f"brainstem.main(['status', '--config', {config(run_dir)!r}]); "
        "print(sorted({'pandas', 'numpy', 'aiohttp', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout.strip() == "[]"
