import random

import pytest

from knowledge.blocks import Block, BlockKind
from knowledge.chunking import Cut, Piece, chunked


def count(text: str) -> int:
    """Count as an embedder might: a token a word, more for long ones."""
    return sum(1 + len(word) // 8 for word in text.split())


def heading(text, level=1, page=None):
    return Block(kind=BlockKind.HEADING, text=text, level=level, page=page)


def paragraph(text, page=None):
    return Block(kind=BlockKind.TEXT, text=text, page=page)


def pieces(blocks, title="Guide", **cut) -> list[Piece]:
    return list(chunked(title, blocks, Cut(**({"tokens": 40, "overlap": 0} | cut)), count))


def sentences(number, words=8):
    return " ".join(f"Sentence {one} has {' '.join(['word'] * (words - 3))}." for one in range(number))


def test_short_sections_are_a_chunk_each_with_their_path():
    found = pieces(
        [
            paragraph("Preface."),
            heading("Install"),
            paragraph("Run it."),
            heading("Linux", 2),
            paragraph("Use apt."),
            heading("Use"),
            paragraph("Ask."),
        ]
    )
    assert [(piece.heading, piece.text) for piece in found] == [
        ("", "Preface."),
        ("Install", "Install\n\nRun it."),
        ("Install › Linux", "Linux\n\nUse apt."),
        ("Use", "Use\n\nAsk."),
    ]
    assert [piece.ordinal for piece in found] == [0, 1, 2, 3]
    # The heading that the text begins with is not said twice.
    assert found[2].embedded(with_header=True) == "Guide › Install\nLinux\n\nUse apt."
    assert found[2].embedded(with_header=False) == "Linux\n\nUse apt."


def test_only_the_first_chunk_of_a_section_begins_with_its_heading():
    found = pieces([heading("Install"), *(paragraph(f"Paragraph {number} here.") for number in range(20))])
    assert [piece.text.startswith("Install\n\nParagraph") for piece in found] == [True, False, False]
    assert found[1].embedded(with_header=True).startswith("Guide › Install\nParagraph")


def test_the_documents_title_as_its_first_heading_is_said_once():
    (found,) = pieces([heading("GUIDE"), paragraph("Text.")])
    assert found.header == "Guide"


def test_a_heading_with_nothing_under_it_is_still_found():
    found = pieces([heading("One"), heading("Two"), paragraph("Text."), heading("Last")])
    assert [piece.text for piece in found] == ["One", "Two\n\nText.", "Last"]


def test_a_heading_above_its_subheading_is_not_repeated_as_text():
    found = pieces([heading("Chapter"), heading("Part", 2), paragraph("Text.")])
    assert [(piece.heading, piece.text) for piece in found] == [("Chapter › Part", "Part\n\nText.")]


def test_paragraphs_are_kept_together_while_they_fit():
    found = pieces([paragraph(f"Paragraph {number} here.") for number in range(30)])
    assert all(piece.tokens <= 40 for piece in found)
    assert [piece.text.count("Paragraph") for piece in found] == [9, 9, 9, 3]
    assert "\n\n" in found[0].text


def test_long_text_is_cut_between_sentences_and_overlaps():
    text = sentences(30)
    found = pieces([paragraph(text)], overlap=10)
    assert all(piece.tokens <= 40 for piece in found)
    assert all(piece.text.startswith("Sentence") and piece.text.endswith(".") for piece in found)
    firsts = [piece.text.split(".")[0] for piece in found[1:]]
    lasts = [piece.text.rstrip(".").rsplit(". ", 1)[1] for piece in found[:-1]]
    assert firsts == lasts
    without = pieces([paragraph(text)])
    assert " ".join(piece.text for piece in without) == text


def test_one_endless_word_is_cut_all_the_same():
    found = pieces([paragraph("x" * 5_000)])
    assert "".join(piece.text for piece in found) == "x" * 5_000
    assert all(piece.tokens <= 40 for piece in found)


def test_chinese_is_cut_at_its_own_full_stops():
    found = list(chunked("", [paragraph("这是一句话。" * 40)], Cut(tokens=30, overlap=0), len))
    assert all(len(piece.text) <= 34 and piece.text.endswith("。") for piece in found)
    assert sum(piece.text.count("。") for piece in found) == 40


def test_a_cut_table_has_its_header_in_each_part():
    rows = "\n".join(f"Model {number} | {number} GB | fast" for number in range(40))
    table = Block(kind=BlockKind.TABLE, text=f"Name | Size | Speed\n{rows}", header="Name | Size | Speed")
    found = pieces([table])
    assert len(found) > 3
    assert all(piece.text.startswith("Name | Size | Speed\n") for piece in found)
    assert sum(piece.text.count("Model ") for piece in found) == 40


def test_code_is_cut_between_lines():
    lines = [f"    value_{number} = compute({number})" for number in range(40)]
    found = pieces([Block(kind=BlockKind.CODE, text="def main():\n" + "\n".join(lines), language="python")])
    assert len(found) > 2
    written = "\n".join(piece.text for piece in found)
    assert [line.strip() for line in written.splitlines()] == ["def main():", *(line.strip() for line in lines)]
    assert "    value_3 = compute(3)" in written


def test_a_chunk_is_of_the_page_where_it_begins():
    found = pieces([paragraph("One.", page=1), heading("Next", page=2), paragraph("Two.", page=2)])
    assert [piece.page for piece in found] == [1, 2]


def test_long_titles_and_paths_leave_room_for_the_text():
    path = [heading(f"A heading of a good many words at level {level}", level) for level in range(1, 7)]
    found = pieces([*path, paragraph(sentences(3))], title="A title that goes on and on " * 20)
    assert all(count(piece.header) <= 40 // 3 + 1 for piece in found)
    assert "Sentence 2" in found[-1].text


def test_no_title_and_nothing_at_all():
    assert pieces([], title="") == []
    (found,) = pieces([paragraph("Text.")], title="")
    assert found.embedded(with_header=True) == "Text."


def test_a_change_in_one_section_changes_no_other_chunk():
    def document(word):
        return [
            block
            for number in range(8)
            for block in (heading(f"Section {number}"), paragraph(sentences(12) + (word if number == 3 else "")))
        ]

    before = [piece.hash(with_header=True) for piece in pieces(document(" Old."), overlap=8)]
    after = [piece.hash(with_header=True) for piece in pieces(document(" New."), overlap=8)]
    assert len(set(before) ^ set(after)) == 2


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_and_nothing_is_too_long(seed):
    rng = random.Random(seed)
    blocks, words = [], []
    for number in range(rng.randrange(1, 40)):
        text = " ".join(f"w{number}x{one}" + "y" * rng.randrange(30) for one in range(rng.randrange(1, 120)))
        text = "".join(rng.choice((" ", ". ", "\n")) if part == " " else part for part in text)
        kind = rng.choice((BlockKind.TEXT, BlockKind.TEXT, BlockKind.CODE, BlockKind.TABLE, BlockKind.HEADING))
        if kind is BlockKind.HEADING:
            blocks.append(heading(f"h{number}", rng.randrange(1, 5)))
            continue
        words += text.replace(".", " ").split()
        blocks.append(Block(kind=kind, text=text))
    cut = {"tokens": rng.choice((32, 60, 220)), "overlap": rng.choice((0, 8, 16))}
    found = pieces(blocks, **cut)
    assert found == pieces(blocks, **cut)
    assert set(words) <= {word for piece in found for word in piece.text.replace(".", " ").split()}
    assert all(count(piece.embedded(with_header=True)) <= cut["tokens"] for piece in found)
