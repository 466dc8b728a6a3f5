"""Words and patterns of an administrator's list, found where routing's rules would find them. Pure."""

import unicodedata
from collections.abc import Sequence

import regex  # type: ignore[import-untyped]

from gateway.guards.patterns import Pattern, Patterns
from routing.conditions import PATTERN_SECONDS
from routing.keywords import UNSPACED
from routing.rules import compile_pattern

LONGEST = 1_000
"""Characters of what a pattern of the list finds; and of a text as it comes no more is held back for it."""
LONGEST_SPACE = 20
_LETTER = rf"[\w--{UNSPACED.pattern}]"


def wordlist(words: Sequence[str], patterns: Sequence[str], label: str, *, owner: str = "") -> Patterns:
    """Return what finds them for the guard ``owner``; raises ValueError for a pattern that is none."""
    found = [
        Pattern(
            category="pattern",
            label=label,
            expression=_compiled(one),
            seconds=PATTERN_SECONDS,
            longest=LONGEST,
            owner=owner,
        )
        for one in patterns
    ]
    if words:
        # Of several that begin alike the longest is found.
        union = "|".join(map(_expression, sorted(words, key=lambda word: (-len(word), word))))
        expression = regex.compile(union, regex.IGNORECASE | regex.VERSION1)
        found.insert(0, Pattern(category="word", label=label, expression=expression, longest=LONGEST))
    return Patterns.apart(found, seconds=PATTERN_SECONDS, longest=LONGEST, owner=owner)


def _compiled(pattern: str) -> regex.Pattern[str]:
    expression, error = compile_pattern(pattern)
    if expression is None:
        raise ValueError(f"“{pattern}” is no regular expression: {error}.")
    if expression.search("") is not None:
        raise ValueError(f"“{pattern}” also finds nothing at all, and so would fit everywhere.")
    return expression


def _expression(word: str) -> str:
    """Return a keyword as an expression: on the borders of words, and with any white space for its own."""
    pieces = unicodedata.normalize("NFC", word).split()
    text = rf"\s{{1,{LONGEST_SPACE}}}".join("".join(map(_character, piece)) for piece in pieces)
    before = rf"(?<!{_LETTER})" if _is_letter(pieces[0][0]) else ""
    after = rf"(?!{_LETTER})" if _is_letter(pieces[-1][-1]) else ""
    return f"{before}{text}{after}"


def _character(character: str) -> str:
    apart = unicodedata.normalize("NFD", character)
    escaped = str(regex.escape(character, literal_spaces=True))
    return escaped if apart == character else f"(?:{escaped}|{apart})"


def _is_letter(character: str) -> bool:
    return (character.isalnum() or character == "_") and not UNSPACED.match(character)
