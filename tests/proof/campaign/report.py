"""The figures of a campaign as text."""

from __future__ import annotations

import datetime
from pathlib import Path

from tests.proof.campaign.run import Figures

PAGE = Path(__file__).parents[3] / "docs" / "guarantees.md"
BEGIN, END = "<!-- campaign: begin -->", "<!-- campaign: end -->"
WARM_UP_S = 600.0


def quantile(sorted_values: list[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    return sorted_values[min(len(sorted_values) - 1, max(0, -int(-share * len(sorted_values) // 1) - 1))]


def growth_percent_per_hour(samples: list[tuple[float, int]]) -> float | None:
    """Of resident memory after ten minutes, by the medians of the first and the last fifth; None: too short."""
    late = [(at_s, kib) for at_s, kib in samples if at_s - samples[0][0] >= WARM_UP_S]
    if len(late) < 10:
        return None
    fifth = max(1, len(late) // 5)
    first, last = late[:fifth], late[-fifth:]
    middle = [sorted(kib for _, kib in part)[len(part) // 2] for part in (first, last)]
    hours = (last[len(last) // 2][0] - first[len(first) // 2][0]) / 3600
    return (middle[1] / middle[0] - 1) * 100 / hours


def text(figures: Figures) -> str:
    """A table."""
    times = figures.all_recoveries_s()
    lines = [
        "| What | Figure |",
        "|---|---|",
        f"| seed | {figures.seed} |",
        f"| minutes | {figures.minutes:.1f} |",
        f"| faults alone; storms | {sum(figures.faults.values())} of {len(figures.faults)} kinds; {figures.storms} |",
        f"| different live books shown, all compared; wrong | {figures.books.judged}; {len(figures.books.wrong)} |",
        f"| intents; fills, each told once | {figures.intents}; {figures.fills} |",
    ]
    if times:
        shown = ", ".join(f"{name} {quantile(times, share):.2f} s" for name, share in (("p50", 0.5), ("p99", 0.99)))
        lines.append(f"| ready again after a fault's end | {shown}, longest {times[-1]:.2f} s |")
        worst = ", ".join(f"{kind} {time_s:.2f} s" for time_s, kind in figures.worst())
        lines.append(f"| longest by kind | {worst} |")
    if figures.trading_s:
        lines.append(f"| every brain trades again after a storm | longest {max(figures.trading_s):.1f} s |")
        lines.append(f"| a person had to resume a brain | {figures.hands} times |")
    for name, samples in figures.memory_kib.items():
        grown = growth_percent_per_hour(samples)
        shown = "too short to say" if grown is None else f"{grown:+.2f} % an hour"
        lines.append(f"| memory of {name} | {samples[-1][1] / 1024:.0f} MiB, {shown} |")
    return "\n".join(lines)


def write(figures: Figures, page: Path = PAGE) -> None:
    """Put the figures between their marks."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    day = datetime.datetime.now(datetime.UTC).date()
    page.write_text(f"{before}{BEGIN}\nMeasured on {day}:\n\n{text(figures)}\n{END}{after}", encoding="utf-8")
