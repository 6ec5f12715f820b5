"""Figures of the order path, with the design's defaults. All times in ms. Tests shorten them."""

from __future__ import annotations

from dataclasses import dataclass, field

from rules.risk import Limits


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """`question_ms`: when an unknown order is asked for, counted from the doubt; then every last step, later every
    `question_slow_ms`. `answer_within_ms` leaves some of the 2 s for the way back."""

    limits: Limits = field(default_factory=Limits)
    recv_window_ms: int = 5_000
    answer_within_ms: int = 1_900
    entry_deadline_ms: int = 1_000
    entry_attempts: int = 5
    retry_ms: tuple[int, ...] = (200, 400, 800)
    close_retry_max_ms: int = 1_000
    question_ms: tuple[int, ...] = (200, 500, 1_000, 2_000, 5_000)
    question_every_ms: int = 5_000
    question_slow_ms: int = 15_000
    question_slow_after_ms: int = 60_000
    proof_misses: int = 3
    proof_span_ms: int = 5_000
    proof_margin_ms: int = 1_000
    forgotten_after_ms: int = 3 * 24 * 3_600_000
    silence_ms: int = 2_000  # an order or cancel without any answer for so long is unknown
    taker_silence_ms: int = 1_000
    fills_grace_ms: int = 500
    second_exit_after_ms: int = 2_000
    holdback_ms: int = 2_000
    cancel_retry_ms: tuple[int, ...] = (200, 400, 800, 1_000)
    cancel_refused_retry_ms: int = 5_000
    flatten_first_ms: int = 100
    flatten_max_ms: int = 1_000
    flatten_on_stop: bool = False
    intents_kept: int = 5_000
    closed_kept: int = 10_000
    waiters_kept: int = 10_000
