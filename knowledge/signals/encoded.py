"""Texts in base64, hexadecimal and percent signs, decoded."""

import base64
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

SHORTEST_CODE = 24
"""Characters of a code without spaces; fewer say next to nothing."""
MOST_CODES = 16
LONGEST_CODE = 8_000
"""Characters of one code that are decoded; an order need not be longer."""
FEWEST_LETTERS = 0.7
"""The share of letters and spaces that a text has."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}(?:\s[A-Za-z0-9+/_-]{16,})*")
_HEXADECIMAL = re.compile(r"(?:\\x)?[0-9a-fA-F]{2}(?:(?:\\x)?[0-9a-fA-F]{2}){15,}")
_PERCENT = re.compile(r"(?:[\w.\-+~]{0,20}%[0-9A-Fa-f]{2}){3,}[\w.\-+~%]*")
# Base64 of a sentence has all of these; a long path or a word with hyphens seldom.
_LOOKS_CODED = re.compile(r"(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=\D*\d)")


def decoded(text: str) -> Iterator[str]:
    """Yield what the first codes in ``text`` say, those that decode to words."""
    if max(map(len, text.split()), default=0) < SHORTEST_CODE:
        return
    left = MOST_CODES
    for found, read in ((_BASE64, _base64), (_HEXADECIMAL, _hexadecimal), (_PERCENT, _percent)):
        for match in found.finditer(text):
            if (inner := read(match[0][:LONGEST_CODE])) and _is_words(inner):
                yield inner
            left -= 1
            if left <= 0:
                return


def _base64(code: str) -> str:
    if not _LOOKS_CODED.match(code):
        return ""
    bare = "".join(code.split()).replace("-", "+").replace("_", "/")
    return _text(base64.b64decode, bare[: len(bare) // 4 * 4] if len(bare) % 4 == 1 else bare + "=" * (-len(bare) % 4))


def _hexadecimal(code: str) -> str:
    return _text(bytes.fromhex, code.replace("\\x", ""))


def _percent(code: str) -> str:
    return unquote(code).replace("+", " ")


def _text(read: Callable[[str], bytes], code: str) -> str:
    try:
        return read(code).decode()
    except ValueError:  # what is no base64 raises a kind of it
        return ""


def _is_words(text: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in text)
    return letters >= FEWEST_LETTERS * len(text)
