"""Keywords and wildcards: what an administrator writes down to find in a text. Pure."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Scripts written without spaces between words, and Korean, whose particles follow a word without one: there a
# keyword fits wherever it stands.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\uff66-\uff9d"
)
UNSPACED = re.compile(f"[{_UNSPACED}]")
# A word of a script with spaces: beside a keyword that begins or ends with such a letter, no other may stand.
_WORD = re.compile(rf"[^\W{_UNSPACED}]+")
_ASCII_WORDS = "".join(chr(code) if chr(code).isalnum() or chr(code) == "_" else " " for code in range(128))


def _is_letter(character: str) -> bool:
    """Whether ``character`` belongs to a word of a script with spaces, as _WORD sees it."""
    return (character.isalnum() or character == "_") and not UNSPACED.match(character)


def fold(text: str) -> str:
    """Return ``text``, which is in NFC, with the letters alike that differ by case; its length stays the same."""
    text = text.replace("İ", "i").lower()
    if text.isascii():
        return text
    # Those that IGNORECASE takes for one letter too.
    for letter, usual in (("ı", "i"), ("ſ", "s"), ("ς", "σ"), ("µ", "μ"), ("ϕ", "φ"), ("ϵ", "ε"), ("ϑ", "θ")):
        text = text.replace(letter, usual)
    return text


class Words:
    """A text prepared for looking keywords up: folded, and the set of its words (of scripts with spaces)."""

    __slots__ = ("_words", "folded", "text")

    def __init__(self, text: str) -> None:
        self.text = unicodedata.normalize("NFC", text)
        self.folded = fold(self.text)
        self._words: frozenset[str] | None = None

    @property
    def words(self) -> frozenset[str]:
        if self._words is None:
            ascii_only = self.folded.isascii()
            words = self.folded.translate(_ASCII_WORDS).split() if ascii_only else _WORD.findall(self.folded)
            self._words = frozenset(words)
        return self._words


@dataclass(frozen=True, slots=True)
class Phrase:
    """A keyword, ready to be looked up on word boundaries; spaces in it fit any white space.

    Where it fits, ``anchor`` is one of the text's words: the keyword's longest, or "" when it has none. ``head`` is
    what it begins with, up to its first white space, and ``tail`` the rest, if there is any.
    """

    keyword: str
    head: str
    tail: re.Pattern[str] | None
    anchor: str
    starts_word: bool
    ends_word: bool

    def find(self, words: Words) -> str | None:
        """Return where it first fits, as it stands in the text."""
        folded = words.folded
        start = folded.find(self.head)
        while start >= 0:
            end = self._end(folded, start)
            if end is not None:
                return words.text[start:end]
            start = folded.find(self.head, start + 1)
        return None

    def _end(self, folded: str, start: int) -> int | None:
        """Return where the keyword that may begin at ``start`` ends, or None if it does not fit there."""
        if self.starts_word and start and _is_letter(folded[start - 1]):
            return None
        end = start + len(self.head)
        if self.tail is not None:
            match = self.tail.match(folded, end)
            if match is None:
                return None
            end = match.end()
        return None if self.ends_word and end < len(folded) and _is_letter(folded[end]) else end


@dataclass(frozen=True, slots=True)
class Phrases:
    """Several keywords; a text without any of ``anchors`` is looked through only for the ``loose`` ones."""

    phrases: tuple[Phrase, ...]
    anchors: frozenset[str]
    loose: tuple[Phrase, ...]

    @classmethod
    def of(cls, keywords: Iterable[str]) -> "Phrases":
        phrases = tuple(_phrase(keyword) for keyword in keywords if keyword.strip())
        return cls(
            phrases=phrases,
            anchors=frozenset(phrase.anchor for phrase in phrases if phrase.anchor),
            loose=tuple(phrase for phrase in phrases if not phrase.anchor),
        )

    def first(self, words: Words) -> str | None:
        """Return the first keyword that is found, as it stands in the text."""
        anchored = self.anchors and not self.anchors.isdisjoint(words.words)
        likely = self.phrases if anchored else self.loose
        return next(self._found(likely, words), None)

    def missing(self, words: Words) -> str | None:
        """Return the first keyword that is not found, as the rule has it."""
        return next((phrase.keyword for phrase in self.phrases if phrase.find(words) is None), None)

    @staticmethod
    def _found(phrases: Iterable[Phrase], words: Words) -> Iterator[str]:
        for phrase in phrases:
            if (not phrase.anchor or phrase.anchor in words.words) and (found := phrase.find(words)) is not None:
                yield found


@functools.lru_cache(maxsize=16384)
def _phrase(keyword: str) -> Phrase:
    folded = fold(unicodedata.normalize("NFC", keyword))
    head, *rest = folded.split()
    return Phrase(
        keyword=keyword,
        head=head,
        tail=re.compile("".join(rf"\s+{re.escape(word)}" for word in rest)) if rest else None,
        anchor=max(_WORD.findall(folded), key=len, default=""),
        starts_word=_is_letter(head[0]),
        ends_word=_is_letter((rest or [head])[-1][-1]),
    )


@functools.lru_cache(maxsize=4096)
def _starred(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("*"))


def wildcard_fits(pattern: str, value: str) -> bool:
    """Whether ``value`` is like ``pattern``, in which * stands for anything; takes time in proportion to both."""
    first, *rest = _starred(pattern)
    if not rest:
        return value == pattern
    *middle, last = rest
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    start, end = len(first), len(value) - len(last)
    for piece in middle:
        found = value.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True
