"""Real documents: what people ask of them is found in what was read."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from knowledge.blocks import BlockKind, Parsed
from knowledge.parsing import parse

DOCUMENTS = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "documents"
pytestmark = pytest.mark.skipif(
    not DOCUMENTS.exists(), reason="the folder of real documents is not beside the checkout"
)


def questions() -> list[dict[str, str]]:
    path = DOCUMENTS / "qa.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@cache
def document(name: str) -> Parsed:
    return parse((DOCUMENTS / name).read_bytes(), name=name)


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()


@pytest.mark.parametrize("asked", questions(), ids=lambda asked: f"{asked['file']}: {asked['question'][:40]}")
def test_the_answer_is_in_one_block(asked):
    answer = flat(asked["answer_substring"])
    assert any(answer in flat(block.text) for block in document(asked["file"]).blocks)


@pytest.mark.parametrize("name", sorted({asked["file"] for asked in questions()}))
def test_every_block_is_clean(name):
    parsed = document(name)
    assert parsed.title
    assert parsed.warnings == ()
    for block in parsed.blocks:
        assert block.text == block.text.strip("\n")
        assert block.text.strip()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe]| $", block.text, re.MULTILINE)
        assert (block.kind is BlockKind.HEADING) == (1 <= block.level <= 6)
        if block.header:
            assert block.text.startswith(f"{block.header}\n")


def test_pages_are_known_where_there_are_pages():
    assert {block.page for block in document("autogen-slides.pptx").blocks} == {1, 2, 3, 4, 5, 6}
    assert {block.page for block in document("two-sheets.xlsx").blocks} == {1, 2}
    assert {block.page for block in document("amt-handbook-sample.pdf").blocks} == {1}
    assert {block.page for block in document("winter-sports.epub").blocks} == {None}


def test_headings_of_a_handbook_page_in_two_columns():
    headings = [block.text for block in document("amt-handbook-sample.pdf").blocks if block.level]
    assert headings == ["Boots Self-Locking Nut", "Stainless Steel Self-Locking Nut", "Elastic Stop Nut"]


def test_a_paragraph_goes_on_in_the_next_column():
    text = next(block.text for block in document("amt-handbook-sample.pdf").blocks if "Wing-type" in block.text)
    assert text.startswith("Boots self-locking nuts are made with three different spring styles and in various shapes")


def test_words_parted_at_lines_ends_are_whole_again():
    text = flat(" ".join(block.text for block in document("autogen-paper.pdf").blocks))
    assert "confirming its general feasibility" in text
    assert "programming paradigm" in text
    assert "\ufffe" not in text


def test_of_a_page_that_is_mostly_navigation_the_article_is_read():
    duck = document("wikipedia-duck.html")
    text = "\n".join(block.text for block in duck.blocks)
    assert (duck.title, duck.language) == ("Duck", "en")
    for menu in ("Jump to content", "Main page", "Create account", "136 languages", "Afrikaans", "Privacy policy"):
        assert menu not in text
    headings = [block.text for block in duck.blocks if block.level == 2]
    assert headings[:4] == ["Etymology", "Taxonomy", "Morphology", "Distribution and habitat"]


def test_a_book_is_read_in_its_order():
    book = document("winter-sports.epub")
    chapters = [block.text for block in book.blocks if block.text.startswith("CHAPTER ") and block.level]
    assert len(chapters) >= 8
    assert chapters[0] == "CHAPTER I THE SUN-SEEKER"
    assert (book.title, book.language, book.metadata["author"]) == (
        "Winter Sports in Switzerland",
        "en",
        "E. F. Benson",
    )


def test_long_rows_are_records_and_short_ones_a_table():
    plots = document("movie-plots.csv")
    assert all(block.kind is BlockKind.TEXT for block in plots.blocks)
    assert plots.blocks[0].text.startswith("Release Year: 1901\nTitle: Kansas Saloon Smashers\n")
    cups = document("stanley-cups.csv")
    assert [(str(block.kind), block.header) for block in cups.blocks] == [
        ("heading", ""),
        ("table", "Team | Location | Stanley Cups"),
    ]
