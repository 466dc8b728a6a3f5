"""Citations in an answer: which are there, which were made up, and that nothing else is touched."""

import random
import time

import pytest

from knowledge.citations import Citation, Citations


def checked(text, numbers=(1, 2, 3), pieces=None):
    """Return the answer as it goes out, the numbers that are cited, and how many were taken out."""
    citations = Citations(numbers)
    out = "".join(citations.feed(piece) for piece in (pieces or [text])) + citations.finish()
    for citation in citations.found:
        assert out[citation.start : citation.end] == f"[{citation.n}]"
    return out, [citation.n for citation in citations.found], citations.invented


@pytest.mark.parametrize(
    ("text", "out", "cited"),
    [
        ("Cats purr [1].", "Cats purr [1].", [1]),
        ("Cats purr[1].", "Cats purr[1].", [1]),
        ("Cats [1][2] and dogs [3]", "Cats [1][2] and dogs [3]", [1, 2, 3]),
        ("Cats purr [1, 2].", "Cats purr [1][2].", [1, 2]),
        ("Cats purr [1; 3].", "Cats purr [1][3].", [1, 3]),
        ("Cats purr [1 and 2].", "Cats purr [1][2].", [1, 2]),
        ("Cats purr [1-3].", "Cats purr [1][2][3].", [1, 2, 3]),
        ("Cats purr [1–2, 3].", "Cats purr [1][2][3].", [1, 2, 3]),
        ("Cats purr [2, 2].", "Cats purr [2].", [2]),
        ("Cats purr [^1].", "Cats purr [1].", [1]),
        ("Cats purr 【1】.", "Cats purr [1].", [1]),
        ("Cats purr【2†source】.", "Cats purr[2].", [2]),
        ("Cats purr [3†handbook.pdf].", "Cats purr [3].", [3]),
        ("Cats purr 【1:0†cats.pdf】.", "Cats purr [1].", [1]),
        ("Cats purr [Passage 1].", "Cats purr [1].", [1]),
        ("Katzen [Quelle: 2, Quelle 3].", "Katzen [2][3].", [2, 3]),
        ("Cats purr ([1]).", "Cats purr ([1]).", [1]),
        ("猫は喉を鳴らす[1]。犬は吠える【2】。", "猫は喉を鳴らす[1]。犬は吠える[2]。", [1, 2]),
        ("- one [1]\n- two [2]\n", "- one [1]\n- two [2]\n", [1, 2]),
        ("🐈 purrs [1]", "🐈 purrs [1]", [1]),
    ],
)
def test_what_is_cited_comes_out_in_one_form(text, out, cited):
    assert checked(text) == (out, cited, 0)


@pytest.mark.parametrize(
    ("text", "out", "cited", "invented"),
    [
        ("Cats purr [9].", "Cats purr.", [], 1),
        ("Cats purr  [9] often.", "Cats purr often.", [], 1),
        ("Cats purr[9] often.", "Cats purr often.", [], 1),
        ("Cats purr [9]often.", "Cats purr often.", [], 1),
        ("Cats purr [1, 9].", "Cats purr [1].", [1], 1),
        ("Cats purr [1][9].", "Cats purr [1].", [1], 1),
        ("Cats purr [9][1].", "Cats purr [1].", [1], 1),
        ("Cats purr [9] [1].", "Cats purr [1].", [1], 1),
        ("Cats purr [2-5].", "Cats purr [2][3].", [2, 3], 2),
        ("Cats purr 【7†source】.", "Cats purr.", [], 1),
        ("[9] Cats purr.", "Cats purr.", [], 1),
        ("Cats.\n[9] Dogs.", "Cats.\nDogs.", [], 1),
        ("- [9] Dogs.", "- Dogs.", [], 1),
        ("Cats [9]\nDogs [8]", "Cats\nDogs", [], 2),
        ("Cats [9] `x`", "Cats `x`", [], 1),
        ("Cats [12] [13] [14]!", "Cats!", [], 3),
    ],
)
def test_what_was_made_up_is_taken_out_and_counted(text, out, cited, invented):
    assert checked(text) == (out, cited, invented)


