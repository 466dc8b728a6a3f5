"""What the program says of a request, as it is read out of whatever a model wrote. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

UNTOLD_CONFIDENCE = 0.5
"""Where a model names an expert and no number that could be its confidence."""
LONGEST_REASON = 200
LONGEST_ANSWER = 4_000
"""Characters that are read of an answer."""
DEEPEST = 3
"""How many objects deep an answer is looked for: small models wrap it in others."""

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
# Of an answer cut short: strings that were closed, and numbers after which something came.
_EXPERT = re.compile(r'"expert"\s*:\s*"([^"\\]{1,200})"')
_CONFIDENCE = re.compile(r'"confidence"\s*:\s*("?[-+]?[0-9][0-9.eE+-]{0,30}%?"?)\s*[,}\s]')
_REASON = re.compile(r'"reason"\s*:\s*"([^"\\]{0,400})')
_AROUND = " \t\r\n\"'`*.“”„«»"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Names one of the experts that were permitted, with a confidence from 0 to 1 and a short sentence why."""

    expert: str
    confidence: float = UNTOLD_CONFIDENCE
    reason: str = ""


def read_answer(answer: str | Mapping[str, Any], permitted: Collection[str]) -> Verdict | None:
    """Return what an answer, as text or as its fields, says; None where it names no permitted expert.

    Whatever is in it, the verdict's expert is exactly one of ``permitted``.
    """
    if isinstance(answer, Mapping):
        return _of_fields(answer, permitted)
    text = _THOUGHTS.sub("", answer[:LONGEST_ANSWER])
    for fields in _objects(text):
        return _of_fields(fields, permitted)
    if match := _EXPERT.search(text):
        return _of_fields(_torn(text[match.start() :], match.group(1)), permitted)
    return _of_fields({"expert": text}, permitted)


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in ``text`` that have an expert, the outer ones first."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if (fields := _with_expert(found, DEEPEST)) is not None:
                yield fields
        at = text.find("{", end)


def _with_expert(found: Any, depth: int) -> Mapping[str, Any] | None:
    if isinstance(found, list):
        inner = found
    elif isinstance(found, dict):
        if "expert" in found:
            return found
        inner = list(found.values())
    else:
        return None
    if depth:
        for value in inner:
            if (fields := _with_expert(value, depth - 1)) is not None:
                return fields
    return None


def _torn(text: str, expert: str) -> Mapping[str, Any]:
    """Return the fields of an answer that broke off."""
    confidence, reason = _CONFIDENCE.search(text), _REASON.search(text)
    return {
        "expert": expert,
        "confidence": confidence.group(1).strip('"') if confidence else None,
        "reason": reason.group(1) if reason else "",
    }


def _of_fields(fields: Mapping[str, Any], permitted: Collection[str]) -> Verdict | None:
    named = fields.get("expert")
    if not isinstance(named, str):
        return None
    slug = named.strip(_AROUND)
    if slug not in permitted:
        alike = [one for one in permitted if one.casefold() == slug.casefold()]
        if len(alike) != 1:
            return None
        slug = alike[0]
    return Verdict(expert=slug, confidence=_confidence(fields.get("confidence")), reason=_reason(fields.get("reason")))


def _confidence(told: Any) -> float:
    """Return a number from 0 to 1; what is no number, or not a finite one, is ``UNTOLD_CONFIDENCE``."""
    share = 1.0
    if isinstance(told, str):
        told, share = (told.strip()[:-1], 0.01) if told.strip().endswith("%") else (told, 1.0)
    elif isinstance(told, bool) or not isinstance(told, int | float):
        return UNTOLD_CONFIDENCE
    try:
        number = float(told) * share
    except (ValueError, OverflowError):
        return UNTOLD_CONFIDENCE
    return min(1.0, max(0.0, number)) if math.isfinite(number) else UNTOLD_CONFIDENCE


def _reason(told: Any) -> str:
    if not isinstance(told, str):
        return ""
    printable = "".join(letter if letter.isprintable() else " " for letter in told[: 4 * LONGEST_REASON])
    flat = " ".join(printable.split())
    return flat if len(flat) <= LONGEST_REASON else f"{flat[: LONGEST_REASON - 1].rstrip()}…"
