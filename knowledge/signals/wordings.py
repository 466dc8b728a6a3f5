"""Orders to a model in plain text: which of those of orders.py and phrases.py are in it.

There are hundreds, in thirty languages, and a text has next to none of them. So what could be there at all is told
first by the words of the text, which costs the same however many orders there are.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from knowledge.signals.orders import OVERRIDES, SENDING, Order
from knowledge.signals.phrases import WORDINGS
from knowledge.signals.plain import folded, plain

CLAUSE = 90
"""Characters before and after a verb in which the rest of its order stands."""
KEY = 4
"""Letters by which those words are looked up that stand for all that begin with them."""

_COMMON = frozenset(["the", "you", "your", "are", "this", "from", "that", "with", "and", "for"])
_WORD = re.compile(r"\w+")
_END = re.compile(r"[.!?;](?=\s|$)|[。！？।؟]")
_ADDRESS = re.compile(
    r"https?[:：]//|www\.|\bhxxps?|\S@[\w-]+\.\w|\bwebhook|\b(?:external|remote|attacker\S*) server\b|\bdiscord\b"
)
# Whoever is not to forget instructions is to follow them.
_NOT = re.compile(r"\b(?:do not|don't|never|nicht|nao (?:se )?|no (?:te |se )?|не|non|nie|n'|niet)\s?\Z")
# Scripts whose words are not set apart by spaces, or grow at both ends.
_JOINED = re.compile("[\u0590-\u08ff\u0900-\u0dff\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Sought:
    """A way for a signal to show: one of ``needs`` is there, then ``pattern``, and around it in its clause ``rest``."""

    signal: str
    needs: tuple[str, ...]
    pattern: re.Pattern[str]
    rest: tuple[re.Pattern[str], ...] = ()

    def is_in(self, text: str) -> bool:
        if not any(need in text for need in self.needs):
            return False
        if not self.rest:
            return self.pattern.search(text) is not None
        told = (match for match in self.pattern.finditer(text) if not _NOT.search(text[: match.start()][-12:]))
        clauses = (_clause(text, match) for match in told)
        return any(all(part.search(clause) for part in self.rest) for clause in clauses)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """All that is sought: by words, by the beginnings of words, and what may be inside of words."""

    by_word: Mapping[str, Sequence[_Sought]]
    by_beginning: Mapping[str, Sequence[_Sought]]
    anywhere: Sequence[_Sought]


def worded(text: str) -> frozenset[str]:
    """Return which signals ``text``, as plain() has it, shows in words."""
    index = _index()
    words = set(_WORD.findall(text))
    sought = {one for word in words & index.by_word.keys() for one in index.by_word[word]}
    beginnings = {word[:KEY] for word in words} & index.by_beginning.keys()
    sought |= {one for beginning in beginnings for one in index.by_beginning[beginning]}
    if not text.isascii() and _JOINED.search(text):
        sought |= set(index.anywhere)
    return frozenset(one.signal for one in sought if one.is_in(text))


def _clause(text: str, match: re.Match[str]) -> str:
    """Return what stands around a match, no further than to the ends of the sentence."""
    before = text[max(0, match.start() - CLAUSE) : match.start()]
    after = text[match.end() : match.end() + CLAUSE]
    ends = [end.end() for end in _END.finditer(before)]
    stop = _END.search(after)
    return f"{before[ends[-1] :] if ends else before} {after[: stop.start()] if stop else after}"


# --- what is sought, put together on first use ----------------------------------------------------------------------


@cache
def _index() -> _Index:
    by_word: dict[str, list[_Sought]] = defaultdict(list)
    by_beginning: dict[str, list[_Sought]] = defaultdict(list)
    anywhere = []
    for one, keys in _everything():
        for key in keys:
            if _JOINED.search(key):
                anywhere.append(one)
                continue
            word = max(reversed(_WORD.findall(key)), key=_rarity)
            if key.endswith(f"{word}*"):
                by_beginning[word[:KEY]].append(one)
            else:
                by_word[word].append(one)
    return _Index(by_word=dict(by_word), by_beginning=dict(by_beginning), anywhere=anywhere)


def _rarity(word: str) -> int:
    """Return a guess at how rare a word is: long ones are, but for a few."""
    return 0 if word in _COMMON else len(word)


def _everything() -> Iterator[tuple[_Sought, Sequence[str]]]:
    """Yield all that is sought, with what it is looked up by."""
    for order in OVERRIDES:
        yield _ordered("override", order), _keys(order.verbs)
    for order in SENDING:
        yield _ordered("exfiltration", order, _ADDRESS), _keys(order.verbs)
    for signal, rows in WORDINGS.items():
        for row in rows.strip("\n").split("\n"):
            needs, _, pattern = row.partition(" :: ")
            keys = _keys(needs.split(", "))
            yield _Sought(signal=signal, needs=_needs(keys), pattern=re.compile(folded(pattern))), keys


def _ordered(signal: str, order: Order, *more: re.Pattern[str]) -> _Sought:
    parts = (order.objects, order.which) if order.which else (order.objects,)
    needs = _needs(_keys(order.verbs))
    return _Sought(signal=signal, needs=needs, pattern=_any_of(order.verbs), rest=(*map(_any_of, parts), *more))


def _keys(words: Iterable[str]) -> tuple[str, ...]:
    """Return words as plain() reads them, with their stars and the spaces that tell where they begin or end."""
    return tuple(f"{' ' * word.startswith(' ')}{plain(word)}{' ' * word.endswith(' ')}" for word in words)


def _needs(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(key.rstrip("*") for key in keys)


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(_bounded(plain(word)) for word in words))


def _bounded(word: str) -> str:
    bare = re.escape(word.rstrip("*"))
    if _JOINED.search(word):
        return bare
    return rf"\b{bare}" if word.endswith("*") else rf"\b{bare}\b"
