"""What a guard expert says, from the words of the models made for it. Pure.

Sources: the model cards of Llama Guard 3 ("safe", or "unsafe" and on the next line S1,S2), of ShieldGemma ("Yes" where
the text violates the policy) and of Granite Guardian ("Yes" where the risk is there; since 3.2 in <score>).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    is_unsafe: bool
    categories: tuple[str, ...] = ()


class Unreadable(ValueError):
    """The expert did not answer as it was asked to."""


_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_SCORE = re.compile(r"<score>\s*(yes|no|[01](?:\.\d+)?)\s*</score>", re.IGNORECASE)
_UNSAFE = frozenset({"unsafe", "harmful", "violation", "block", "blocked", "refuse", "yes", "true"})
_SAFE = frozenset({"safe", "harmless", "allow", "allowed", "ok", "pass", "no", "false", "none"})
_UNSAFE_FIELDS = ("unsafe", "flagged", "harmful", "violation", "blocked")
_VERDICT_FIELDS = ("verdict", "label", "decision", "result", "classification")
_CATEGORY_FIELDS = ("categories", "category", "violations")
MOST_CATEGORIES, LONGEST_CATEGORY = 10, 40


def verdict_of(answer: str, form: str = "auto") -> Verdict:
    """Return what ``answer`` says, in one of FORMS; raises Unreadable."""
    text = _THOUGHT.sub("", answer).strip()
    found = next((verdict for read in FORMS[form] if (verdict := read(text)) is not None), None)
    if found is None:
        raise Unreadable("it gave no verdict that can be read")
    return found


def _llama_guard(text: str) -> Verdict | None:
    first, *rest = text.splitlines() or [""]
    word, _, more = first.strip().partition(" ")
    word = word.strip("*.,:;\"'").lower()
    if word == "safe":
        return Verdict(False)
    return Verdict(True, _named(" ".join((more, *rest)))) if word == "unsafe" else None


def _yes_or_no(text: str) -> Verdict | None:
    word = re.match(r"\W*(yes|no)\b", text, re.IGNORECASE)
    return None if word is None else Verdict(word[1].lower() == "yes")


def _score(text: str) -> Verdict | None:
    found = _SCORE.search(text)
    if found is None:
        return None
    value = found[1].lower()
    return Verdict(value == "yes" if value in ("yes", "no") else float(value) >= 0.5)


def _json(text: str) -> Verdict | None:
    start = text.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start:])
    except (ValueError, RecursionError):
        return None
    unsafe = _is_unsafe(value)
    return None if unsafe is None else Verdict(unsafe, _listed(value) if unsafe else ())


def _is_unsafe(value: Mapping[str, Any]) -> bool | None:
    if isinstance(value.get("safe"), bool):
        return not value["safe"]
    for name in _UNSAFE_FIELDS:
        if isinstance(value.get(name), bool):
            return bool(value[name])
    word = next((value[name] for name in _VERDICT_FIELDS if isinstance(value.get(name), str)), "").strip().lower()
    return True if word in _UNSAFE else False if word in _SAFE else None


def _listed(value: Mapping[str, Any]) -> tuple[str, ...]:
    given = next((value[name] for name in _CATEGORY_FIELDS if value.get(name)), ())
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return _kept([name for name in names if isinstance(name, str)])


def _named(text: str) -> tuple[str, ...]:
    return _kept(re.split(r"[,\s]+", text))


def _kept(names: list[str]) -> tuple[str, ...]:
    cleaned = (re.sub(r"[^\w .:/-]", "", name)[:LONGEST_CATEGORY].strip() for name in names)
    return tuple(dict.fromkeys(name for name in cleaned if name))[:MOST_CATEGORIES]


Read = Callable[[str], Verdict | None]
FORMS: Mapping[str, tuple[Read, ...]] = {
    "auto": (_score, _json, _llama_guard, _yes_or_no),
    "llama-guard": (_llama_guard,),
    "shieldgemma": (_yes_or_no,),
    "granite-guardian": (_score, _yes_or_no),
    "json": (_json,),
}
