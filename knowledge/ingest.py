"""Runs ingestion jobs: fetch → read → cut → embed → publish.

A run can be killed anywhere. What it wrote is found by the next one (knowledge/staging.py), and nothing of it is found
by a search before the last step, which is one transaction (knowledge/publishing.py). A job that fails leaves its
document as it was, with the reason on both.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.db import connection

from knowledge.beside import vectors_beside
from knowledge.blocks import Parsed
from knowledge.chunking import Piece, chunked
from knowledge.curation.composition import composition_of
from knowledge.curation.ledger import Entry, entries_of
from knowledge.curation.overlay import Finding, overlay
from knowledge.curation.review import waits_for_review
from knowledge.embedding import Embedder, ModelSpec, Vector
from knowledge.equipment import Equipment, shared_equipment
from knowledge.feeding import vectors_make
from knowledge.gate import HeldBack, gate_of
from knowledge.jobs import Gone, Postponed, Run, job_begin, job_fail, job_finish, job_postpone, run_of, step
from knowledge.languages import document_language
from knowledge.longtexts import Whole
from knowledge.metrics import counted
from knowledge.models import EmbeddingModel, IngestionJob, Stage
from knowledge.pages import page_known, page_settle
from knowledge.parsing import ParseFailed
from knowledge.postings import ChunkTerms, chunk_terms
from knowledge.progress import Progress, told
from knowledge.publishing import Publication, hold, publish, to_be_counted
from knowledge.readings import Reading, reading_of
from knowledge.receiving import page_receive
from knowledge.reembedding import drop, fill, reembed
from knowledge.staging import Cutting, Placed, Staged, chunks_stage, vectors_store
from knowledge.threads import in_thread
from knowledge.vectors import index_if_large
from knowledge.web import PageUnavailable
from routing.exceptions import BadRequest, EndpointError
from routing.outages import is_outage

logger = logging.getLogger("knowledge")

INTERNAL = "internal_error"
INDEX_LOCK = 0x4D4F4549  # any number all our processes agree on
INDEX_SECONDS = 10.0
"""How often it is looked whether a model has so many vectors that they need an index."""
_looked: dict[int, float] = {}

Result = TypeVar("Result")


async def ingest(job_id: UUID, *, progress: Progress | None = None, equipment: Equipment | None = None) -> None:
    """Run a job to its end; what an earlier run did is not done again, and a job that ended stays as it is.

    How it ended, failures included, is on its row. Raises Postponed if it is to be run again later, and what the
    database raises if that is not there.
    """
    job = await in_thread(job_begin)(job_id)
    if job is None:
        return
    run = run_of(job)
    with counted(job.kind) as outcome:
        try:
            async with told(run, progress) as tell:
                spec = await _WORK[IngestionJob.Kind(job.kind)](job, run, equipment or shared_equipment(), tell)
            if spec is not None and not spec.indexed:
                await in_thread(_index)(spec.id)
            outcome.state = "done"
        except Gone as reason:
            logger.info("ingestion ends job=%s reason=%s", job_id, reason)
            outcome.state = "gone"
        except Postponed:
            raise
        except Exception as error:
            outcome.state = await _went_wrong(run, error)


async def _went_wrong(run: Run, error: Exception) -> str:
    """Write to the job what went wrong and return how it ended; raises Postponed if it may be otherwise later."""
    code, message, passes = _explained(error)
    seconds = None
    try:
        if passes:
            seconds = await in_thread(job_postpone)(run, code, message)
        else:
            await in_thread(job_fail)(run, code, message)
            if code == INTERNAL:
                logger.error("ingestion went wrong inside job=%s", run.job_id, exc_info=error)
    except Gone:  # and that is why: its rows were deleted under it
        logger.info("ingestion ends job=%s reason=%s", run.job_id, error)
        return "gone"
    if seconds is not None:
        raise Postponed(message, seconds) from error
    return "failed"


def _explained(error: Exception) -> tuple[str, str, bool]:
    """Return a code, a sentence for people, and whether it may be otherwise when tried again."""
    if isinstance(error, ParseFailed):
        return error.code, error.message, error.code == "closed"  # the server stops
    if isinstance(error, PageUnavailable):
        return error.code, error.message, error.may_pass
    if isinstance(error, EndpointError):
        return error.code or error.type, error.message, not isinstance(error, BadRequest)
    if is_outage(error) or isinstance(error, OSError | TimeoutError):
        logger.warning("ingestion was broken off error=%s", error)
        return "unavailable", "The database, a file or the network could not be reached in the middle of it.", True
    return INTERNAL, f"It went wrong inside ({type(error).__name__}); the server's log says more.", False


# --- documents ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A revision whose chunks are written, whether they were read or put together from others."""

    parsed: Parsed
    title: str
    language: str
    recipe: str
    staged: Staged
    edits: Sequence[Entry]


