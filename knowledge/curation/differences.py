"""What is different between two versions of a document, chunk by chunk and word by word. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

ALIKE = 0.4
"""From this share of common characters on a text is shown as a changed one, and not as another."""
AHEAD = 5
"""Texts further on that may be what a text became."""
MOST_STEPS = 4_000_000
"""Words of the one times words of the other that are compared; longer texts are shown as wholly replaced."""
# Words of scripts with spaces as a whole, of others each character.
_PARTS = re.compile(r"\s+|[^\W\u0e00-\U0010ffff]+|.", re.DOTALL)


class Change(StrEnum):
    SAME = "same"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A chunk as it is compared."""

    text: str
    heading: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Words that are in both texts, or in one of them only."""

    change: Change
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A chunk in both versions, None where it is not in one; ``words`` are those of a changed one."""

    change: Change
    old: Text | None = None
    new: Text | None = None
    words: tuple[Stretch, ...] = ()


def differences(old: Sequence[Text], new: Sequence[Text]) -> Iterator[Difference]:
    """Yield every chunk of two versions, in reading order."""
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            for one, other in zip(old[a:b], new[c:d], strict=True):
                yield Difference(change=Change.SAME, old=one, new=other)
        else:
            yield from _paired(old[a:b], new[c:d])


def words_compared(old: str, new: str) -> tuple[Stretch, ...]:
    """Return two texts as one, with what was removed and added in its place."""
    before, after = _PARTS.findall(old), _PARTS.findall(new)
    if len(before) * len(after) > MOST_STEPS:
        return (Stretch(change=Change.REMOVED, text=old), Stretch(change=Change.ADDED, text=new))
    found: list[Stretch] = []
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(Stretch(change=Change.SAME, text="".join(before[a:b])))
            continue
        if a < b:
            found.append(Stretch(change=Change.REMOVED, text="".join(before[a:b])))
        if c < d:
            found.append(Stretch(change=Change.ADDED, text="".join(after[c:d])))
    return tuple(found)


def _paired(old: Sequence[Text], new: Sequence[Text]) -> Iterator[Difference]:
    place = 0
    for one in old:
        ahead = range(place, min(place + AHEAD, len(new)))
        found = next((at for at in ahead if _is_alike(one.text, new[at].text)), None)
        if found is None:
            yield Difference(change=Change.REMOVED, old=one)
            continue
        yield from (Difference(change=Change.ADDED, new=other) for other in new[place:found])
        words = words_compared(one.text, new[found].text)
        yield Difference(change=Change.CHANGED, old=one, new=new[found], words=words)
        place = found + 1
    yield from (Difference(change=Change.ADDED, new=other) for other in new[place:])


def _is_alike(one: str, other: str) -> bool:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return one == other or (matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE)
