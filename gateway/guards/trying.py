"""What each guard would find in a text, and do about it. Nothing is counted or kept."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.guards.findings import Action, Place
from gateway.guards.guard import Guard, Signals, Size
from gateway.guards.guarding import as_turn
from gateway.guards.judging import Judge, judged
from gateway.guards.masks import Masks
from gateway.guards.patterns import Patterns, Undecided
from gateway.guards.scanning import Masker, Scanner
from gateway.guards.spoken import Spoken
from knowledge.signals import signals_of
from routing.catalog import Catalog
from routing.pool import Pool
from routing.tokens import estimate_text

TENANT = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a guard makes of a text; ``note`` says why it could not tell, or was not asked."""

    guard: Guard
    found: Counter[str]
    note: str = ""

    @property
    def acts(self) -> bool:
        return bool(self.found) or (bool(self.note) and self.guard.refuses and not self.guard.fails_open)

    @property
    def says(self) -> str:
        """What it would do, in words."""
        if not self.acts:
            return "would let it pass"
        if self.guard.action is Action.MASK and not isinstance(self.guard.work, Patterns):
            return "would leave the passage out"
        return {Action.LOG: "would note it", Action.MASK: "would mask it", Action.REFUSE: "would refuse it"}[
            self.guard.action
        ]

    @property
    def categories(self) -> str:
        return ", ".join(f"{name} ({count})" for name, count in sorted(self.found.items()))


async def tried(guard: Guard, text: str, place: Place, *, known: Catalog, pool: Pool | None) -> Trial:
    """Return what ``guard`` makes of ``text``; without ``pool`` no expert is asked."""
    try:
        if isinstance(guard.work, Judge):
            if pool is None:
                return Trial(guard=guard, found=Counter(), note=f"{guard.work.expert} was not asked")
            found: Sequence[str] = await judged(guard.work, (as_turn(text),), known=known, pool=pool, tenant=TENANT)
        else:
            found = _found(guard, text, place)
    except Undecided as error:
        return Trial(guard=guard, found=Counter(), note=str(error))
    return Trial(guard=guard, found=Counter(found))


def _found(guard: Guard, text: str, place: Place) -> Sequence[str]:
    work = guard.work
    if isinstance(work, Patterns):
        return [span.category for span in work.spans(text)]
    if isinstance(work, Spoken):
        return work.asked(text) if place is Place.INPUT else work.of(text)
    if isinstance(work, Size):
        beyond = work.beyond(len(text), lambda: estimate_text(text))
        return () if beyond is None else (beyond[0],)
    assert isinstance(work, Signals)
    return [name for name in signals_of(text) if name in work.names]


def masked(guards: Iterable[Guard], text: str) -> str:
    """Return ``text`` as those of ``guards`` that mask leave it."""
    masks = Masks()
    masks.avoid((text,))
    maskers = [
        Masker(patterns=guard.work, replace=lambda span, found: masks.numbered(span, found, restore=False))
        for guard in guards
        if guard.action is Action.MASK and isinstance(guard.work, Patterns)
    ]
    return Scanner(maskers, goes_on=lambda error: True).finish(text)
