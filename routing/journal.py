"""What is kept of decisions and of rules that fitted, written in batches off the hot path."""

from collections.abc import Iterable, Mapping, Sequence

from django.db import connection

from routing.batches import Batches, rows_copy, storable
from routing.counts import Counts
from routing.models import DecisionRecord, Feedback
from routing.sweeping import rows_sweep
from routing.writing import keep_writing

CAPACITY = 10_000
CAPACITY_CHARACTERS = 50_000_000
"""What the kept prompts may hold together: long ones must not fill the memory while the database is away."""

# Rules deleted meanwhile are left out; the lock keeps the others until the counts are in. In the order of their ids,
# lest two processes wait for each other.
_ADD_HITS = """
INSERT INTO routing_ruleuse AS use (rule_id, hits, last_hit_at)
SELECT hit.rule_id, hit.hits, to_timestamp(hit.at)
FROM unnest(%s::bigint[], %s::bigint[], %s::float8[]) AS hit (rule_id, hits, at)
JOIN routing_routingrule AS rule ON rule.id = hit.rule_id
ORDER BY hit.rule_id
FOR KEY SHARE OF rule
ON CONFLICT (rule_id) DO UPDATE
SET hits = use.hits + EXCLUDED.hits, last_hit_at = GREATEST(use.last_hit_at, EXCLUDED.last_hit_at)
"""


class Journal(Batches[DecisionRecord]):
    """Records and rule hits that wait to be written; those who note them never wait."""

    def __init__(self) -> None:
        super().__init__("decisions", capacity=CAPACITY, characters=CAPACITY_CHARACTERS)
        self._hits: Counts[int] = Counts()

    def __len__(self) -> int:
        return super().__len__() + len(self._hits)

    def rules_hit(self, rule_ids: Iterable[int]) -> None:
        """Count a hit for each of these rules."""
        self._hits.add(rule_ids)

    def flush(self) -> int:
        """Write everything and return how many records; raises django.db.Error, and keeps what was not written."""
        written = super().flush()
        self._hits.write(_hits_add)
        return written

    def _insert(self, records: Sequence[DecisionRecord]) -> None:
        if len(records) > 1:
            rows_copy(records)
        else:  # the one that a whole batch failed of: it may be there already
            DecisionRecord.objects.bulk_create([storable(one) for one in records], ignore_conflicts=True)

    def _is_written(self, record: DecisionRecord) -> bool:
        return DecisionRecord.objects.filter(pk=record.pk).exists()


def _hits_add(hits: Mapping[int, tuple[int, float]]) -> None:
    counts, times = zip(*hits.values(), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_ADD_HITS, [list(hits), list(counts), list(times)])


journal = Journal()


def records_flush() -> int:
    """Write what was noted and return how many records; raises django.db.Error, and keeps what was not written."""
    return journal.flush()


def records_sweep() -> int:
    """Delete some of the records, and of what was said of them, that are older than they are kept; return how many.

    What somebody said of a decision may have its prompt, which is kept no longer than the decision's own.
    """
    return rows_sweep(DecisionRecord) + rows_sweep(Feedback)


async def write_journal() -> None:
    """Write what the journal holds each second, for ever, and hourly delete what is too old; survives outages."""
    await keep_writing(
        "decisions and rule hits",
        waiting=lambda: len(journal),
        flush=lambda: records_flush(),
        sweep=lambda: records_sweep(),
    )