@pytest.mark.parametrize(
    "text",
    [
        "Call `a[9]` or ``b[`9`][9]``.",
        "```python\nx = a[9]\n```",
        "```\nx [9]\n~~~\n```` not the end\ny [9]\n```",
        "~~~\nx [9]\n~~~\n",
        "> ```\n> a [9]\n> ```\n",
        "1. First:\n   ```\n   a [9]\n   ```\n",
        "- ```sh\n  a [9]\n  ```\n",
        "See ```a [9]``` here.",
        "See [9](https://example.org/9) and [text](x) and [8](y).",
        "In [2024], [1999-2003] and [12345].",
        "The interval [0, 1] and [0.5] and [-9].",
        "The list is [ ] or [x] or [a, b] or [1, x] or [].",
        "The list = [7, 8, 9] and y ∈ [7, 9].",
        "Open [ and [9 and [9, and 【 and [^ and ] end",
        "Range [9-4] and [10-99].",
        "Two  spaces   stay,\ttabs too.  \nSo do line ends.\n\n",
        "Ends with [9",
        "Ends with ",
        "",
    ],
)
def test_everything_else_stays_as_it_is(text):
    assert checked(text) == (text, [], 0)


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("A stray ` here [9].\nAnd [9].", "A stray ` here [9].\nAnd."),
        ("```\na[9]\n```\nAnd [9].", "```\na[9]\n```\nAnd."),
        ("`a[9]` and [9].", "`a[9]` and."),
        ("See ```a[9]``` and [9].\nThen [9].", "See ```a[9]``` and.\nThen."),
        ("```a[9]``` and [9].\nThen [9].", "```a[9]``` and.\nThen."),
        ("~5 [9] or ~~struck [9]~~", "~5 or ~~struck~~"),
        ("- ```sh\n  a[9]\n  ```\nAnd [9].", "- ```sh\n  a[9]\n  ```\nAnd."),
    ],
)
def test_after_code_citations_are_checked_again(text, out):
    assert checked(text)[0] == out


def test_places_are_those_of_the_answer_as_it_goes_out():
    citations = Citations((1, 2))
    out = citations.feed("Ä🐈 [9] purr [1, 2] loud [1].") + citations.finish()
    assert out == "Ä🐈 purr [1][2] loud [1]."
    assert citations.found == [
        Citation(n=1, start=8, end=11), Citation(n=2, start=11, end=14), Citation(n=1, start=20, end=23)
    ]  # fmt: skip


PARTS = (
    *("cats", " ", "  ", "\n", "\t", ".", "(", ")", "[", "]", "【", "】", "[1]", "[2]", "[9]", "[1, 2]", "[1-3]"),
    *("[9][1]", "[^2]", "【1†source】", "[Passage 2]", "[1](x)", "[0, 1]", "= ", "ü", "🐈"),
    *("`", "``", "```", "```\n", "~~~", "12", ",", "-", "> ", "- ", "1. ", "†", ":", "^"),
)


@pytest.mark.parametrize("seed", range(60))
def test_how_the_text_is_cut_into_pieces_does_not_matter(seed):
    chance = random.Random(seed)
    for _ in range(40):
        text = "".join(chance.choices(PARTS, k=chance.randint(1, 40)))
        whole = checked(text)
        places = sorted(chance.sample(range(len(text) + 1), k=min(len(text), chance.randint(0, 12))))
        pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
        assert checked(text, pieces=pieces) == whole
        assert checked(text, pieces=list(text)) == whole


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_lost_where_nothing_is_cited(seed):
    chance = random.Random(seed)
    parts = [part for part in PARTS if not any(character.isdigit() for character in part)]
    text = "".join(chance.choices(parts, k=200))
    assert checked(text) == (text, [], 0)


def test_only_what_may_become_a_citation_is_held_back():
    citations = Citations((1,))
    said = [citations.feed(piece) for piece in ("Cats purr", " ", "[", "1", "]", ".", " [", "x", "]")]
    assert said == ["Cats purr", "", "", "", "", " [1].", "", " [x", "]"]
    assert len(citations.feed(" " * 1000)) > 900


def test_a_long_answer_takes_no_time():
    text = "Some words of an answer, with `code` and a citation [1] and one that is made up [9]. " * 2000
    citations = Citations((1, 2, 3))
    began = time.process_time()
    for start in range(0, len(text), 4):
        citations.feed(text[start : start + 4])
    citations.finish()
    assert time.process_time() - began < 5.0  # some 42,000 pieces; an answer has a few hundred
    assert len(citations.found) == citations.invented == 2000
