import pytest

from knowledge.blocks import Block, BlockKind
from knowledge.languages import document_language

GERMAN = "Die Sitzung wurde um neun Uhr eröffnet. Danach sprach der Vorsitzende über den Haushalt des Jahres. " * 6
ENGLISH = "The meeting was opened at nine o'clock. After that the chairman spoke about the budget of the year. " * 6


def language(*texts, likely="", kind=BlockKind.TEXT):
    return document_language([Block(kind=kind, text=text) for text in texts], likely=likely)


@pytest.mark.parametrize(
    ("text", "likely", "expected"),
    [
        (GERMAN, "", "de"),
        (GERMAN, "en", "de"),
        (ENGLISH, "de", "en"),
        ("Algorithm 217 Minimum Excess Cost Curve", "en", "en"),
        ("Rungekutta Integral Bessel", "en", "en"),
        ("长城位于中国北部,建于两千多年前。", "en", "zh"),
        ("", "en", "en"),
        ("4711", "", ""),
    ],
)
def test_language(text, likely, expected):
    assert language(text, likely=likely) == expected


def test_most_of_a_document_decides():
    assert language(ENGLISH, GERMAN, GERMAN, GERMAN) == "de"
    # Code and tables are in nobody's language as long as there is text.
    blocks = [
        Block(kind=BlockKind.CODE, text="def main(): return None\n" * 40),
        Block(kind=BlockKind.TEXT, text=GERMAN),
    ]
    assert document_language(blocks) == "de"
