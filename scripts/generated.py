"""A page under `docs/` that is written from the code: `python -m scripts.<name>` writes it, `--check` compares."""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.exits import DONE, FAILED

DOCS = Path(__file__).resolve().parent.parent / "docs"


def keep(page: Path, text: str, module: str, argv: list[str] | None) -> int:
    """The exit code: with `--check` nothing is written, and 1 means that the page is out of date."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=f"Generate docs/{page.name}.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when it is out of date")
    check = parser.parse_args(argv).check
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return DONE
    if check:
        print(f"{page.name} is out of date: run python -m {module}")
        return FAILED
    page.write_text(text, encoding="utf-8")
    print(f"{page.name} written")
    return DONE
