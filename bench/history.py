"""Results with a history: one JSON line a run in `bench/history.jsonl`. The machine is described, never named."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent / "history.jsonl"


def append(bench: str, results: dict[str, Any]) -> None:
    record = {
        "bench": bench,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{os.cpu_count()} cores {platform.machine()}",
        "python": platform.python_version(),
        "results": results,
    }
    with FILE.open("a", encoding="utf-8") as out:
        out.write(json.dumps(record) + "\n")
