"""Answers in the database: looking them up, and writing and sweeping them beside requests. Blocks; for threads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone
from pgvector.django import CosineDistance

from gateway.caching.kept import Kept
from gateway.caching.purging import purges_sweep
from gateway.models import ApiKey, CachedAnswer
from routing.batches import storable
from routing.sweeping import SWEEP_BATCH, old_rows_delete, surplus_rows_delete

_KEPT = ("digest", "key_id", "profile", "epoch", "created_at", "expires_at", "answer")
_UPDATED = [
    "context", "key", "profile", "asked", "expert", "question", "embedder", "vector", "answer", "created_at",
    "expires_at", "epoch",
]  # fmt: skip

# In the order of their digests, lest two processes wait for each other.
_ADD_HITS = """
UPDATE gateway_cachedanswer AS answer
SET hits = answer.hits + hit.hits, last_hit_at = GREATEST(answer.last_hit_at, to_timestamp(hit.at))
FROM (
    SELECT known.id, given.hits, given.at
    FROM unnest(%s::varchar[], %s::bigint[], %s::float8[]) AS given (digest, hits, at)
    JOIN gateway_cachedanswer AS known ON known.digest = given.digest
    ORDER BY known.digest FOR UPDATE OF known
) AS hit
WHERE answer.id = hit.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """An answer to a question whose cosine to another one is ``similarity``."""

    question: str
    similarity: float
    kept: Kept


def find(digest: str) -> Kept | None:
    """Return the answer to this very request; raises django.db.Error."""
    rows = CachedAnswer.objects.filter(digest=digest, expires_at__gt=timezone.now()).values_list(*_KEPT)
    return next((kept for row in rows if (kept := _kept(row))), None)


def nearest(context: str, vector: Sequence[float], embedder: str, *, threshold: float, most: int = 5) -> list[Similar]:
    """Return the answers to similar questions in the same context, the most similar first; raises django.db.Error.

    One context is one key's with one system prompt, so there are few of them, and no index of vectors is needed.
    """
    distance = CosineDistance("vector", list(vector))
    rows = CachedAnswer.objects.filter(context=context, embedder=embedder, expires_at__gt=timezone.now())
    near = rows.annotate(distance=distance).filter(distance__lte=1 - threshold).order_by("distance")
    found = []
    for question, away, *row in near.values_list("question", "distance", *_KEPT)[:most]:
        if kept := _kept(row):
            found.append(Similar(question=question, similarity=1 - away, kept=kept))
    return found


def _kept(row: Sequence[Any]) -> Kept | None:
    digest, key_id, profile, epoch, created, expires, answer = row
    try:
        return Kept.of(
            answer,
            digest=digest,
            key_id=key_id,
            profile=profile,
            epoch=epoch,
            created=created.timestamp(),
            expires=expires.timestamp(),
        )
    except (LookupError, TypeError, ValueError):
        return None  # of another version of this program


# --- beside requests --------------------------------------------------------------------------------------------


def write(rows: Sequence[CachedAnswer]) -> int:
    """Insert or replace ``rows``, without those that the database refuses; return how many. Raises django.db.Error."""
    known = set(ApiKey.objects.filter(pk__in={row.key_id for row in rows if row.key_id}).values_list("pk", flat=True))
    return _write([row for row in rows if row.key_id is None or row.key_id in known])


def _write(rows: Sequence[CachedAnswer]) -> int:
    if not rows:
        return 0
    try:
        with transaction.atomic():
            CachedAnswer.objects.bulk_create(
                [storable(row) for row in sorted(rows, key=lambda row: row.digest)],
                update_conflicts=True,
                unique_fields=["digest"],
                update_fields=_UPDATED,
            )
    except (DataError, IntegrityError):  # a key was deleted in this moment
        if len(rows) == 1:
            return 0
        half = len(rows) // 2
        return _write(rows[:half]) + _write(rows[half:])
    return len(rows)


def hits_add(hits: Mapping[str, tuple[int, float]]) -> None:
    """Count hits by digest: how many, and when the last was (seconds since 1970). Raises django.db.Error."""
    counts, times = zip(*hits.values(), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_ADD_HITS, [list(hits), list(counts), list(times)])


def answers_sweep() -> int:
    """Delete some of the answers that expired or are too many, and return how many; raises django.db.Error."""
    purges_sweep()
    count = old_rows_delete(CachedAnswer.objects.filter(expires_at__lte=timezone.now()))
    if count < SWEEP_BATCH:
        last_used_first = CachedAnswer.objects.order_by(Coalesce("last_hit_at", "created_at").desc(), "-pk")
        count += surplus_rows_delete(last_used_first, kept=max(0, settings.RESPONSE_CACHE_ENTRIES))
    return count
