"""An edit as a value: which pieces of a document it takes the place of, and what it puts there. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A piece as it was parsed; ``page`` counts from 1."""

    text: str
    heading: str = ""
    page: int | None = None

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Original":
        return cls(text=stored["text"], heading=stored.get("heading", ""), page=stored.get("page"))

    def stored(self) -> dict[str, Any]:
        return {"text": self.text, "heading": self.heading, "page": self.page}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A text that stands in the place of originals; no ``heading`` is that of the first of them."""

    text: str
    heading: str | None = None
    enabled: bool = True

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Outcome":
        return cls(text=stored["text"], heading=stored.get("heading"), enabled=stored.get("enabled", True))

    def stored(self) -> dict[str, Any]:
        own = {} if self.heading is None else {"heading": self.heading}
        return {"text": self.text, "enabled": self.enabled, **own}


class StoredEdit(Protocol):
    """A row of ChunkEdit, as far as it counts here."""

    pk: Any
    originals: Any
    texts: Any
    before: Any
    after: Any
    ordinal: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """``before`` and ``after`` are the texts of the pieces around the originals, ``ordinal`` the first one's place.

    Without originals it adds its outcomes between those two.
    """

    id: int
    originals: tuple[Original, ...]
    outcomes: tuple[Outcome, ...]
    before: str = ""
    after: str = ""
    ordinal: int = 0

    @classmethod
    def of(cls, row: StoredEdit) -> "Edit":
        return cls(
            id=row.pk,
            originals=originals_of(row.originals),
            outcomes=tuple(map(Outcome.of, row.texts)),
            before=row.before,
            after=row.after,
            ordinal=row.ordinal,
        )


def originals_of(stored: Iterable[Mapping[str, Any]] | None) -> tuple[Original, ...]:
    return tuple(map(Original.of, stored or ()))


def joined(texts: Iterable[Original | Outcome]) -> str:
    """Return texts as one, as a reader would have them."""
    return "\n\n".join(one.text for one in texts)
