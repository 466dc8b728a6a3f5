"""A short condition that describes some prompts and few others: what a rule could look for. Pure.

Looked for are words and short phrases (one of up to three), fenced code and a language, alone or together, as rules
know them. A condition that takes in more than a few of the others is none: a rule would move them too.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import regex  # type: ignore[import-untyped]

from routing.classifier.reading import read
from routing.keywords import UNSPACED, Phrases, Words
from routing.language import language_of
from routing.rules import Rule

COVERAGE = 0.8
"""The share of the prompts that a condition must fit."""
FEWEST_PROMPTS = 3
FEWEST_OTHERS = 10
"""Different prompts, and others to hold against them, below which anything could seem to describe them."""
MOST_STRAYS = 5
MOST_TERMS = 300
MOST_KEYWORDS = 3
FENCE = r"```|~~~"
# A term that is in fewer of the prompts is not tried; three of them could not cover enough.
_RARE = 0.25
_SHORTEST, _LONGEST = 2, 60
_UNSPACED_LENGTHS = (2, 3, 4)
_WORD_OR_GAP = regex.compile(r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_'’-]*|\s+|.", regex.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """When a rule fits; the names are those of its fields."""

    look_in: str = "instruction"
    keywords: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    pattern: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Condition":
        """Return the condition that ``fields`` gave."""
        lists = {name: tuple(content.get(name) or ()) for name in ("keywords", "languages")}
        return cls(look_in=content.get("look_in") or "instruction", pattern=content.get("pattern") or "", **lists)

    def fields(self) -> dict[str, Any]:
        """Return it as a row of a rule takes it."""
        return {
            "look_in": self.look_in,
            "keywords": list(self.keywords),
            "languages": list(self.languages),
            "pattern": self.pattern,
        }

    def rule(self, *, id: int, name: str, priority: int, expert: str) -> Rule:
        return Rule(
            id=id,
            name=name,
            priority=priority,
            look_in=self.look_in,
            keywords=self.keywords,
            languages=self.languages,
            pattern=self.pattern,
            expert=expert,
        )

    def __str__(self) -> str:
        where = "the instruction" if self.look_in == "instruction" else "the message"
        said = [f"{' or '.join(f'“{word}”' for word in self.keywords)} in {where}"] if self.keywords else []
        said += ["fenced code"] if self.pattern else []
        said += [f"the language {' or '.join(self.languages)}"] if self.languages else []
        return " and ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A condition that fits ``fits`` of the ``of`` prompts, and ``strays`` of the ``others``."""

    condition: Condition
    fits: int
    of: int
    strays: int
    others: int


