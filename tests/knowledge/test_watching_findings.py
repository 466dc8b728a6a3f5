"""What a look makes of a listing, and which files and addresses a pattern means."""

import pytest

from knowledge.watching.findings import Known, Listing, changes, loss
from knowledge.watching.pages import ASK_DAYS, _stamp
from knowledge.watching.patterns import Pattern


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("", ["a.md", "x/y/z"], []),
        ("*.md", ["a.md"], ["docs/a.md", "a.txt", "amd"]),
        ("docs/**/*.md", ["docs/a.md", "docs/x/y/a.md"], ["a.md", "docs/a.txt", "xdocs/a.md"]),
        ("/docs/**", ["docs/a", "docs/x/a.md"], ["doc"]),
        ("**/readme.*", ["readme.md", "x/readme.txt"], ["x/readmes"]),
        ("a?.md", ["ab.md"], ["a.md", "abc.md", "a/.md"]),
        ("*.md, *.txt", ["a.md", "a.txt"], ["a.pdf"]),
        ("!old/**", ["a.md"], ["old/a.md"]),
        ("**/*.md, !old/**", ["a.md", "x/a.md"], ["old/a.md", "a.txt"]),
        ("a+(b).md", ["a+(b).md"], ["aab.md"]),
        ("*\n*", ["a\nb"], ["ab"]),
        ("********************************a", [], ["b" * 60]),
    ],
)
def test_patterns(pattern, meant, not_meant):
    found = Pattern.parse(pattern)
    assert [path for path in meant if not found.matches(path)] == []
    assert [path for path in not_meant if found.matches(path)] == []


def test_patterns_of_addresses_are_about_their_paths():
    found = Pattern.parse("docs/**")
    assert found.matches_address("https://example.org/docs/a?page=2")
    assert not found.matches_address("https://docs.example.org/a")
    assert Pattern.parse("a b").matches_address("https://example.org/a%20b")


def listing(*sources, **fields):
    return Listing(stamps=dict.fromkeys(sources, "1"), **fields)


def test_what_is_new_changed_back_and_gone():
    known = Known(
        seen={"same": "1", "other": "0", "asked": "1", "gone": "1"},
        documents={"same": False, "other": False, "gone": False, "back": True, "long gone": True},
    )
    found = changes(Listing(stamps={"same": "1", "other": "1", "asked": "", "new": "1", "back": "1"}), known)
    assert (found.new, found.changed, found.perhaps) == (("new", "back"), ("other",), ("asked",))
    assert (found.back, found.gone) == (("back",), ("gone",))
    assert found.to_read == ("new", "back", "other", "asked")


def test_nothing_is_gone_where_not_all_was_read():
    assert changes(listing(complete=False), Known(documents={"a": False})).gone == ()


@pytest.mark.parametrize(
    ("there", "left", "believed"),
    [(11, 0, False), (10, 0, True), (20, 9, False), (22, 11, True), (30, 29, True), (4, 0, True)],
)
def test_most_being_gone_is_taken_for_a_failure(there, left, believed):
    known = Known(documents={str(number): False for number in range(there)} | {"long gone": True})
    found = changes(listing(*map(str, range(left))), known)
    assert (loss(len(found.gone), known) == "") is believed


def test_a_page_is_asked_itself_once_in_a_while_though_its_sitemap_says_that_it_is_the_same():
    stamps = [_stamp("https://example.org/a", "2026-01-01", day) for day in range(700_000, 700_000 + 3 * ASK_DAYS)]
    assert len(set(stamps)) in (3, 4)
    assert _stamp("https://example.org/a", "", 700_000) == ""
    turns = {_stamp(f"https://example.org/{number}", "x", 700_003) for number in range(50)}
    assert len(turns) == 2
