"""The long form of the campaign, by command."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from simex.server.chaos.kinds import FAMILIES
from tests.proof.campaign.report import text, write
from tests.proof.campaign.run import Campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--families", default=",".join(FAMILIES), help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--keep", type=Path, help="a folder for journals, logs and the tape (default: thrown away)")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/guarantees.md")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bs-") as run, tempfile.TemporaryDirectory(prefix="bs-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(folder, Path(run), options.seed, tuple(options.families.split(",")))
        figures = campaign.run(options.minutes * 60)
    print(text(figures))
    if options.write:
        write(figures)
    return int(figures.hands > 0)


if __name__ == "__main__":
    sys.exit(main())
