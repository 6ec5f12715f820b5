"""Strategies of one's own, by file: what loads, and what is said of a file that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from brain.settings import default_name
from brain.strategies import find
from ipc.faults import ConfigError

ROOT = Path(__file__).parents[2]
ONE = "from brain.api import Strategy\nclass Mine(Strategy):\n    help = 'own'\n"


def fault(name: str, folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        find(name, "brains[0].strategy", (folder,))
    return str(caught.value)


def test_the_example_of_the_documentation_loads(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    (tmp_path / "drift.py").write_text(example, encoding="utf-8")
    kind = find("drift.py", folders=(tmp_path,))
    assert (kind.__name__, kind.name) == ("DriftStrategy", "drift")
    assert kind(kind.parameters()).params == kind.parameters()


def test_a_class_without_a_name_takes_its_files(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ONE)
    assert find("mine.py", folders=(tmp_path / "absent", tmp_path)).name == "mine"
    assert default_name(str(tmp_path / "mine.py:Mine"), ["BTCUSDT"]) == "mine-BTCUSDT"


def test_one_of_several_is_named(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(ONE + "class Other(Strategy):\n    pass\n")
    assert find("two.py:Other", folders=(tmp_path,)).__name__ == "Other"
    assert "several: Mine, Other" in fault("two.py", tmp_path)
    assert "no strategy class Third" in fault("two.py:Third", tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1\n", "no strategy class"),
        ("from brain.api import Strategy\n", "no strategy class"),  # an imported one is not the file's own
        ("\n1 / 0\n", "bad.py:2"),
        ("1 / 0\n", "raised ZeroDivisionError"),
        ("def broken(:\n", "raised SyntaxError"),
        ("\n\ndef broken(:\n", "bad.py:3"),
        ("raise SystemExit('enough')\n", "raised SystemExit: enough"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(content)
    text = fault("bad.py", tmp_path)
    assert said in text
    assert "brains[0].strategy" in text


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    assert str(tmp_path) in fault("nowhere.py", tmp_path)
