"""Where the recorded market data lies: `BRAINSTEM_DATA`, else a `shared/data` folder beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def data_dir() -> Path | None:
    """The folder of recordings, or None where this machine has none."""
    given = os.environ.get("BRAINSTEM_DATA")
    path = Path(given) if given else ROOT.parent / "shared" / "data"
    return path if path.is_dir() else None
