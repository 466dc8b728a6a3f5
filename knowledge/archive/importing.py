"""Makes a collection of an archive: first everything is looked through, then it is written in one transaction."""

import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import psycopg
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from knowledge.archive.bulk import contents_write, ids_fresh, rows_write
from knowledge.archive.checking import Checked, check
from knowledge.archive.layout import CONTENTS
from knowledge.archive.planning import Plan, planned
from knowledge.archive.reading import Archive
from knowledge.archive.rows import Row, checked
from knowledge.archive.tables import (
    COLLECTION,
    COLLECTIONS,
    DOCUMENTS,
    EXPERTS,
    FILES,
    GOLDEN_HISTORY_DOCUMENTS,
    MODELS,
    NAMES,
    ORIGINALS,
    TABLES,
    WATCHED,
    Table,
)
from knowledge.archive.translating import INSIDE, Renumbered
from knowledge.archive.vectors import vectors_write
from knowledge.beside import filling_add
from knowledge.exceptions import BadArchive
from knowledge.flagging import flags_renew_all
from knowledge.jobs import document_settle
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    DocumentStatus,
    EmbeddingModel,
    RevisionState,
    StoredContent,
    StoredFile,
)
from knowledge.postings import Tally, chunk_terms, collection_tally, postings_write
from knowledge.revisions import job_add
from knowledge.switching import chunks_without
from knowledge.vectors import index_if_large

logger = logging.getLogger("knowledge")

BATCH = 500
"""Rows held in memory at a time."""
BATCH_BYTES = 1024 * 1024
"""Of originals; one that is larger is held alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """``collection`` is None where nothing was to be written; ``notes`` say what is not as it was."""

    slug: str
    collection: Collection | None
    documents: int
    chunks: int
    golden_queries: int
    notes: tuple[str, ...]


def import_plan(*, file: BinaryIO, slug: str = "") -> Imported:
    """Return what ``collection_import`` would make of a file for an administrator. Raises as it does."""
    with Archive(file, tables=NAMES) as archive:
        found = check(archive)
        return _imported(found, planned(found, slug=slug, may_register=True), None)


def collection_import(*, file: BinaryIO, slug: str = "", as_administrator: bool = True) -> Imported:
    """Make the collection that is in a file, called as it was there or ``slug``.

    But for an administrator no embedding model is registered and no watched source made. Raises BadArchive for a file
    that is none or is damaged, BadRequest for a name that is taken or an embedding model that cannot be had. Either
    everything is written or nothing.
    """
    with Archive(file, tables=NAMES) as archive:
        found = check(archive)
        plan = planned(found, slug=slug, may_register=as_administrator)
        try:
            with transaction.atomic():
                collection = _Import(archive, found, plan, watching=as_administrator).run()
        except (IntegrityError, psycopg.IntegrityError) as error:
            if Collection.objects.filter(slug=plan.slug).exists():
                planned(found, slug=slug, may_register=as_administrator)  # somebody made it meanwhile, as this says
            raise BadArchive("Rows in it do not go together. Export the collection again.") from error
        except (DataError, psycopg.DataError) as error:
            raise BadArchive("Texts in it cannot be stored. Export the collection again.") from error
    logger.info("imported slug=%s chunks=%d", plan.slug, found.count("chunks"))
    if not connection.in_atomic_block:
        _settle(collection)
    return _imported(found, plan, collection, watching=as_administrator)


def _settle(collection: Collection) -> None:
    """Have the database know what came, so that it plans searches as where it came from, and index it if it is much."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE knowledge_document, knowledge_chunk, knowledge_embedding, knowledge_posting")
    index_if_large(collection.embedding_model)


def _imported(found: Checked, plan: Plan, collection: Collection | None, *, watching: bool = True) -> Imported:
    notes = [*plan.notes]
    if sources := found.count(WATCHED.name):
        words = "off until somebody turns them on" if watching else "left out: administrators add them"
        notes.append(f"Its watched sources ({sources:,}) are {words}.")
    return Imported(
        slug=plan.slug,
        collection=collection,
        documents=found.count("documents"),
        chunks=found.count("chunks"),
        golden_queries=found.count("golden_queries"),
        notes=tuple(notes),
    )