async def _document(job: IngestionJob, run: Run, equipment: Equipment, tell: Progress) -> ModelSpec | None:
    revision_id = job.revision_id or await _fetched(job, run, equipment, tell)
    if revision_id is None:
        return None
    reading = await in_thread(reading_of)(revision_id)
    embedder = equipment.embedder(reading.spec)
    if reading.revision.chunk_ids:
        made = await in_thread(_composed)(run, reading, embedder)
    else:
        made = await _read(run, reading, embedder, equipment, tell)
    await _embedded(run, reading, made.staged, embedder, equipment, tell)
    await vectors_beside(run, job.collection_id, made.staged, equipment)
    placed = made.staged.placed
    tell(Stage.PUBLISHING, len(placed), len(placed))
    terms = await _interruptible(lambda stopped: _counted(placed, made.title, made.language, stopped))
    publication = Publication(
        revision=reading.revision,
        parsed=made.parsed,
        title=made.title,
        language=made.language,
        recipe=made.recipe,
        embedding_model_id=reading.spec.id,
        placed=placed,
        terms=terms,
        edits=made.edits,
    )
    await _go_live(run, publication, reading.spec, embedder)
    return reading.spec


async def _read(run: Run, reading: Reading, embedder: Embedder, equipment: Equipment, tell: Progress) -> _Made:
    """Read a revision's content, cut it, put on it what people changed, and write its chunks."""
    revision = reading.revision
    tell(Stage.PARSING, 0, 0)
    parsed = await asyncio.to_thread(equipment.parse, reading.data, name=revision.name, mime=revision.declared_mime)
    title = reading.title or parsed.title
    tell(Stage.CHUNKING, 0, 0)
    cutting, findings = await _interruptible(lambda stopped: _cut(reading, parsed, title, embedder, stopped))
    return _Made(
        parsed=parsed,
        title=title,
        language=cutting.language,
        recipe=reading.recipe,
        staged=await in_thread(chunks_stage)(run, revision, cutting, reading.spec.id),
        edits=entries_of(findings),
    )


def _composed(run: Run, reading: Reading, embedder: Embedder) -> _Made:
    """Return a revision that was put together from chunks. Raises Gone."""
    with step(run):
        composition = composition_of(reading, count=embedder.count)
    return _Made(
        parsed=composition.parsed,
        title=composition.title,
        language=composition.language,
        recipe=reading.revision.recipe,
        staged=composition.staged,
        edits=reading.revision.edits,
    )


async def _go_live(run: Run, publication: Publication, spec: ModelSpec, embedder: Embedder) -> None:
    """Publish a revision that is complete, or have it wait for whoever approves it."""
    if await in_thread(waits_for_review)(publication.revision.pk):
        await in_thread(hold)(run, publication)
        return
    gate = await gate_of(publication.revision, spec, embedder)
    verdict = None
    # What others published between the two measurements counted as well, so a second look decides.
    for _ in range(2):
        try:
            await in_thread(publish)(run, publication, gate)
        except HeldBack as held:
            verdict = held.verdict
        else:
            return
    await in_thread(hold)(run, publication, verdict=verdict)


async def _fetched(job: IngestionJob, run: Run, equipment: Equipment, tell: Progress) -> int | None:
    """Fetch what the job names and return its revision; None if there is nothing new to be read."""
    assert job.document_id is not None
    tell(Stage.FETCHING, 0, 0)
    known = await in_thread(page_known)(job.document_id)
    page = await equipment.web.fetch_page(job.url, etag=known.etag, last_modified=known.last_modified)
    return await in_thread(page_settle)(run, page)


