import pytest

from knowledge.parsing import ParseFailed, parse
from tests.knowledge.parsing.making import lines, pdf, pdf_file
from tests.knowledge.parsing.telling import read, told

PROSE = (
    "The quick brown fox jumps over the lazy dog, and the dog does",
    "not mind it in the least, for it has seen foxes jump before on",
    "many a morning.",
)


def test_headings_are_told_by_size_and_style():
    page = [
        *lines("Report", y=740, size=20, font="B"),
        *lines("Findings", y=700, size=14, font="B"),
        *lines(*PROSE, y=670),
        *lines("Costs", y=600, font="B"),
        *lines(*PROSE, y=580),
    ]
    text = " ".join(PROSE)
    assert read(pdf([page])) == [("h1", "Report"), ("h2", "Findings"), ("text", text), ("h3", "Costs"), ("text", text)]


def test_pages_titles_and_dates():
    parsed = parse(pdf([lines("On the first page."), lines("On the second page.")], title="A Title"), name="x.pdf")
    assert [(block.page, block.text) for block in parsed.blocks] == [
        (1, "On the first page."),
        (2, "On the second page."),
    ]
    assert (parsed.title, parsed.mime) == ("A Title", "application/pdf")
    assert parse(pdf([lines("Some words.")], title="Microsoft Word - draft.doc"), name="Plan.pdf").title == "Plan"


def test_paragraphs_by_space_and_by_indent():
    page = [*lines(*PROSE), *lines(*PROSE, y=640)]
    assert read(pdf([page])) == [("text", " ".join(PROSE))] * 2
    page = [*lines(*PROSE), *lines(PROSE[0], x=86, y=664), *lines(*PROSE[1:], y=652)]
    assert read(pdf([page])) == [("text", " ".join(PROSE))] * 2


def test_words_parted_at_the_end_of_a_line():
    page = lines(
        "Nothing is as incom-",
        "prehensible as the well-",
        "known story of the state-",
        "of-the-art machine, well and known.",
    )
    (text,) = (text for _, text in read(pdf([page])))
    assert "incomprehensible" in text
    assert "state-of-the-art" in text or "stateof-the-art" in text


def test_two_columns_are_read_one_after_the_other():
    left = lines("A column begins here and it goes", "on to its end, where a sentence", "that is not over yet")
    right = lines("continues in the other column", "and ends there.", x=320)
    (text,) = (text for _, text in read(pdf([[*left, *right]])))
    assert "not over yet continues in the other column and ends there." in text


def test_running_titles_and_page_numbers_are_left_out():
    pages = [
        [*lines("The Handbook, chapter 3", y=770, size=8), *lines(*PROSE), *lines(f"Page {number} of 4", y=30, size=8)]
        for number in range(1, 5)
    ]
    assert read(pdf(pages)) == [("text", " ".join(PROSE))] * 4


def test_lists_stay_in_lines():
    text = read(pdf([lines("We need:", "• nuts of steel", "• bolts of brass", "1. and patience")]))
    assert "\n".join(part for _, part in text).split("\n") == [
        "We need:",
        "• nuts of steel",
        "• bolts of brass",
        "1. and patience",
    ]


def test_a_scanned_pdf_says_that_ocr_is_an_extra():
    with pytest.raises(ParseFailed, match="OCR") as caught:
        parse(pdf([None, None]), name="scan.pdf")
    assert caught.value.code == "scanned"


def test_ocr_that_was_asked_for_and_is_missing_says_how_to_have_it(monkeypatch):
    monkeypatch.setattr("knowledge.parsing.scans.is_installed", lambda: False)
    with pytest.raises(ParseFailed, match="pip install docling") as caught:
        parse(pdf([None]), name="scan.pdf", ocr=True)
    assert caught.value.code == "scanned"


def test_scanned_pages_among_others_are_named():
    parsed = parse(pdf([lines("Some readable words."), None, None, lines("And some more."), None]), name="x.pdf")
    assert [block.page for block in parsed.blocks] == [1, 4]
    assert parsed.warnings == ("Pages without readable text (scanned, or drawn) were left out: 2–3, 5.",)


def test_a_password():
    with pytest.raises(ParseFailed, match="Save a copy without") as caught:
        parse(pdf([lines("Secret.")], password="open sesame"), name="x.pdf")
    assert caught.value.code == "encrypted"
    assert read(pdf([lines("No secret at all.")], password="")) == [("text", "No secret at all.")]


@pytest.mark.parametrize(
    "objects",
    [
        # Pages that are their own parents and children.
        {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Count 9/Kids[2 0 R 3 0 R]>>", 3: b"<</Kids[2 0 R]>>"},
        {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"2 0 R"},
        {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Count 2147483647/Kids[]>>"},
        {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
         3: b"<</Type/Page/Parent 2 0 R/Contents 4 0 R>>", 4: b"<</Length 4 0 R>>stream\nBT\nendstream"},
    ],
)  # fmt: skip
def test_circles_end(objects):
    with pytest.raises(ParseFailed) as caught:
        parse(pdf_file(objects, "/Root 1 0 R"), name="x.pdf")
    assert caught.value.code in ("broken", "empty")


def test_a_pdf_is_known_whatever_it_is_called():
    parsed = parse(pdf([lines("Words in a PDF.")]), name="notes.txt", mime="text/plain")
    assert (parsed.mime, parsed.title, told(parsed)) == ("application/pdf", "notes", [("text", "Words in a PDF.")])
