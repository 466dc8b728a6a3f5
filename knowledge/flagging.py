"""Which chunks are flagged: those with signals (knowledge/signals) that nobody has dismissed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction

from knowledge.authors import Author
from knowledge.models import Chunk, Dismissal
from knowledge.signals import signals_of

EXCERPT = 200
ROWS = 500
"""Chunks that are looked at together."""

Signals = tuple[str, ...]


def flag(rows: Sequence[Chunk], title: str) -> None:
    """Set what chunks that are to be written show, as parts of a document called ``title``."""
    found = {row.hash: signals_of(title, row.heading, row.text) for row in rows}
    left = _left(found)
    for row in rows:
        row.signals = list(left[row.hash])


def flags_changed(texts: Mapping[int, tuple[str, Sequence[str]]]) -> dict[int, Signals]:
    """Return what chunks show now, of those that showed something else; ``texts`` are their hashes and their texts."""
    found = {pk: signals_of(*parts) for pk, (_, parts) in texts.items()}
    left = _left({hash_: found[pk] for pk, (hash_, _) in texts.items()})
    stored = Chunk.objects.filter(pk__in=texts).values_list("pk", "signals")
    return {pk: left[texts[pk][0]] for pk, signals in stored if tuple(signals) != left[texts[pk][0]]}


def flags_write(signals: Mapping[int, Signals]) -> None:
    """Write what chunks show, by their ids."""
    alike: dict[Signals, list[int]] = defaultdict(list)
    for pk, names in signals.items():
        alike[names].append(pk)
    for names, pks in alike.items():
        Chunk.objects.filter(pk__in=pks).update(signals=list(names))


def flags_renew(chunks: Iterable[int]) -> int:
    """Look again at chunks as they are now, and return how many show something else than before."""
    ids = list(chunks)
    return sum(_renewed(ids[start : start + ROWS]) for start in range(0, len(ids), ROWS))


def flags_renew_all(collection: int | None = None) -> int:
    """Look again at every chunk, or at those of one collection; return how many show something else than before."""
    rows = Chunk.objects.order_by("pk") if collection is None else Chunk.objects.filter(collection=collection)
    return flags_renew(rows.values_list("pk", flat=True))


def chunks_dismiss(*, chunks: Sequence[Chunk], author: Author, reason: str = "") -> int:
    """Remember that the signals of ``chunks`` mean nothing, and return how many chunks are not flagged any more."""
    found: dict[str, set[str]] = defaultdict(set)
    texts = {}
    for chunk in chunks:
        if chunk.signals:
            found[chunk.hash] |= set(chunk.signals)
            texts[chunk.hash] = " ".join(chunk.text[: 4 * EXCERPT].split())[:EXCERPT]
    with transaction.atomic():
        for hash_, signals in sorted(found.items()):
            row, is_new = Dismissal.objects.select_for_update().get_or_create(
                hash=hash_,
                defaults={"signals": sorted(signals), "excerpt": texts[hash_], "reason": reason, **author.fields()},
            )
            if not is_new:
                row.signals = sorted({*row.signals, *signals})
                row.reason, row.author, row.author_name = reason or row.reason, author.user, author.name[:200]
                row.save(update_fields=["signals", "reason", "author", "author_name"])
        return flags_renew(Chunk.objects.filter(hash__in=found).order_by("pk").values_list("pk", flat=True))


def dismissal_withdraw(*, dismissal: Dismissal) -> int:
    """Forget a dismissal, and return how many chunks are flagged again."""
    with transaction.atomic():
        dismissal.delete()
        same = Chunk.objects.filter(hash=dismissal.hash).order_by("pk")
        return flags_renew(same.values_list("pk", flat=True))


def _left(found: Mapping[str, Signals]) -> dict[str, Signals]:
    """Return signals by hash without those that were dismissed; asks the database only where there are any."""
    some = [hash_ for hash_, signals in found.items() if signals]
    dismissed = dict(Dismissal.objects.filter(hash__in=some).values_list("hash", "signals")) if some else {}
    return {
        hash_: tuple(name for name in signals if name not in dismissed.get(hash_, ()))
        for hash_, signals in found.items()
    }


def _renewed(ids: Sequence[int]) -> int:
    rows = Chunk.objects.filter(pk__in=ids).select_related("document")
    shown = rows.only("hash", "heading", "text", "document__title")
    changed = flags_changed({row.pk: (row.hash, (row.document.title, row.heading, row.text)) for row in shown})
    flags_write(changed)
    return len(changed)