def _cut(
    reading: Reading, parsed: Parsed, title: str, embedder: Embedder, stopped: threading.Event
) -> tuple[Cutting, tuple[Finding, ...]]:
    """Return the pieces as people's edits have them, and how these fit what was parsed."""
    parts: list[Piece] = []
    for piece in chunked(title, parsed.blocks, reading.cut, embedder.count):
        parts.append(piece)
        if stopped.is_set():
            break
    if not parts:
        raise ParseFailed("empty", "The document holds no text. Upload one that does.")
    headed = reading.cut.header
    overlaid = overlay(parts, reading.edits, count=embedder.count, headed=headed)
    cutting = Cutting(
        pieces=overlaid.pieces,
        hashes=[piece.hash(with_header=headed) for piece in overlaid.pieces],
        language=reading.language
        or parsed.language
        or reading.usual_language
        or document_language(parsed.blocks, likely=reading.likely_language),
        headed=headed,
    )
    return cutting, overlaid.findings


async def _embedded(
    run: Run,
    reading: Reading,
    staged: Staged,
    embedder: Embedder,
    equipment: Equipment,
    tell: Progress,
) -> None:
    """Have the embedder make the vectors that are missing."""
    placed, missing = staged.placed, staged.missing
    done = len(placed) - len(missing)
    tell(Stage.EMBEDDING, done, len(placed))

    async def store(vectors: Mapping[int, Vector]) -> None:
        nonlocal done
        await in_thread(vectors_store)(run, vectors, reading.spec.id)
        done += len(vectors)
        tell(Stage.EMBEDDING, done, len(placed))

    texts = ((one.chunk_id, one.piece.embedded(with_header=staged.headed)) for one in placed if one.chunk_id in missing)
    is_long = any(one.piece.tokens > reading.spec.max_tokens for one in placed if one.chunk_id in missing)
    await vectors_make(texts, Whole(embedder, reading.spec) if is_long else embedder, equipment.gate, store)


def _counted(placed: tuple[Placed, ...], title: str, language: str, stopped: threading.Event) -> dict[int, ChunkTerms]:
    terms = {}
    for one in to_be_counted(placed):
        if stopped.is_set():
            break
        terms[one.chunk_id] = chunk_terms(
            title=title, heading=one.piece.heading, text=one.piece.text, language=language
        )
    return terms


# --- sitemaps and new vectors ---------------------------------------------------------------------------------


async def _sitemap(job: IngestionJob, run: Run, equipment: Equipment, tell: Progress) -> None:
    """Have each page of a sitemap fetched by a job of its own."""
    tell(Stage.FETCHING, 0, 0)
    found = await equipment.web.addresses_in_sitemap(job.url)
    for done, url in enumerate(found.urls):
        tell(Stage.FETCHING, done, len(found.urls))
        await in_thread(_page)(job, run, url)
    await in_thread(_sitemap_finish)(run, found.notes, len(found.urls))


def _page(job: IngestionJob, run: Run, url: str) -> None:
    with step(run):
        page_receive(collection=job.collection, url=url, metadata=job.metadata, batch=job.batch)


def _sitemap_finish(run: Run, notes: tuple[str, ...], total: int) -> None:
    with step(run):
        job_finish(run, "created", total=total)
        IngestionJob.objects.filter(pk=run.job_id).update(error=" ".join(notes))


_Work = Callable[[IngestionJob, Run, Equipment, Progress], Awaitable[ModelSpec | None]]
_WORK: Mapping[IngestionJob.Kind, _Work] = {
    IngestionJob.Kind.DOCUMENT: _document,
    IngestionJob.Kind.SITEMAP: _sitemap,
    IngestionJob.Kind.EMBEDDING: reembed,
    IngestionJob.Kind.FILLING: fill,
    IngestionJob.Kind.DROPPING: drop,
}


def _index(model_id: int) -> None:
    """Give a model its index if it has become large, unless another process is at it."""
    now = time.monotonic()
    if now - _looked.get(model_id, -INDEX_SECONDS) < INDEX_SECONDS:
        return
    _looked[model_id] = now
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [INDEX_LOCK, model_id])
        if not cursor.fetchone()[0]:
            return
        try:
            index_if_large(EmbeddingModel.objects.get(pk=model_id))
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [INDEX_LOCK, model_id])


# --- threads --------------------------------------------------------------------------------------------------


async def _interruptible(work: Callable[[threading.Event], Result]) -> Result:
    """Run ``work`` in a thread; it looks at the event now and then, which says that nobody waits for it any more."""
    stopped = threading.Event()
    try:
        return await in_thread(work)(stopped)
    except asyncio.CancelledError:
        stopped.set()
        raise