class Prompt:
    """A prompt as conditions see it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._instruction = read(text).instruction
        self.words = {"instruction": Words(self._instruction), "message": Words(text)}

    @cached_property
    def language(self) -> str:
        return language_of(self._instruction)

    @cached_property
    def fenced(self) -> bool:
        return regex.search(FENCE, self.text) is not None


@dataclass(frozen=True, slots=True)
class _Test:
    """A condition with the positions of the prompts, and of the others, that it fits."""

    condition: Condition
    fits: frozenset[int]
    strays: frozenset[int]

    def rank(self) -> tuple[int, int, int]:
        """Return what orders tests, the best first.

        An other prompt that is moved, and a word or a part that makes the condition longer, weigh two prompts that
        are missed: a condition that only just tells these prompts from those says little of the next ones.
        """
        keywords = self.condition.keywords
        parts = bool(keywords) + bool(self.condition.pattern) + bool(self.condition.languages)
        longer = sum(len(keyword.split()) for keyword in keywords) - bool(keywords) + parts
        return 2 * (len(self.strays) + longer) - len(self.fits), longer, -sum(map(len, keywords))


def describing(prompts: Iterable[str], others: Iterable[str]) -> list[Described]:
    """Return the conditions that describe ``prompts`` well and few of ``others``, the best first.

    Takes about a fifth of a second for a thousand others.
    """
    mine = [Prompt(text) for text in dict.fromkeys(prompts)]
    rest = [Prompt(text) for text in dict.fromkeys(others)]
    if len(mine) < FEWEST_PROMPTS or len(rest) < FEWEST_OTHERS:
        return []
    enough = -(-len(mine) * COVERAGE // 1)
    most = min(MOST_STRAYS, max(1, len(rest) // 100), len(mine) // 4)
    tests = [test for look_in in ("instruction", "message") for test in _by_words(mine, rest, look_in)]
    wholes = [test for test in (*_by_language(mine, rest), *_by_fence(mine, rest)) if len(test.fits) >= enough]
    together = [_both(one, other) for one in tests for other in wholes if len(one.strays) > most]
    together += [_both(one, other) for one, other in pairwise(wholes)]
    clean = [test for test in tests if len(test.strays) <= most]
    found = chain(tests, wholes, together, _unions(clean, int(enough), most))
    good = {test.condition: test for test in found if len(test.fits) >= enough and len(test.strays) <= most}
    return [
        Described(
            condition=test.condition, fits=len(test.fits), of=len(mine), strays=len(test.strays), others=len(rest)
        )
        for test in sorted(good.values(), key=_Test.rank)
    ]


def _test(
    condition: Condition, fits: Callable[[Prompt], object], mine: Sequence[Prompt], rest: Sequence[Prompt]
) -> _Test:
    return _Test(
        condition,
        frozenset(place for place, prompt in enumerate(mine) if fits(prompt)),
        frozenset(place for place, prompt in enumerate(rest) if fits(prompt)),
    )


def _both(one: _Test, other: _Test) -> _Test:
    condition = Condition(
        look_in=one.condition.look_in,
        keywords=one.condition.keywords or other.condition.keywords,
        languages=one.condition.languages or other.condition.languages,
        pattern=one.condition.pattern or other.condition.pattern,
    )
    return _Test(condition, one.fits & other.fits, one.strays & other.strays)


def _by_language(mine: Sequence[Prompt], rest: Sequence[Prompt]) -> Iterator[_Test]:
    likeliest, _ = Counter(prompt.language for prompt in mine).most_common(1)[0]
    if likeliest:
        yield _test(Condition(languages=(likeliest,)), lambda prompt: prompt.language == likeliest, mine, rest)


def _by_fence(mine: Sequence[Prompt], rest: Sequence[Prompt]) -> Iterator[_Test]:
    if any(prompt.fenced for prompt in mine):
        yield _test(Condition(look_in="message", pattern=FENCE), lambda prompt: prompt.fenced, mine, rest)


def _by_words(mine: Sequence[Prompt], rest: Sequence[Prompt], look_in: str) -> Iterator[_Test]:
    counts = Counter(term for prompt in mine for term in terms(prompt.words[look_in]))
    fewest = max(2, len(mine) * _RARE)
    frequent = [(term, count) for term, count in counts.items() if count >= fewest]
    frequent.sort(key=lambda found: (-found[1], len(found[0].split()), -len(found[0]), found[0]))
    for term, _ in frequent[:MOST_TERMS]:
        phrases = Phrases.of([term])

        def fits(prompt: Prompt, phrases: Phrases = phrases) -> bool:
            return phrases.first(prompt.words[look_in]) is not None

        yield _test(Condition(look_in=look_in, keywords=(term,)), fits, mine, rest)


def _unions(tests: Sequence[_Test], enough: int, most: int) -> Iterator[_Test]:
    """Yield, for each place where words are looked for, a few words of which each prompt has one."""
    for look_in in ("instruction", "message"):
        inside = sorted((test for test in tests if test.condition.look_in == look_in), key=_Test.rank)
        for first in inside[:10]:
            union = first
            while len(union.fits) < enough and len(union.condition.keywords) < MOST_KEYWORDS:
                allowed = [test for test in inside if len(test.strays | union.strays) <= most]
                best = max(allowed, key=lambda test, union=union: len(test.fits - union.fits), default=None)  # type: ignore[misc]
                if best is None or len(best.fits - union.fits) < 2:
                    break
                keywords = (*union.condition.keywords, *best.condition.keywords)
                condition = Condition(look_in=look_in, keywords=keywords)
                union = _Test(condition, union.fits | best.fits, union.strays | best.strays)
            yield union


def terms(words: Words) -> set[str]:
    """Return what could be looked for in a text: words, phrases of two and three, pieces of what has no gaps."""
    found: set[str] = set()
    for run in _runs(words.folded):
        for length in (1, 2, 3):
            found.update(" ".join(run[at : at + length]) for at in range(len(run) - length + 1))
    for piece in regex.findall(rf"(?:{UNSPACED.pattern})+", words.folded):
        for length in _UNSPACED_LENGTHS:
            found.update(piece[at : at + length] for at in range(len(piece) - length + 1))
    return {term for term in found if _SHORTEST <= len(term) <= _LONGEST and any(map(str.isalpha, term))}


def _runs(text: str) -> Iterator[list[str]]:
    """Yield words that follow each other with nothing but white space between them."""
    run: list[str] = []
    for token in _WORD_OR_GAP.findall(text):
        if token.isspace():
            continue
        if token[0].isalnum() and not UNSPACED.search(token):
            run.append(token)
        elif run:
            yield run
            run = []
    if run:
        yield run
