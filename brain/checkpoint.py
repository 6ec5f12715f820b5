"""What survives a crash of the brain: plain structs and their encoding. Pure; the file is `brain.shell.checkpoint`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from brain.closing import Closing
from brain.records import Record

VERSION = 1


class Meta(Struct, kw_only=True):
    """`run` and `next_seq` name the next intent. `last_event`: everything up to it has been handled (None before the
    first hello). `bars_seen` maps `SYMBOL:interval` to the newest bar handed to the strategy."""

    v: int = VERSION
    strategy: str
    run: str
    next_seq: int = 1
    last_event: int | None = None
    closings: dict[str, Closing] = {}
    bars_seen: dict[str, int] = {}


class Checkpoint(Struct, kw_only=True):
    """`fresh`: made just now, no earlier process had it."""

    meta: Meta
    state: dict[str, Any] = {}
    records: list[Record] = []
    fresh: bool = False


_encoder = msgspec.json.Encoder()
_meta_decoder = msgspec.json.Decoder(Meta)
_state_decoder: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


def run_name(now_ms: int, after: str | None = None) -> str:
    """`r<ms>`, newer than `after` even if the clock went back."""
    least = int(after[1:]) + 1 if after else 0
    return f"r{max(now_ms, least)}"


def encode_meta(meta: Meta) -> bytes:
    return _encoder.encode(meta)


def decode_meta(raw: bytes) -> Meta:
    return _meta_decoder.decode(raw)


def encode_state(state: dict[str, Any]) -> bytes:
    """Raises TypeError where a strategy put in what JSON cannot hold."""
    return _encoder.encode(state)


def decode_state(raw: bytes) -> dict[str, Any]:
    return _state_decoder.decode(raw)
