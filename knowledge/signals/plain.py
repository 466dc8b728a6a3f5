"""Texts as wordings are looked for in them: one case, one kind of space, no accents, no disguised letters."""

import re
import unicodedata

_ACCENTS = re.compile("[\u0300-\u036f]")
_FOREIGN = "а-яѐ-џԁԛԝһα-ω"
# Words of Latin letters with some of another alphabet among them, which nobody writes by accident.
_MIXED = re.compile(f"[a-z][{_FOREIGN}]|[{_FOREIGN}][a-z]")
_WORD = re.compile(f"[a-z{_FOREIGN}]+")
_LOOKALIKES = str.maketrans("асеорхуіјѕԁһԛԝαορνικτυχε", "aceopxyijsdhqwaopviktuxe")


def plain(text: str) -> str:
    """Return ``text`` in lower case and on one line, without accents, compatible letters as one."""
    if text.isascii():
        return " ".join(text.lower().split())
    line = " ".join(folded(text).split())
    return _WORD.sub(_unmasked, line) if _MIXED.search(line) else line


def folded(text: str) -> str:
    """Return ``text`` in lower case, without accents, compatible letters as one."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", bare).casefold()


def _unmasked(match: re.Match[str]) -> str:
    word = match[0]
    return word.translate(_LOOKALIKES) if _MIXED.search(word) else word
