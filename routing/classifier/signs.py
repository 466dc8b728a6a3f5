"""Signs of what a prompt wants, as numbers. Pure."""

import math
import re
from collections.abc import Iterator
from functools import cache

from routing.classifier.lexicon import GROUPS, first_group, folded, group_counts
from routing.classifier.reading import Reading

_OPTIONS = re.compile(r"(?:^|\s)[(（]?([A-Ea-e①-⑤ア-オ가-마а-гأ-د])[)）.、:]\s?\S", re.MULTILINE)
_SCRIPTS = (
    ("latin", re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")),
    ("cyrillic", re.compile("[\u0400-\u04ff]")),
    ("han", re.compile("[\u4e00-\u9fff]")),
    ("kana", re.compile("[\u3040-\u30ff]")),
    ("hangul", re.compile("[\uac00-\ud7a3]")),
    ("arabic", re.compile("[\u0600-\u06ff]")),
    ("indic", re.compile("[\u0900-\u0dff]")),
    ("thai", re.compile("[\u0e00-\u0eff]")),
    ("other", re.compile("[\u0370-\u03ff\u0590-\u05ff\u10a0-\u10ff]")),
)
SHAPES: dict[str, re.Pattern[str]] = {
    "latex": re.compile(r"\$[^$\n]{1,80}\$|\\(?:frac|sqrt|sum|int|begin|cdot|leq?|geq?|in|mathbb|pi|theta)\b|\^\{?\d"),
    "arithmetic": re.compile(r"\d\s*[-+*/×÷=^<>]\s*[\d(x-z]|[a-z]\s*[=+^]\s*-?\d"),
    "number": re.compile(r"\d+(?:[.,]\d+)*"),
    "currency": re.compile(r"[$€£¥₹₽]\s?\d|\d\s?(?:[$€£¥₹₽]|usd|eur|rs\b|元|円|원|руб)", re.IGNORECASE),
    "units": re.compile(r"\d\s?(?:cm|mm|km|kg|mg|ml|mph|km/h|litres?|liters?|hours?|minutes?|days?|years?|%)\b", re.I),
    "code": re.compile(
        r"[{};]\s*$|^\s*(?:def|class|import|from|for|while|if|return|public|private|const|let|var|function|#include|"
        r"SELECT|INSERT|UPDATE|CREATE|<\w+)\b|\w+\([^)\n]*\)|=>|==|!=|::|->|&&|\|\||</\w+>",
        re.MULTILINE,
    ),
    "file": re.compile(r"\b[\w-]+\.(?:py|js|ts|java|c|cpp|rs|go|sh|sql|csv|json|ya?ml|html|css|xlsx?|txt|log|conf)\b"),
    "stub": re.compile(r"^\s*(?:def|function|class|public|fn)\s+\w+.*\n\s*(?:\"\"\"|'''|//|/\*|#)", re.MULTILINE),
    "email": re.compile(r"\S@\S+\.\w|^(?:dear|hi|hello|from|to|subject|re)\b[ :,]", re.IGNORECASE | re.MULTILINE),
    "date": re.compile(r"\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b|\b(?:19|20)\d\d\b|\d+月\d+日"),
    "record": re.compile(
        r"^\s*(?:input|output|instruction|text|q|a|question|answer|user|答案|输入|问题)\s*[:：]", re.I | re.M
    ),
    "bullet": re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s", re.MULTILINE),
    "table": re.compile(r"^.*\|.*\|.*$|^[^,\n]+(?:,[^,\n]+){3,}$|\t", re.MULTILINE),
    "label": re.compile(r"^[A-Z][\w ]{1,20}:\s", re.MULTILINE),
    "blank": re.compile(r"_{3,}|\[(?:blank|mask|name|your)"),
    "clue": re.compile(
        r"\b(?:each (?:person|house|one|has|of (?:them|the))|a different|next to|(?:left|right) of|"
        r"(?:old|tall|young|heavi|fast)er than|"
        r"exactly one|neither|clues?|tells the truth|liars?|knights?|knaves?|swaps?|seated|sits|"
        r"valid or invalid|premises?)\b",
        re.IGNORECASE,
    ),
    "day": re.compile(r"MM/DD|\b(?:yesterday|tomorrow|today is|days? (?:ago|later|from)|week from)\b", re.IGNORECASE),
    "choice": re.compile(
        r"which (?:one )?of (?:the following|these)|best (?:describes|explains|supports)|"
        r"most (?:likely|accurate|directly)|"
        r"\b(?:EXCEPT|NOT)\b|can be (?:inferred|concluded)|according to the (?:passage|text|author)|"
        r"以下哪|下列|正确的是|错误的是"
    ),
    "url": re.compile(r"https?://|www\."),
}


def vector(text: str, reading: Reading, languages: tuple[str, str]) -> list[float]:
    """Return the signs of a prompt, in the order of ``NAMES``; each from about -1 to about 3.

    ``languages`` are those of its head and of its body ("" when not known or when there is none).
    """
    return [value for _, value in _signs(text, reading, languages)]


@cache
def names() -> tuple[str, ...]:
    """Return what each number of ``vector`` is."""
    return tuple(name for name, _ in _signs("", Reading("", "", "", False, False), ("", "")))


def _signs(text: str, reading: Reading, languages: tuple[str, str]) -> Iterator[tuple[str, float]]:
    head, tail = folded(reading.head), folded(reading.tail)
    opening, rest = head[:60], head[60:]
    for zone, part in (("opening", opening), ("rest", rest), ("tail", tail)):
        found = group_counts(part)
        for name, count in zip(GROUPS, found, strict=True):
            yield f"{zone}:{name}", math.log1p(count)
    body = group_counts(folded(reading.body[:400]))
    for name, count in zip(GROUPS, body, strict=True):
        yield f"body:{name}", 0.5 * math.log1p(count)
    earliest = first_group(head)
    for number, name in enumerate(GROUPS):
        yield f"first:{name}", float(earliest == number)
    sample = text if len(text) <= 2400 else f"{text[:1400]}\n{text[-1000:]}"
    for name, pattern in SHAPES.items():
        count = sum(1 for _ in pattern.finditer(sample))
        yield f"shape:{name}", 0.5 * math.log1p(count)
    for name in ("arithmetic", "number", "code", "currency"):
        yield f"ends:{name}", 0.5 * math.log1p(sum(1 for _ in SHAPES[name].finditer(reading.tail or reading.head)))
    yield from _form(text, sample, reading)
    yield from _script(reading, languages)


def _form(text: str, sample: str, reading: Reading) -> Iterator[tuple[str, float]]:
    options = {mark.upper() for mark in _OPTIONS.findall(sample)}
    lines = sample.count("\n") + 1
    letters = sum(map(str.isalpha, sample)) or 1
    yield "long", math.log1p(len(text)) / 4 - 1
    yield "head length", math.log1p(len(reading.head)) / 4 - 1
    yield "has body", float(len(reading.body) > 80)
    yield "body length", math.log1p(len(reading.body)) / 7
    yield "has tail", float(bool(reading.tail))
    yield "lines", math.log1p(lines) / 2
    yield "fenced", float(reading.fenced)
    yield "quoted", float(reading.quoted)
    yield "options", float(len(options) >= 3)
    yield "asks", float(reading.head.rstrip().endswith(("?", "？", "؟")))
    yield "asks at the end", float(text.rstrip().endswith(("?", "？", "؟")))
    yield "asks somewhere", float(any(mark in reading.instruction for mark in "?？؟"))
    yield "head ends in colon", float(reading.head.rstrip().endswith((":", "：")))
    yield "colon early", float(any(mark in reading.head[:120] for mark in ":："))
    yield "digits", min(1.0, 5 * sum(map(str.isdigit, sample)) / letters)
    yield "punctuation of code", min(1.0, 10 * sum(sample.count(mark) for mark in "{}[]();=<>/\\_") / (letters + 20))
    yield "sentences", math.log1p(sum(sample.count(mark) for mark in ".!?。！？")) / 2
    yield "capitals", min(1.0, 5 * sum(map(str.isupper, sample)) / letters)
    yield "I", float(bool(re.search(r"\b(?:i|my|me|i'm)\b", reading.head, re.IGNORECASE)))
    yield "you", float(bool(re.search(r"\b(?:you|your)\b", reading.head, re.IGNORECASE)))
    yield "short", float(len(text) < 40)


def _script(reading: Reading, languages: tuple[str, str]) -> Iterator[tuple[str, float]]:
    first, last = reading.head, reading.body or reading.tail
    total, rest = len(first) or 1, len(last) or 1
    shares = []
    for name, pattern in _SCRIPTS:
        share = len(pattern.findall(first)) / total
        shares.append((share, len(pattern.findall(last)) / rest))
        yield f"script:{name}", min(1.0, 1.5 * share)
    mixed = sum(1 for share, _ in shares if share > 0.08)
    yield "two scripts", float(mixed > 1)
    yield "another script", max(abs(one - other) for one, other in shares) if last else 0.0
    yield "another language", float(bool(languages[0] and languages[1] and languages[0] != languages[1]))
    yield "english", float(languages[0] == "en")
