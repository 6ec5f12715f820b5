"""What is wrong with a connection by now: its deadlines, and the proof that it lives. Pure; `Links` acts on it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from gateway.core.inputs import Now
from gateway.core.link_lines import Family, Line
from gateway.core.market_settings import LinkSettings

_MS = 1_000_000


class Finding(NamedTuple):
    """`send`: commands that wait may go. `mute`: no first message, `about` names a stream. `ask`: send a ping.
    `end`: give the connection up, `about` says why."""

    what: Literal["send", "mute", "ask", "end"]
    about: str = ""
    silent_ms: int = 0


def look(now: Now, family: Family, line: Line, settings: LinkSettings) -> list[Finding]:
    """In the order to act in; after an `end` nothing follows. Marks the line as warned and probed."""
    if line is family.going:
        return [Finding("end", "replaced")] if now.boot_ns >= family.going_ns else []
    if line.opened_ns is None:
        late = now.boot_ns - line.started_ns > settings.connect_timeout_ms * _MS
        return [Finding("end", "the handshake took too long")] if late else []
    found = [Finding("send")]
    if family.name != "private" and line.data_ns is None and line is family.active:
        found += _first_message(family, line, (now.boot_ns - line.opened_ns) // _MS, settings)
        if found[-1].what == "end":
            return found
    return found + _life(now, family, line, settings)


def _first_message(family: Family, line: Line, mute_ms: int, settings: LinkSettings) -> list[Finding]:
    if mute_ms > settings.first_frame_ms and not line.warned:
        line.warned = True
        mute = Finding("mute", family.streams[0] if family.streams else family.name, mute_ms)
        if family.name == "market":  # mark prices come every second: silence there is no quiet market
            return [mute, Finding("end", "no first message: wrong route or unknown streams")]
        return [mute]
    if mute_ms > 6 * settings.first_frame_ms:
        return [Finding("end", "no message at all: wrong route or unknown streams")]
    return []


def _life(now: Now, family: Family, line: Line, settings: LinkSettings) -> list[Finding]:
    """Every frame or pong is a sign of life; without one for a while a ping is sent, which must be answered."""
    if line.probed_ns is not None and line.life_ns >= line.probed_ns:
        line.probed_ns = None
    if line.probed_ns is not None:
        late = now.boot_ns - line.probed_ns > settings.probe_answer_ms * _MS
        return [Finding("end", "no sign of life, no answer to a ping")] if late else []
    after_ms = settings.private_probe_after_ms if family.name == "private" else settings.probe_after_ms
    if now.boot_ns - line.life_ns >= after_ms * _MS:
        line.probed_ns = now.boot_ns
        return [Finding("ask")]
    return []
