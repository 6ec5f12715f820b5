"""What may be set about market data and connections; defaults are the design's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """Times in milliseconds. Every bound names what happens at it, where it is used. `check_every_ms` 0: never."""

    depth_speed: str = "100ms"
    top: int = 20
    snapshot_limit: int = 1000
    snapshot_spacing_ms: int = 100
    snapshots_in_flight: int = 4
    snapshot_grace_ms: int = 1_000
    snapshot_lost_ms: int = 30_000
    backoff_first_ms: int = 250
    backoff_max_ms: int = 30_000
    max_buffered: int = 4_000
    max_buffered_levels: int = 200_000
    refresh_margin: int = 500
    refresh_every_ms: int = 10_000
    check_every_ms: int = 600_000
    first_message_ms: int = 5_000
    depth_silence_ms: int = 10_000
    compare_grace_ms: int = 1_000
    compare_levels: int = 20
    unproven_ms: int = 10_000
    mark_silence_ms: int = 5_000
    history_bars: int = 1_000
    memory_bars: int = 5_000
    slice_bars: int = 600
    bar_overdue_ms: int = 2_500
    info_every_ms: int = 1_800_000
    max_symbols: int = 200


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Reconnects back off from `backoff_first_ms`, doubling, with jitter, to `backoff_max_ms`; `attempts_per_minute`
    over all connections is the budget against storms: at it, the next attempt waits until one leaves the window."""

    first_frame_ms: int = 5_000
    probe_after_ms: int = 3_000
    private_probe_after_ms: int = 15_000
    probe_answer_ms: int = 5_000
    connect_timeout_ms: int = 15_000
    backoff_first_ms: int = 250
    backoff_max_ms: int = 30_000
    stable_after_ms: int = 10_000
    attempts_per_minute: int = 40
    max_age_ms: int = 23 * 3_600_000
    max_age_jitter_ms: int = 1_800_000
    handover_ms: int = 30_000
    renew_key_ms: int = 1_800_000
    key_dead_ms: int = 3_300_000
    clock_every_ms: int = 300_000
    clock_samples: int = 5
    streams_in_url: int = 50
    streams_per_command: int = 50
    streams_max: int = 1_000
    commands_per_second: int = 4
