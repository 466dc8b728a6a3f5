"""What a text has that nobody sees, or that is shown otherwise than it reads."""

import re

# A flag of a part of a country, such as Scotland's, is a black flag and its code in tag characters.
_FLAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{2,6}\U000e007f")
_TAGS = re.compile("[\U000e0000-\U000e007f]+")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{3,}")
# Runs of what has no width or only looks empty. Joiners alone are how some scripts are written.
_RUN = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff\u180e]{4,}|[\u115f\u1160\u3164\uffa0\u2800]{4,}")
_IN_WORDS = re.compile("(?<=[A-Za-z])[\u200b-\u200d\u2060\ufeff](?=[A-Za-z])")
MOST_IN_WORDS = 8
"""Invisible characters in words of Latin letters that may be there to tell where a long word breaks."""
# Marks by which a text turns. Around a telephone number or a name in one direction they are usual.
_TURNS = re.compile("[\u202b\u202d\u202e\u2067]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u180e\ufe00-\ufe0f\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)


def hidden(text: str) -> frozenset[str]:
    """Return which of "hidden-text" and "bidi" ``text`` shows."""
    flagless = _FLAGS.sub("", text)
    found = set()
    if (
        _TAGS.search(flagless)
        or _SELECTORS.search(flagless)
        or _RUN.search(flagless)
        or len(_IN_WORDS.findall(flagless)) >= MOST_IN_WORDS
    ):
        found.add("hidden-text")
    if _TURNS.search(text) and not _RIGHT_TO_LEFT.search(text):
        found.add("bidi")
    return frozenset(found)


def without_hidden(text: str) -> str:
    """Return ``text`` as a model may read it: tag characters as the letters they stand for, others left out."""
    return _INVISIBLE.sub("", _TAGS.sub(_spelled, _FLAGS.sub("", text)))


def _spelled(match: re.Match[str]) -> str:
    letters = (chr(ord(tag) - 0xE0000) for tag in match[0])
    return f" {''.join(letter for letter in letters if letter.isprintable())} "
