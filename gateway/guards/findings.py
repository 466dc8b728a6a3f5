"""What guards find, and what is said of it: never the text itself. Values only."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Place(StrEnum):
    INPUT = "input"
    RETRIEVED = "retrieved"
    OUTPUT = "output"


class Action(StrEnum):
    LOG = "log"
    MASK = "mask"
    REFUSE = "refuse"

    @property
    def done(self) -> str:
        return {Action.LOG: "logged", Action.MASK: "masked", Action.REFUSE: "refused"}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a text holds something: from ``start`` to before ``end``, in characters.

    ``label`` is what a mask in its place is called, ``category`` what it is, more closely.
    """

    start: int
    end: int
    category: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a guard found in one place of a request; ``note`` says why it could not tell, where it could not."""

    name: str
    check: str
    place: Place
    action: Action
    found: int = 0
    categories: tuple[str, ...] = ()
    note: str = ""

    def body(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": self.name,
            "check": self.check,
            "place": str(self.place),
            "action": str(self.action),
            "found": self.found,
            "categories": list(self.categories),
        }
        return told | ({"note": self.note} if self.note else {})


class Tally:
    """Counts what the guards of one request find, by guard and place."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, Place, Action], Counter[str]] = {}
        self._notes: dict[tuple[str, str, Place, Action], str] = {}

    def add(self, *, name: str, check: str, place: Place, action: Action, category: str, times: int = 1) -> None:
        self._counts.setdefault((name, check, place, action), Counter())[category] += times

    def note(self, *, name: str, check: str, place: Place, action: Action, note: str) -> None:
        self._counts.setdefault((name, check, place, action), Counter())
        self._notes[name, check, place, action] = note

    def found(self) -> tuple[Found, ...]:
        return tuple(
            Found(
                name=key[0],
                check=key[1],
                place=key[2],
                action=key[3],
                found=counts.total(),
                categories=tuple(sorted(counts)),
                note=self._notes.get(key, ""),
            )
            for key, counts in self._counts.items()
        )


def header_of(found: Iterable[Found]) -> str:
    """Return what the header X-MoE-Guards says, such as ``keys=masked(2), house=logged(1)``."""
    return ", ".join(f"{one.name}={one.action.done}({one.found})" for one in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event that tells the client what guards found so far.

    ``restored`` are the texts that come back in the answer, with the masks that a model was shown in their place: what
    is kept of the answer has those (texts.hidden).
    """

    guards: tuple[Found, ...] = ()
    restored: Mapping[str, str] = field(default_factory=dict, repr=False)
