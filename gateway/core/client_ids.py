"""Client order ids: `<prefix><tag>-<brain no>-<run>-<seq>-<attempt><check>`, derived from the intent, never drawn.

Numbers are base 62; the last character checks all before it. At most 35 of the exchange's 36 characters, all of them
from `[A-Za-z0-9-]`. The tag is this installation's: two of them on one account never collide.
"""

from __future__ import annotations

from itertools import count
from operator import mul
from typing import NamedTuple

PREFIX = "bs"
TAG_LENGTH = 4
MAX_LENGTH = 36

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE = {char: index for index, char in enumerate(ALPHABET)} | {"-": 62}
_MODULUS = 61
_WIDTHS = (3, 9, 9, 3)  # brain number, run, seq, attempt


class Name(NamedTuple):
    """Which attempt of which intent. `run` is the number after the `r`."""

    brain_no: int
    run: int
    seq: int
    attempt: int


def base62(number: int) -> str:
    if number < 0:
        raise ValueError(f"{number} is negative")
    if number < 62:
        return ALPHABET[number]
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def from_base62(text: str) -> int:
    """Raises ValueError on a character outside the alphabet, an empty text, or a leading zero."""
    if not text or (len(text) > 1 and text[0] == "0"):
        raise ValueError(f"{text!r} is no number in base 62")
    number = 0
    for char in text:
        value = _VALUE.get(char, 62)
        if value > 61:
            raise ValueError(f"{char!r} is no digit in base 62")
        number = number * 62 + value
    return number


def _weighted(text: str, start: int) -> int:
    return sum(map(mul, count(start), map(_VALUE.__getitem__, text)))


class ClientIds:
    """Makes and reads ids of one installation. Pure; remembers the heads it made (bounded) because they repeat."""

    __slots__ = ("_head", "_heads", "_tag")

    def __init__(self, tag: str) -> None:
        if len(tag) != TAG_LENGTH or any(char not in ALPHABET for char in tag):
            raise ValueError(f"an installation tag is {TAG_LENGTH} characters of [0-9A-Za-z], not {tag!r}")
        self._tag = tag
        self._head = f"{PREFIX}{tag}-"
        self._heads: dict[tuple[int, int], tuple[str, int]] = {}

    @property
    def tag(self) -> str:
        return self._tag

    def make(self, brain_no: int, run: int, seq: int, attempt: int) -> str:
        """Raises ValueError where a number is negative or too large for its field."""
        head = self._heads.get((brain_no, run))
        if head is None:
            head = self._new_head(brain_no, run)
        tail = f"{base62(seq)}-{base62(attempt)}"
        if len(tail) > _WIDTHS[2] + 1 + _WIDTHS[3]:
            raise ValueError(f"seq {seq} or attempt {attempt} is too large for a client order id")
        check = ALPHABET[(head[1] + _weighted(tail, len(head[0]) + 1)) % _MODULUS]
        return f"{head[0]}{tail}{check}"

    def _new_head(self, brain_no: int, run: int) -> tuple[str, int]:
        brain, run_text = base62(brain_no), base62(run)
        if len(brain) > _WIDTHS[0] or len(run_text) > _WIDTHS[1]:
            raise ValueError(f"brain number {brain_no} or run {run} is too large for a client order id")
        text = f"{self._head}{brain}-{run_text}-"
        if len(self._heads) >= 1024:
            self._heads.clear()
        head = self._heads[brain_no, run] = (text, _weighted(text, 1))
        return head

    def parse(self, client_order_id: str) -> Name | None:
        """None for what this installation did not make: another tag, shape or check character."""
        if not client_order_id.startswith(self._head) or len(client_order_id) > MAX_LENGTH:
            return None
        body, check = client_order_id[:-1], client_order_id[-1]
        if any(char not in _VALUE for char in body) or ALPHABET[_weighted(body, 1) % _MODULUS] != check:
            return None
        parts = body[len(self._head) :].split("-")
        if len(parts) != 4:
            return None
        try:
            return Name(*(from_base62(part) for part in parts))
        except ValueError:
            return None


def run_number(run: str) -> int:
    """`r1795132800000` -> 1795132800000. The wire format has checked the shape."""
    return int(run[1:])
