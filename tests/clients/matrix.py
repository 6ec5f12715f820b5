"""Other people's clients, unmodified, each in its own environment, against a fresh simex each: the matrix of verdicts.

python -m tests.clients.matrix                  all clients, as a table
python -m tests.clients.matrix --write          the same, and docs/simex.md gets the table
python -m tests.clients.matrix --only ccxt,sdk  some of them
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.environment import ROOT, client_python
from tests.clients.judging import CASES
from tests.simex.running import running

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "simex.md"
BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"
CLIENTS = ("ccxt", "sdk", "freqtrade")
JUDGE_S = 600.0


@dataclass(frozen=True)
class Report:
    """What a judge said: verdicts by case, what it saw there, and its error output."""

    client: str
    version: str
    verdicts: dict[str, str]
    seen: dict[str, Any]
    stderr: str


def judged(name: str, rest: str, ws: str) -> Report:
    """Run one client's judge in its own environment."""
    command = [str(client_python(name)), str(HERE / f"{name}_judge.py"), rest, ws]
    done = subprocess.run(command, capture_output=True, text=True, timeout=JUDGE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"the judge of {name} ended with {done.returncode}: {done.stderr[-3000:]}")
    said = json.loads(done.stdout)
    return Report(said["client"], said["version"], said["verdicts"], said["seen"], done.stderr)


def table(reports: list[Report]) -> str:
    heads = [f"{one.client} {one.version}" for one in reports]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---|" * len(reports)]
    for case in CASES:
        cells = [one.verdicts[case] for one in reports]
        lines.append(f"| {case} | " + " | ".join(cell if cell in ("ok", "-") else "FAILED" for cell in cells) + " |")
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the table between its marks."""
    old = page.read_text(encoding="utf-8")
    before, rest = old.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CLIENTS), help=f"of {', '.join(CLIENTS)}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--write", action="store_true", help="put the table into docs/simex.md")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    reports = []
    for name in options.only.split(","):
        with running("--seed", str(options.seed), "--symbols", "BTCUSDT,ETHUSDT") as simex:
            reports.append(judged(name, simex.rest, simex.ws))
        for case, verdict in reports[-1].verdicts.items():
            if verdict not in ("ok", "-"):
                print(f"{name}: {case}: {verdict}", file=sys.stderr)
    print(table(reports))
    if options.write:
        write(PAGE, table(reports))
    return int(any(verdict not in ("ok", "-") for one in reports for verdict in one.verdicts.values()))


if __name__ == "__main__":
    sys.exit(main())
