"""What must hold between the knowledge base's tables, said as queries; ``manage.py check_knowledge`` shows them."""

from collections.abc import Callable, Iterator
from string import Template

from django.db import connection, transaction

from knowledge.models import Chunk
from knowledge.postings import chunk_terms

MOST = 5
"""Examples of each kind that are listed."""

_PARTS = {
    "found": "(chunk.state = 'live' AND chunk.enabled AND document.enabled)",
    "chunks": "knowledge_chunk AS chunk JOIN knowledge_document AS document ON document.id = chunk.document_id",
    "documents": """knowledge_document AS document LEFT JOIN knowledge_documentrevision AS revision
        ON revision.document_id = document.id AND revision.state = 'live'""",
}

# Each gives rows that must not be there; {} in the sentence is the row's first column, $ stands before a part of above.
_RULES: tuple[tuple[str, str], ...] = (
    (
        "document {} says it is at a revision that is not the live one",
        """
        SELECT document.id FROM $documents
        WHERE document.revision <> coalesce(revision.number, 0)
        """,
    ),
    (
        "document {} waits or is being read, and no job is there for it",
        """
        SELECT document.id FROM knowledge_document AS document
        WHERE document.status IN ('pending', 'processing') AND NOT EXISTS (
          SELECT 1 FROM knowledge_ingestionjob AS job
          WHERE job.document_id = document.id AND job.state IN ('queued', 'running')
        ) AND NOT (document.revision = 0 AND EXISTS (
          SELECT 1 FROM knowledge_documentrevision AS revision
          WHERE revision.document_id = document.id AND revision.state = 'review'
        ))
        """,
    ),
    (
        "document {} has several jobs that read it",
        """
        SELECT document_id FROM knowledge_ingestionjob
        WHERE state IN ('queued', 'running') AND revision_id IS NOT NULL GROUP BY document_id HAVING count(*) > 1
        """,
    ),
    (
        "revision {} waits, and no job is there for it",
        """
        SELECT revision.id FROM knowledge_documentrevision AS revision
        WHERE revision.state = 'pending' AND NOT EXISTS (
          SELECT 1 FROM knowledge_ingestionjob AS job
          WHERE job.revision_id = revision.id AND job.state IN ('queued', 'running')
        )
        """,
    ),
    (
        "job {} has not ended and is in no queue",
        """
        SELECT job.id FROM knowledge_ingestionjob AS job
        LEFT JOIN procrastinate_jobs AS queued ON queued.id = job.queue_id AND queued.status IN ('todo', 'doing')
        WHERE job.state IN ('queued', 'running') AND queued.id IS NULL
        """,
    ),
    (
        "chunk {} is being made, and its revision does not wait for it",
        """
        SELECT chunk.id FROM knowledge_chunk AS chunk
        WHERE chunk.state = 'staged' AND NOT EXISTS (
          SELECT 1 FROM knowledge_documentrevision AS revision
          WHERE revision.document_id = chunk.document_id AND revision.number = chunk.revision
            AND revision.state IN ('pending', 'review')
        )
        """,
    ),
    (
        "the live chunks of document {} are not those of its live revision, in their order",
        """
        SELECT document.id FROM $documents
        CROSS JOIN LATERAL (
          SELECT coalesce(jsonb_agg(chunk.id ORDER BY chunk.ordinal), '[]') AS ids,
                 count(*) AS chunks, count(DISTINCT chunk.ordinal) AS places, max(chunk.ordinal) AS last
          FROM knowledge_chunk AS chunk WHERE chunk.document_id = document.id AND chunk.state = 'live'
        ) AS live
        WHERE live.ids <> coalesce(revision.chunk_ids, '[]') OR live.chunks <> live.places OR live.last >= live.chunks
        """,
    ),
    (
        "revision {} waits for review, and not all of its chunks are there",
        """
        SELECT revision.id FROM knowledge_documentrevision AS revision
        WHERE revision.state = 'review' AND EXISTS (
          SELECT 1 FROM jsonb_array_elements(revision.chunk_ids) AS named (id)
          LEFT JOIN knowledge_chunk AS chunk ON chunk.id = named.id::bigint
          WHERE chunk.state IS NULL OR chunk.state NOT IN ('live', 'staged')
        )
        """,
    ),
    (
        "document {} has several revisions that wait for review or to be read",
        """
        SELECT document_id FROM knowledge_documentrevision
        WHERE state IN ('pending', 'review') GROUP BY document_id HAVING count(*) > 1
        """,
    ),
    (
        "an edit that made live chunks of document {} is not named by its live revision",
        """
        SELECT DISTINCT document.id FROM $documents
        JOIN knowledge_chunk AS chunk ON chunk.document_id = document.id AND chunk.state = 'live'
        WHERE chunk.edit_id IS NOT NULL
          AND NOT revision.edits @> jsonb_build_array(jsonb_build_object('id', chunk.edit_id))
        """,
    ),
    (
        "chunk {} is in another collection than its document",
        "SELECT chunk.id FROM $chunks WHERE chunk.collection_id <> document.collection_id",
    ),
    (
        "chunk {} is live and has no vector by its collection's model",
        """
        SELECT chunk.id FROM knowledge_chunk AS chunk
        JOIN knowledge_collection AS collection ON collection.id = chunk.collection_id
        LEFT JOIN knowledge_embedding AS embedding
          ON embedding.chunk_id = chunk.id AND embedding.embedding_model_id = collection.embedding_model_id
        WHERE chunk.state = 'live' AND embedding.chunk_id IS NULL
        """,
    ),
    (
        "a vector of chunk {} is of another collection or width, says otherwise whether it is found, or is left over",
        """
        SELECT chunk.id FROM $chunks
        JOIN knowledge_embedding AS embedding ON embedding.chunk_id = chunk.id
        JOIN knowledge_embeddingmodel AS model ON model.id = embedding.embedding_model_id
        WHERE embedding.findable <> $found OR embedding.collection_id <> chunk.collection_id
           OR chunk.state = 'retired' OR vector_dims(embedding.vector) <> model.dimensions
        """,
    ),
    (
        "chunk {} has postings, and is not found or is of another collection",
        """
        SELECT DISTINCT chunk.id FROM $chunks JOIN knowledge_posting AS posting ON posting.chunk_id = chunk.id
        WHERE NOT $found OR posting.collection_id <> chunk.collection_id
        """,
    ),
    (
        "the postings of chunk {} do not add up",
        """
        SELECT chunk_id FROM knowledge_posting GROUP BY chunk_id
        HAVING min(length) <> max(length) OR (max(frequency) < 32767 AND sum(frequency) <> max(length))
        """,
    ),
    (
        "collection {} counts other chunks or terms than it has",
        """
        SELECT collection.slug FROM knowledge_collection AS collection
        CROSS JOIN LATERAL (
          SELECT count(*) AS chunks FROM $chunks WHERE chunk.collection_id = collection.id AND $found
        ) AS found
        CROSS JOIN LATERAL (
          SELECT coalesce(sum(length), 0) AS terms FROM (
            SELECT DISTINCT chunk_id, length FROM knowledge_posting WHERE collection_id = collection.id
          ) AS one
        ) AS counted
        WHERE (collection.chunk_count, collection.term_count) <> (found.chunks, counted.terms)
        """,
    ),
    (
        "content {} belongs to no revision and no file",
        """
        SELECT left(content.sha256, 12) FROM knowledge_storedcontent AS content
        WHERE NOT EXISTS (
          SELECT 1 FROM knowledge_documentrevision AS revision WHERE revision.content_id = content.sha256
        ) AND NOT EXISTS (SELECT 1 FROM knowledge_storedfile AS file WHERE file.content_id = content.sha256)
        """,
    ),
    (
        "the newest revision of document {} is not of the file that the document came as",
        """
        SELECT document.id FROM knowledge_document AS document
        JOIN knowledge_storedfile AS file ON file.uid = document.file_id
        CROSS JOIN LATERAL (
          SELECT revision.content_id FROM knowledge_documentrevision AS revision
          WHERE revision.document_id = document.id ORDER BY revision.number DESC LIMIT 1
        ) AS newest
        WHERE newest.content_id <> file.content_id
        """,
    ),
    (
        "document {} is in its collection twice, as the same file",
        """
        SELECT max(id) FROM knowledge_document WHERE file_id IS NOT NULL
        GROUP BY collection_id, file_id HAVING count(*) > 1
        """,
    ),
)