class _Import:
    """Writes what was checked; every step is inside of one transaction."""

    def __init__(self, archive: Archive, found: Checked, plan: Plan, *, watching: bool) -> None:
        self._archive = archive
        self._found = found
        self._plan = plan
        self._as_administrator = watching
        self._left_out = frozenset() if watching else frozenset({WATCHED.name})
        self._models = {number: model.pk for number, model in plan.models.items()}
        self._files: dict[str, uuid.UUID] = {}
        self._collection = 0

    def run(self) -> Collection:
        self._number_all()
        for table in TABLES:
            if table.name not in self._left_out:
                self._rows(table)
        # What an archive says of its texts and of tools is no administrator's word here.
        flags_renew_all(self._collection)
        if not self._as_administrator:
            Collection.objects.filter(pk=self._collection).update(keeps_tools=False)
        self._vectors()
        tally = self._postings()
        self._originals()
        self._wait_again()
        collection_tally(self._collection, tally)
        collection = Collection.objects.select_related("embedding_model").get(pk=self._collection)
        for model in sorted(collection.models_beside):
            if chunks_without(collection.pk, model).exists():
                filling_add(collection.pk, model)
        return collection

    # --- ids

    def _number_all(self) -> None:
        for table in TABLES:
            numbers = self._found.numbers[table.name]
            if table not in (MODELS, FILES) and not table.key.is_relation:
                numbers.renumber(ids_fresh(table, len(numbers)))
        self._collection = self._found.numbers[COLLECTIONS.name].at(0)
        taken = set(StoredFile.objects.filter(pk__in=list(self._found.files)).values_list("pk", flat=True))
        for old in map(uuid.UUID, self._found.files):
            self._files[str(old)] = uuid.uuid4() if old in taken else old

    def _new(self, table: str, old: Any) -> Any:
        """Return what stands here for what an archive refers to; None for what is not carried."""
        if old is None or table in self._left_out:
            return None
        if table == COLLECTION:
            return self._collection
        if table == CONTENTS:
            return old
        if table == EXPERTS:
            return self._plan.experts.get(old)
        if table == MODELS.name:
            return self._models.get(old)
        if table == FILES.name:
            return self._files[str(old)]
        new = self._found.numbers[table].new(old)
        if new is None:
            raise BadArchive(f"A row in it refers to one of {table} that is not in it.")
        return new

    # --- rows

    def _rows(self, table: Table) -> None:
        read = (checked(table, row, where) for where, row in self._archive.rows(table.name))
        if table is MODELS:
            self._make_models(read)
            return
        while batch := list(islice(read, BATCH)):
            self._give_ids(table, batch)
            rows_write(table, [self._row(table, row) for row in batch])

    def _make_models(self, rows: Iterator[Row]) -> None:
        for row in rows:
            number = row.pop("id")
            if number in self._plan.new_models:
                self._models[number] = EmbeddingModel.objects.create(**row).pk

    def _give_ids(self, table: Table, batch: list[Row]) -> None:
        """Give rows that clients know by an id of their own another one where theirs is in use."""
        if table not in (COLLECTIONS, DOCUMENTS):
            return
        taken = set(
            table.model._default_manager.filter(uid__in=[row["uid"] for row in batch]).values_list("uid", flat=True)
        )
        for row in batch:
            if row["uid"] in taken:
                row["uid"] = uuid.uuid4()

    def _row(self, table: Table, row: Row) -> Row:
        if inside := INSIDE.get(table.name):
            inside(row, Renumbered(row=self._new, models=self._models))
        values: Row = {one.name: row.get(one.name, one.get_default()) for one in table.columns}
        for name, other in table.references.items():
            values[name] = self._new(other, row[name]) if other != COLLECTION else self._collection
        if table is FILES:
            values["uid"] = self._files[str(row["uid"])]
        elif not table.key.is_relation:
            values[table.key.name] = self._found.numbers[table.name].new(row[table.key.name])
        return values | self._set_here(table, values)

    def _set_here(self, table: Table, values: Mapping[str, Any]) -> Row:
        """Return what is not as it was in the archive."""
        if table is COLLECTIONS:
            # Time begins to count anew, or a collection that is kept for a while could be gone at once.
            return {"slug": self._plan.slug, "last_active_at": timezone.now()}
        if table is WATCHED:
            return {"enabled": False}
        if table is GOLDEN_HISTORY_DOCUMENTS:
            return {"id": 0}  # of a row that may be gone since; nothing reads it
        if table is DOCUMENTS:
            return {"status": DocumentStatus.READY if values["revision"] else DocumentStatus.FAILED}
        return {}

    # --- what finds them

    def _vectors(self) -> None:
        for number in sorted(self._archive.models & self._models.keys()):
            dimensions = self._found.models[number]["dimensions"]
            vectors_write(
                self._found_vectors(number, dimensions),
                collection_id=self._collection,
                model_id=self._models[number],
                dimensions=dimensions,
            )

    def _found_vectors(self, model: int, dimensions: int) -> Iterator[tuple[int, bool, bytes]]:
        numbers = self._found.numbers["chunks"]
        for batch in self._archive.vectors(model, dimensions):
            for chunk, vector in batch:
                place = numbers.position(chunk)
                assert place is not None, "it was checked"
                yield numbers.at(place), self._found.is_found(place), vector

    def _postings(self) -> Tally:
        """Count the terms of what is found, as its publication did."""
        rows = Chunk.objects.findable().filter(collection=self._collection).order_by("pk")
        facts = rows.values_list("pk", "document__title", "heading", "text", "language").iterator(chunk_size=BATCH)
        tally = Tally()
        while batch := list(islice(facts, BATCH)):
            terms = {
                chunk: chunk_terms(title=title, heading=heading, text=text, language=language)
                for chunk, title, heading, text, language in batch
            }
            tally += postings_write(self._collection, terms)
        return tally

    def _originals(self) -> None:
        """Store the bytes, late: rows of contents that are here already are locked, and others may wait for them."""
        here = set(StoredContent.objects.filter(pk__in=self._found.contents).values_list("pk", flat=True))
        dates = {row["sha256"]: row["created_at"] for row in self._content_rows() if row["sha256"] not in here}
        batch: list[StoredContent] = []
        held = 0
        for sha256, size in sorted(self._found.contents.items()):
            if batch and held + size > BATCH_BYTES:
                contents_write(batch, dates)
                batch, held = [], 0
            batch.append(StoredContent(sha256=sha256, data=self._archive.original(sha256), size=size))
            held += size
        contents_write(batch, dates)

    def _content_rows(self) -> Iterable[Row]:
        return (checked(ORIGINALS, row, where) for where, row in self._archive.rows(CONTENTS))

    def _wait_again(self) -> None:
        """Have read what waited to be read, and fetched what was never fetched."""
        mine = Document.objects.filter(collection=self._collection)
        for revision in DocumentRevision.objects.filter(
            document__collection=self._collection, state=RevisionState.PENDING
        ).select_related("document"):
            job_add(revision.document, revision=revision)
        for document in mine.filter(origin=Document.Origin.URL, revisions=None):
            job_add(document, url=document.source)
        review = DocumentRevision.objects.filter(state=RevisionState.REVIEW, document__collection=self._collection)
        for document_id, error in review.values_list("document", "document__error"):
            document_settle(document_id, error=error)
