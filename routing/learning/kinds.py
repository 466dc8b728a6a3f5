"""Corrections by kind: who should have answered, instead of whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count, Q

from routing.models import Expert, Feedback, Proposal

SEVERAL = "several experts"
"""Instead of whom, where no single expert was corrected often enough; no expert's slug has a space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Corrections to ``expert`` of decisions for those ``among`` whom, and the proposal that waits, if one does.

    ``was`` is what they are called together: the one expert that was corrected, or several.
    """

    was: str
    expert: Expert
    among: frozenset[str] = frozenset()
    proposal: Proposal | None = None

    @property
    def corrections(self) -> list[Feedback]:
        """Return those that no proposal was made of, and those that the waiting one is made of."""
        mine = Q(proposal=None, was__in=self.among, expert=self.expert)
        if self.proposal:
            mine |= Q(proposal=self.proposal)
        return list(Feedback.objects.learnable().filter(mine).select_related("expert").order_by("pk"))

    @property
    def is_due(self) -> bool:
        """Whether there is something to propose, or the proposal that waits is made of others than there are now."""
        if self.proposal is None:
            return True
        made_of = self.proposal.content.get("corrections") or ()
        return {one.pk for one in self.corrections} != set(made_of)


def kinds_read() -> list[Kind]:
    """Return every kind of which there are enough corrections for a proposal, or a proposal that waits."""
    least = int(settings.PROPOSAL_CORRECTIONS)
    if least <= 0:
        return []
    counts: dict[int, dict[str, int]] = {}
    free = Feedback.objects.learnable().filter(proposal=None).order_by()
    for was, expert, count in free.values_list("was", "expert").annotate(Count("pk")):
        counts.setdefault(expert, {})[was] = count
    waiting: dict[int, dict[str, Proposal]] = {}
    for proposal in Proposal.objects.filter(status=Proposal.Status.OPEN).order_by("-pk"):
        waiting.setdefault(proposal.expert_id, {})[proposal.was] = proposal
    experts = Expert.objects.in_bulk({*counts, *waiting})
    return [
        Kind(was=was, expert=expert, among=among, proposal=waiting.get(pk, {}).get(was))
        for pk, expert in sorted(experts.items())
        for was, among in sorted(grouped(counts.get(pk, {}), waiting.get(pk, {}), least).items())
    ]


def grouped(counts: Mapping[str, int], waiting: Collection[str], least: int) -> dict[str, frozenset[str]]:
    """Return, for one expert, the kinds of corrections: their names, with those whose decisions are corrected.

    ``counts`` is how often each expert was corrected, ``waiting`` the kinds of proposals that wait. An expert that was
    corrected ``least`` times is a kind of its own; what is left is one together, if it is as many.
    """
    own = set(waiting) - {SEVERAL}
    if SEVERAL not in waiting:
        own |= {was for was, count in counts.items() if count >= least}
    found = {was: frozenset({was}) for was in own}
    rest = frozenset(counts) - own
    if SEVERAL in waiting or sum(counts[was] for was in rest) >= least:
        found[SEVERAL] = rest
    return found
