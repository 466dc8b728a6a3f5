"""Writes a collection into a file: one moment of it, whatever is published meanwhile."""

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.db import connection, transaction
from django.utils import timezone

from knowledge.archive.layout import (
    CONTENTS,
    LARGEST_ORIGINAL,
    MANIFEST,
    Manifest,
    Part,
    original_member,
    rows_member,
    vectors_member,
)
from knowledge.archive.numbers import Numbers
from knowledge.archive.rows import written
from knowledge.archive.tables import CHUNKS, EXPERTS, ORIGINALS, TABLES, Table
from knowledge.archive.vectors import records_of
from knowledge.models import Collection, StoredContent
from routing.models import Expert

ROWS = 500
"""Rows fetched at a time."""


def collection_export(*, collection: Collection, to: BinaryIO) -> Manifest:
    """Write ``collection`` to a file that is open for writing, and return what it holds.

    Grants, jobs, retrieval traces and batches of files stay behind: they are of this installation. Not inside of a
    transaction.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
            return _Export(collection, archive).run()


def collection_export_to(*, collection: Collection, path: Path) -> Manifest:
    """Write ``collection`` to ``path``, where nothing is until it is complete. Raises OSError."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("xb") as to:
            manifest = collection_export(collection=collection, to=to)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return manifest


class _Export:
    def __init__(self, collection: Collection, archive: zipfile.ZipFile) -> None:
        self._collection = Collection.objects.get(pk=collection.pk)
        self._archive = archive
        self._experts = dict(Expert.objects.values_list("pk", "slug"))
        self._kept: dict[str, Numbers] = {}
        self._parts: dict[str, Part] = {}

    def run(self) -> Manifest:
        for table in TABLES:
            self._rows(table)
        self._vectors()
        self._originals()
        manifest = Manifest(slug=self._collection.slug, created_at=timezone.now().isoformat(), parts=self._parts)
        with self._archive.open(MANIFEST, "w") as stream:
            stream.write(written(manifest.body()))
        return manifest

    def _rows(self, table: Table) -> None:
        names = [one.name for one in table.fields]
        rows = table.rows(self._collection).values(*names).iterator(chunk_size=ROWS)
        self._write(rows_member(table.name), (written(self._row(table, row)) for row in rows))

    def _row(self, table: Table, row: dict[str, Any]) -> dict[str, Any]:
        key = row[table.key.name]
        if isinstance(key, int):
            self._kept.setdefault(table.name, Numbers()).add(key)
        for name, other in table.references.items():
            value = row.get(name)
            if value is None:
                continue
            if other == EXPERTS:
                row[name] = self._experts.get(value)
            elif isinstance(value, int) and other != table.name and value not in self._kept.get(other, ()):
                row[name] = None  # history, of what was deleted since
        return row

    def _vectors(self) -> None:
        chunks = self._kept.get(CHUNKS.name, Numbers())
        collection = self._collection
        for model in sorted({collection.embedding_model_id} | collection.models_beside):
            records = (record for chunk, record in records_of(collection.pk, model) if chunk in chunks)
            self._write(vectors_member(model), records, packed=False)

    def _originals(self) -> None:
        names = [one.name for one in ORIGINALS.fields]
        facts = list(ORIGINALS.rows(self._collection).values(*names))
        self._write(rows_member(CONTENTS), map(written, facts))
        for row in facts:
            data = StoredContent.objects.values_list("data", flat=True).get(pk=row["sha256"])
            assert len(data) <= LARGEST_ORIGINAL, "the column takes no more"
            self._archive.writestr(original_member(row["sha256"]), bytes(data))

    def _write(self, name: str, pieces: Iterable[bytes], *, packed: bool = True) -> None:
        digest, size, rows = hashlib.sha256(), 0, 0
        with self._member(name, packed) as stream:
            for piece in pieces:
                stream.write(piece)
                digest.update(piece)
                size += len(piece)
                rows += 1
        self._parts[name] = Part(size=size, sha256=digest.hexdigest(), rows=rows)

    @contextmanager
    def _member(self, name: str, packed: bool) -> Iterator[Any]:
        member = zipfile.ZipInfo(name, timezone.now().timetuple()[:6])
        # Vectors are noise to a packer.
        member.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with self._archive.open(member, "w", force_zip64=True) as stream:
            yield stream
