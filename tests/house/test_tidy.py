"""House rules too odd for a linter, as tests over the source. Each names the file and what to do."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("ipc", "rules", "gateway", "brain", "simex", "scripts")
LINES_MAX = 400
FUNCTION_LINES_MAX = 70


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from sorted((ROOT / room).rglob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_files_have_one_job() -> None:
    long = {
        relative(path): count
        for path in sources(*ROOMS)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }
    assert long == {}, f"split by job: {long}"


def test_functions_fit_a_screen() -> None:
    long: list[str] = []
    for path in sources(*ROOMS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{relative(path)}:{node.lineno} {node.name} has {lines} lines")
    assert long == []


def test_every_queue_has_a_size() -> None:
    unbounded: list[str] = []
    for path in sources(*ROOMS):
        for call, name in calls(ast.parse(path.read_text(encoding="utf-8"))):
            if name in ("asyncio.Queue", "queue.Queue", "Queue") and not (call.args or call.keywords):
                unbounded.append(f"{relative(path)}:{call.lineno}")
    assert unbounded == [], "give the queue a maxsize and say what happens at it"


def test_no_bare_sleep_in_tests() -> None:
    """Waiting is for a condition, with a deadline; `asyncio.sleep(0)` and the wait helpers themselves are allowed
    (`judging.py` is one for clients in environments of their own)."""
    bare: list[str] = []
    for path in sources("tests"):
        for call, name in calls(ast.parse(path.read_text(encoding="utf-8"))):
            zero = bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
            if name in ("time.sleep", "asyncio.sleep") and not zero and path.name not in ("waiting.py", "judging.py"):
                bare.append(f"{relative(path)}:{call.lineno}")
    assert bare == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|NotImplemented" + r"Error")
    found = [
        f"{relative(path)}:{number}"
        for path in sources(*ROOMS, "tests")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


def test_the_core_and_the_shell_name_no_exchange() -> None:
    """Paths, headers, error codes and names of an exchange end at its adapter under `gateway/venues/`."""
    words = re.compile(r"\bfapi\b|x-mbx|binance|(?<![0-9a-z])-[1-5][0-9]{3}\b", re.IGNORECASE)
    found = [
        f"{relative(path)}:{number}"
        for path in (
            *sources("gateway/core", "gateway/shell"),
            ROOT / "gateway" / "app.py",
            ROOT / "gateway" / "settings.py",
        )
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []


def test_no_error_is_swallowed() -> None:
    silent: list[str] = []
    for path in sources(*ROOMS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                only_pass = all(isinstance(item, ast.Pass) for item in node.body)
                broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
                if only_pass and broad:
                    silent.append(f"{relative(path)}:{node.lineno}")
    assert silent == []


def test_money_is_never_a_float_in_the_contract() -> None:
    """Fields of messages and slices are text or integers; floats are for latencies and clock offsets only."""
    allowed = {"clock_offset_ms", "latency_us"}
    found: list[str] = []
    for name in ("wire", "slices", "events"):
        tree = ast.parse((ROOT / "ipc" / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign) and "float" in ast.unparse(node.annotation):
                field = ast.unparse(node.target)
                if field not in allowed:
                    found.append(f"ipc/{name}.py:{node.lineno} {field}")
    assert found == []


def test_no_machine_or_index_is_named() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    if tracked == [""]:
        pytest.skip("not a git checkout")
    words = re.compile(
        "|".join(["py" + r"pi\.org", "python" + "hosted", r"registry\.np" + "mjs", "/wo" + "rk/main", "/ro" + "ot/"])
    )
    found = []
    for name in filter(None, tracked):
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 1_000_000:
            text = path.read_text(encoding="utf-8", errors="replace")
            if words.search(text):
                found.append(name)
    assert found == []
