"""Text as it is kept: NFC, plain line ends, nothing a database or a reader cannot take. Pure."""

import re
import unicodedata

# Control characters but \t and \n, invisible marks that only get in the way of a search (soft hyphen, zero width
# space, word joiner, byte order mark, annotation marks), noncharacters and lone surrogates. Joiners and marks of
# direction stay: scripts are written with them.
_DROPPED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]"
)
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_ODD_SPACES = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f]")
_TRAILING = re.compile(r"[ \t]+(?=\n|\Z)")
_MANY_LINES = re.compile(r"\n{3,}")
_SPACES = re.compile(r"\s+")
_SYMBOL_BULLETS = str.maketrans({"\uf0b7": "•", "\uf0a7": "▪", "\uf0d8": "➢", "\uf0fc": "✓", "\uf0e0": "→"})


def clean(text: str) -> str:
    """Return ``text`` without what cannot be stored or only disturbs; blank lines are at most one at a time."""
    return _MANY_LINES.sub("\n\n", clean_code(text)).strip()


def clean_code(text: str) -> str:
    """Return ``text`` cleaned but laid out as it was: indents and blank lines stay."""
    if not text.isascii():
        text = _ODD_SPACES.sub(" ", text.translate(_SYMBOL_BULLETS))
    text = _DROPPED.sub("", _LINE_ENDS.sub("\n", text))
    return _TRAILING.sub("", unicodedata.normalize("NFC", text)).strip("\n")


def clean_line(text: str) -> str:
    """Return ``text`` cleaned and on one line, its white space collapsed."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()  # nearly every cell of a table
    return _SPACES.sub(" ", clean_code(text)).strip()
