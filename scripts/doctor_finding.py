"""One thing `brainstem doctor` found: how bad it is, what, where, and the next step."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["ok", "note", "warn", "fail"]


class Finding(NamedTuple):
    """`check` names the test; `where` is a path, a setting or an address. `absent`: a fail because nobody answers."""

    severity: Severity
    check: str
    what: str
    where: str = ""
    next: str = ""
    absent: bool = False


def ok(check: str, what: str, where: str = "") -> Finding:
    return Finding("ok", check, what, where)


def note(check: str, what: str, where: str = "", next: str = "") -> Finding:
    return Finding("note", check, what, where, next)


def warn(check: str, what: str, where: str, next: str) -> Finding:
    return Finding("warn", check, what, where, next)


def fail(check: str, what: str, where: str, next: str, *, absent: bool = False) -> Finding:
    return Finding("fail", check, what, where, next, absent)
