"""Rules over the text of a request. Pure."""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Scripts written without spaces between words, and Korean, whose particles follow a word without one: there a
# keyword fits wherever it stands.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\uff66-\uff9d"
)
UNSPACED = re.compile(f"[{_UNSPACED}]")
# A letter of a script with spaces: what may not stand right beside a keyword of such a script.
_LETTER = rf"[^\W{_UNSPACED}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule as the router tries it: ``keywords`` any of which makes it fit, and the expert's slug."""

    id: int
    name: str
    priority: int
    expert: str
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    rule: Rule
    keyword: str


def first_match(rules: Iterable[Rule], text: str) -> Match | None:
    """Return the first of ``rules`` (in their order) that fits ``text``, with the keyword that made it fit."""
    text = unicodedata.normalize("NFC", text)
    for rule in rules:
        if found := keyword_pattern(rule.keywords).search(text):
            return Match(rule=rule, keyword=found.group(0))
    return None


@functools.lru_cache(maxsize=4096)
def keyword_pattern(keywords: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern for any of ``keywords`` on word boundaries; spaces in a phrase fit any white space."""
    choices = []
    for keyword in keywords:
        words = unicodedata.normalize("NFC", keyword).split()
        if not words:
            continue
        body = r"\s+".join(re.escape(word) for word in words)
        first, last = words[0][0], words[-1][-1]
        before = f"(?<!{_LETTER})" if _has_boundary(first) else ""
        after = f"(?!{_LETTER})" if _has_boundary(last) else ""
        choices.append(f"{before}{body}{after}")
    return re.compile("|".join(choices) or r"(?!)", re.IGNORECASE)


def _has_boundary(character: str) -> bool:
    return (character.isalnum() or character == "_") and not UNSPACED.match(character)