_WITHOUT_POSTINGS = """
SELECT chunk.id FROM $chunks
WHERE $found AND NOT EXISTS (SELECT 1 FROM knowledge_posting AS posting WHERE posting.chunk_id = chunk.id)
"""


def inconsistencies() -> list[str]:
    """Return what is wrong, a sentence each; nothing, while jobs run too, unless there is a fault in the program."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            # One moment for all of them, whatever is published meanwhile.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = [sentence for rule in _RULES for sentence in _said(*rule)]
        return [*found, *_said("chunk {} can be found and has no postings", _WITHOUT_POSTINGS, keep=_has_terms)]


def _said(sentence: str, query: str, keep: Callable[[int], bool] = lambda _: True) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(Template(query).substitute(_PARTS))
        rows = [row[0] for row in cursor.fetchall() if keep(row[0])]
    yield from (sentence.format(row) for row in rows[:MOST])
    if len(rows) > MOST:
        yield f"… and {len(rows) - MOST} more such"


def _has_terms(chunk_id: int) -> bool:
    """Tell whether a chunk is more than punctuation."""
    chunk = Chunk.objects.select_related("document").get(pk=chunk_id)
    terms = chunk_terms(title=chunk.document.title, heading=chunk.heading, text=chunk.text, language=chunk.language)
    return terms.length > 0
