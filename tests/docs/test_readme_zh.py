"""The Chinese README says what the English one says: same sections, same code, same links, made from the same text."""

from __future__ import annotations

import re

import pytest

from tests.data import ROOT
from tests.docs.pages import Section, sections

ENGLISH = sections((ROOT / "README.md").read_text(encoding="utf-8"))
CHINESE = sections((ROOT / "README.zh-CN.md").read_text(encoding="utf-8"))
PAIRS = list(zip(ENGLISH, CHINESE, strict=False))
NAMES = [english.title for english, _ in PAIRS]


def test_both_have_the_same_sections() -> None:
    assert [one.level for one in CHINESE] == [one.level for one in ENGLISH]


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=NAMES)
def test_each_section_was_made_from_the_english_of_today(english: Section, chinese: Section) -> None:
    assert chinese.mark == english.hash, (
        f"README.md has changed in {english.title!r}: bring {chinese.title!r} of README.zh-CN.md up to date, "
        f"then write <!-- en {english.hash} --> below its heading"
    )


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=NAMES)
def test_code_and_links_are_the_same(english: Section, chinese: Section) -> None:
    assert chinese.code == english.code
    other = {"README.zh-CN.md": "README.md"}
    assert chinese.links == sorted(other.get(link, link) for link in english.links)


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=NAMES)
def test_names_in_code_type_are_the_same(english: Section, chinese: Section) -> None:
    """Commands, settings and file names are never translated, and none is lost."""
    bare = [re.sub(r"^```.*?^```$", "", one.body, flags=re.MULTILINE | re.DOTALL) for one in (english, chinese)]
    found = [sorted(" ".join(name.split()) for name in re.findall(r"`([^`]+)`", text)) for text in bare]
    assert found[1] == found[0]


@pytest.mark.parametrize("chinese", CHINESE, ids=[one.title for one in CHINESE])
def test_it_is_chinese(chinese: Section) -> None:
    """A section left in English, or half of it: prose is mostly Chinese characters."""
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|https?://\S+", "", chinese.body, flags=re.DOTALL)
    assert len(re.findall(r"[\u4e00-\u9fff]", prose)) > len(re.findall(r"[A-Za-z]", prose))


# -- the comparison itself ------------------------------------------------------------------------------------------

PAGE = "# A\n\nword `x` [l](a.md)\n\n```sh\n# no heading\n```\n\n## B\n\none\ntwo\n"


def test_a_page_is_split_at_headings_outside_of_code() -> None:
    first, second = sections(PAGE)
    assert (first.level, first.title, first.links) == (1, "A", ["a.md"])
    assert first.code == ["```sh\n# no heading\n```"]
    assert (second.level, second.title, second.body) == (2, "B", "one\ntwo")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("one\ntwo", "one two", True), ("one\ntwo", "one\n\ntwo", False), ("one", "One", False),
        ("## B", "## C", False), ("two\n", "two\n\n<!-- en 0123456789ab -->\n", True),
    ],
)  # fmt: skip
def test_a_hash_changes_with_the_words_and_not_with_their_lines(old: str, new: str, same: bool) -> None:
    assert old in PAGE
    assert (sections(PAGE.replace(old, new))[1].hash == sections(PAGE)[1].hash) == same
