"""A Markdown page by sections: what a translation is compared with."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

_MARK = re.compile(r"<!-- en ([0-9a-f]{12}) -->\n")


class Section(NamedTuple):
    """`level` 0 is what stands before the first heading. `mark`: the hash a translation says it was made from."""

    level: int
    title: str
    body: str
    mark: str

    @property
    def hash(self) -> str:
        """Of title and text, whatever the line breaks in a paragraph: re-wrapped text needs no new translation."""
        words = re.sub(r"[ \t]*\n(?!\n)[ \t]*", " ", f"{self.title}\n\n{self.body}".strip())
        return hashlib.sha256(words.encode()).hexdigest()[:12]

    @property
    def code(self) -> list[str]:
        """Fenced blocks, with their language."""
        return re.findall(r"^```.*?^```$", self.body, re.MULTILINE | re.DOTALL)

    @property
    def links(self) -> list[str]:
        return sorted(re.findall(r"\]\(([^)]+)\)", self.body))


def sections(text: str) -> list[Section]:
    out: list[Section] = []
    level, title, body, fenced = 0, "", "", False
    for line in [*text.splitlines(keepends=True), "# end\n"]:
        fenced ^= line.startswith("```")
        found = re.match(r"(#+) (.*)\n", line) if not fenced else None
        if found is None:
            body += line
            continue
        mark = _MARK.search(body)
        out.append(Section(level, title, _MARK.sub("", body).strip("\n"), mark[1] if mark else ""))
        level, title, body = len(found[1]), found[2], ""
    return out[1:] if not out[0].body.strip() else out
