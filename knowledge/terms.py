"""Texts into the terms that BM25 counts. Pure.

Words are normalised (NFKC, case folded), cut down to their stems by the Snowball algorithm of their language, and
stripped of accents. Scripts that write no spaces become overlapping pairs of characters, as Lucene's CJK analysis
does. Compounds of code and catalogues ("max_tokens", "maxTokens") count as a whole and in their parts.
"""

import functools
import hashlib
import itertools
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import regex  # type: ignore[import-untyped]

# ISO 639-1 codes of the languages that the Snowball algorithms stem; others are taken word by word as they are.
STEMMERS: Mapping[str, str] = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[{_UNSPACED}\u30fc\u3005]+|[\p{{L}}\p{{M}}\p{{N}}_--[{_UNSPACED}]]+", regex.V1)
_IS_UNSPACED = regex.compile(rf"[{_UNSPACED}]")
_CLUSTER = regex.compile(r"\X")
_PARTS = regex.compile(r"\p{Lu}+(?!\p{Ll})|\p{Lu}?\p{Ll}+|\p{N}+")
_COMPOUND = regex.compile(r"_|\p{Ll}\p{Lu}")
# Marks that tell no words apart where they are left out in writing; in Indic scripts they are vowels and stay.
_MARKS = regex.compile(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}]\p{Mn}*)\p{Mn}+")
_ARABIC_ALIKE = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ة": "ه", "ـ": ""})
_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'"})

LONGEST_TERM = 80  # characters; longer runs are data, not words

_threads = threading.local()


def terms(text: str, language: str = "") -> Iterator[str]:
    """Yield the terms of ``text`` in order; ``language`` is an ISO 639-1 code, "" where it is not known."""
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)):
        word = match[0]
        if _IS_UNSPACED.match(word):
            yield from _pairs(word)
        else:
            yield from _stemmed(word[:LONGEST_TERM], language)


def counted(text: str, language: str = "") -> Counter[int]:
    """Return how often each term stands in ``text``, by the term's number."""
    return Counter(number_of(term) for term in terms(text, language))


@functools.lru_cache(maxsize=100_000)
def number_of(term: str) -> int:
    """Return the 32-bit number that stands for ``term`` in the postings table; two terms share one very seldom."""
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest(), signed=True)


def _pairs(run: str) -> Iterator[str]:
    clusters = _CLUSTER.findall(run.casefold())
    if len(clusters) == 1:
        yield clusters[0]
    for left, right in itertools.pairwise(clusters):
        yield left + right


@functools.lru_cache(maxsize=50_000)
def _stemmed(word: str, language: str) -> tuple[str, ...]:
    stem = _stem(word, language)
    if not _COMPOUND.search(word):
        return (stem,)
    parts = dict.fromkeys(_stem(part, language) for part in _PARTS.findall(word))
    parts.pop(stem, None)
    return (stem, *parts)


def _stem(word: str, language: str) -> str:
    folded = word.casefold()
    algorithm = STEMMERS.get(language)
    if algorithm is not None:
        folded = _stemmer(algorithm).stemWord(folded)
    return _bare(folded) or folded


def _bare(word: str) -> str:
    """Return a word without accents, and with those Arabic letters alike that are written for each other."""
    if word.isascii():
        return word
    decomposed = _MARKS.sub("", unicodedata.normalize("NFD", word))
    return unicodedata.normalize("NFC", decomposed).translate(_ARABIC_ALIKE)


def _stemmer(algorithm: str) -> Any:
    """Return this thread's stemmer; PyStemmer's are not made for several threads."""
    known = getattr(_threads, "stemmers", None)
    if known is None:
        known = _threads.stemmers = {}
    if algorithm not in known:
        import Stemmer

        known[algorithm] = Stemmer.Stemmer(algorithm)
    return known[algorithm]
