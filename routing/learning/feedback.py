"""What somebody says of a decision, written down; the last word of each sender counts."""

from typing import Any

from django.db import transaction

from routing.models import DecisionRecord, Expert, Feedback


@transaction.atomic
def feedback_give(
    *,
    record: DecisionRecord,
    source: Feedback.Source,
    rating: int,
    expert: Expert | None = None,
    comment: str = "",
    prompt: str = "",
    key_name: str = "",
    user: Any = None,
) -> Feedback:
    """Keep what a sender says of ``record``, in place of what they said of it before.

    ``prompt`` is the text a sender lets be learnt from where none was kept with the decision. A chat client's
    background job says nothing of who should answer people: its text is never taken.
    """
    said = {
        "rating": rating,
        "was": record.expert,
        "expert": expert,
        "comment": comment,
        "prompt": "" if record.route == "task" else record.prompt or prompt,
    }
    row, is_new = Feedback.objects.select_for_update(of=("self",)).get_or_create(
        decision=record.pk, source=source, key_name=key_name, user=user, defaults=said
    )
    if is_new:
        return row
    if any(getattr(row, name) != said[name] for name in ("was", "expert", "prompt")):
        row.proposal = None  # another correction than the one that was proposed to be learnt from
    for name, value in said.items():
        setattr(row, name, value)
    row.save()
    return row
