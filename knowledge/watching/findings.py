"""What a look at a source finds, and what of it is new, changed or gone since the one before. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_LOST = 0.5
"""From this share of a source's documents on, that they are gone is not believed, but taken for a failure,"""
FEWEST_LOST = 10
"""if they are more than this many."""
BELIEVE = "Believe that they are gone"
"""What is chosen by whoever knows better."""


class SourceFailed(Exception):
    """A source could not be looked at; the message is for people."""


class ItemFailed(Exception):
    """One document of a source could not be had; ``gone``: it is not there any more."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The documents of a source by what they are recognised by, each with a stamp that changes when it does.

    An empty stamp says nothing. ``complete``: what is not in it is not there any more. ``notes`` are whole sentences.
    """

    stamps: Mapping[str, str]
    complete: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a source: the stamps of what was ``seen``, and its documents, with whether they are missing."""

    seen: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """``perhaps`` are those whose stamps do not tell whether they changed; ``back`` were missing, and are there."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def to_read(self) -> tuple[str, ...]:
        return (*self.new, *self.changed, *self.perhaps)


def changes(listing: Listing, known: Known) -> Changes:
    """Return what is otherwise than it was."""
    stamps, seen = listing.stamps, known.seen
    new = [source for source in stamps if source not in seen]
    old = [source for source in stamps if source in seen]
    gone = [source for source, missing in known.documents.items() if not missing and source not in stamps]
    return Changes(
        new=tuple(new),
        changed=tuple(source for source in old if stamps[source] and stamps[source] != seen[source]),
        perhaps=tuple(source for source in old if not stamps[source]),
        back=tuple(source for source, missing in known.documents.items() if missing and source in stamps),
        gone=tuple(gone) if listing.complete else (),
    )


def loss(gone: int, known: Known) -> str:
    """Return why it is not believed that so many documents are gone, in a sentence; empty where it is."""
    there = sum(not missing for missing in known.documents.values())
    if gone <= FEWEST_LOST or gone <= MOST_LOST * there:
        return ""
    return (
        f"{gone:,} of its {there:,} documents are not there any more. That looks like a failure of the "
        f"source, so nothing was marked as gone. If it is meant, choose '{BELIEVE}'."
    )
