"""Looks through an archive before anything of it is written: each row, what rows say of each other, each byte.

What may be found, and in which order, is said in several places (knowledge/consistency.py); an archive that says it
in different ways is refused, as nothing would set that right later.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from knowledge.archive.layout import CONTENTS
from knowledge.archive.numbers import Numbers
from knowledge.archive.reading import Archive
from knowledge.archive.rows import Row, checked, reference
from knowledge.archive.tables import COLLECTION, COLLECTIONS, EXPERTS, MODELS, ORIGINALS, TABLES, Table
from knowledge.exceptions import BadArchive
from knowledge.models import ChunkState, RevisionState

WAITING = (RevisionState.PENDING, RevisionState.REVIEW)
_STATES = {ChunkState.LIVE: 1, ChunkState.STAGED: 2, ChunkState.RETIRED: 3}
_LIVE, _STAGED, _RETIRED = _STATES.values()


@dataclass(slots=True, kw_only=True)
class Documents:
    """What later rows are held against, by the place of a document: a few bytes for each."""

    enabled: bytearray = field(default_factory=bytearray)
    revision: "array[int]" = field(default_factory=lambda: array("q"))
    live_chunks: "array[int]" = field(default_factory=lambda: array("q"))
    waiting: "array[int]" = field(default_factory=lambda: array("q"))
    """The number of the revision that waits; 0: none."""


@dataclass(slots=True, kw_only=True)
class Chunks:
    """The same of chunks, by their places; ``edits`` are those of chunks that are the outcome of one."""

    state: bytearray = field(default_factory=bytearray)
    enabled: bytearray = field(default_factory=bytearray)
    document: "array[int]" = field(default_factory=lambda: array("q"))
    ordinal: "array[int]" = field(default_factory=lambda: array("q"))
    revision: "array[int]" = field(default_factory=lambda: array("q"))
    edits: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Checked:
    """An archive in order: ``numbers`` by table, ``files`` by their ids, the ``collection``'s row, its ``models``."""

    numbers: dict[str, Numbers] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of each."""
    contents: dict[str, int] = field(default_factory=dict)
    """Their sizes."""
    models: dict[int, Row] = field(default_factory=dict)
    collection: Row = field(default_factory=dict)
    documents: Documents = field(default_factory=Documents)
    chunks: Chunks = field(default_factory=Chunks)

    def count(self, table: str) -> int:
        return len(self.numbers.get(table, ()))

    def is_found(self, place: int) -> bool:
        """Tell whether the chunk at ``place`` can be found."""
        document = self.chunks.document[place]
        return bool(
            self.chunks.state[place] == _LIVE and self.chunks.enabled[place] and self.documents.enabled[document]
        )


def check(archive: Archive) -> Checked:
    """Return what is needed to write an archive; raises BadArchive for one that cannot be written as it is."""
    return _Check(archive).run()


class _Check:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._found = Checked()
        self._sources: set[str] = set()
        self._used: set[str] = set()

    def run(self) -> Checked:
        self._archive.check_sums()
        self._contents()
        for table in TABLES:
            numbers = self._found.numbers.setdefault(table.name, Numbers())
            for where, row in self._archive.rows(table.name):
                self._row(table, numbers, checked(table, row, where), where)
        self._check_whole()
        self._vectors()
        self._originals()
        return self._found

    def _row(self, table: Table, numbers: Numbers, row: Row, where: str) -> None:
        key = row[table.key.name]
        if table.name == "files":
            self._found.files[str(key)] = row["content"]
        elif not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < 2**62 or not numbers.add(key):
            raise BadArchive(f"{where}: the ids of its rows do not rise.")
        for one in table.fields:
            other = table.references.get(one.name)
            if other is None or other == table.name:
                continue
            self._check_reference(other, reference(one, row[one.name], where), one.name, where)
        if follow := _FOLLOWED.get(table.name):
            follow(self, row, where)

    def _check_reference(self, other: str, value: Any, name: str, where: str) -> None:
        if value is None or other in (COLLECTION, EXPERTS):
            return
        known: Any
        if other == CONTENTS:
            known = self._found.contents
            self._used.add(str(value))
        else:
            known = self._found.files if other == "files" else self._found.numbers[other]
        if value not in known:
            raise BadArchive(f"{where}: there is no '{name}' {str(value)[:80]} in it.")

    # --- what single tables say

    def _model(self, row: Row, where: str) -> None:
        self._found.models[row["id"]] = row

    def _collection(self, row: Row, where: str) -> None:
        if self._found.collection:
            raise BadArchive("It holds more than one collection.")
        if row["chunk_overlap"] * 2 > row["chunk_tokens"]:
            raise BadArchive(f"{where}: more than half of a chunk would be repeated.")
        self._found.collection = row

    def _document(self, row: Row, where: str) -> None:
        if row["source"] in self._sources:
            raise BadArchive(f"{where}: its source is that of another document.")
        self._sources.add(row["source"])
        documents = self._found.documents
        documents.enabled.append(row["enabled"])
        documents.revision.append(row["revision"])
        documents.live_chunks.append(0)
        documents.waiting.append(0)

    def _chunk(self, row: Row, where: str) -> None:
        chunks = self._found.chunks
        document = self._found.numbers["documents"].position(row["document"])
        assert document is not None, "its reference was checked"
        state = _STATES[row["state"]]
        if state == _LIVE:
            self._found.documents.live_chunks[document] += 1
        if row["edit"] is not None and state == _LIVE:
            chunks.edits[row["id"]] = row["edit"]
        chunks.state.append(state)
        chunks.enabled.append(row["enabled"])
        chunks.document.append(document)
        chunks.ordinal.append(row["ordinal"])
        chunks.revision.append(row["revision"])

    def _revision(self, row: Row, where: str) -> None:
        document = self._found.numbers["documents"].position(row["document"])
        assert document is not None, "its reference was checked"
        state, documents = row["state"], self._found.documents
        places = [self._place(chunk, document, where) for chunk in row["chunk_ids"]]
        self._check_edits(row, where)
        if state == RevisionState.LIVE:
            self._check_live(row, document, places, where)
        elif state in WAITING:
            if documents.waiting[document]:
                raise BadArchive(f"{where}: two revisions of its document wait.")
            documents.waiting[document] = row["number"]
            if any(self._found.chunks.state[place] == _RETIRED for place in places):
                raise BadArchive(f"{where}: a chunk that it waits with is not there any more.")

    def _check_live(self, row: Row, document: int, places: list[int], where: str) -> None:
        chunks, documents = self._found.chunks, self._found.documents
        in_order = all(
            chunks.state[place] == _LIVE and chunks.ordinal[place] == ordinal for ordinal, place in enumerate(places)
        )
        if (
            not in_order
            or len(places) != documents.live_chunks[document]
            or row["number"] != documents.revision[document]
        ):
            raise BadArchive(f"{where}: the chunks that are found are not those of the live revision.")
        named = {entry["id"] for entry in row["edits"]}
        if any(chunks.edits[chunk] not in named for chunk in row["chunk_ids"] if chunk in chunks.edits):
            raise BadArchive(f"{where}: it does not name an edit that made one of its chunks.")
        documents.revision[document] = -row["number"]  # found; negative, so that no other can be

    def _place(self, chunk: Any, document: int, where: str) -> int:
        numbers = self._found.numbers["chunks"]
        place = numbers.position(chunk) if isinstance(chunk, int) and not isinstance(chunk, bool) else None
        if place is None or self._found.chunks.document[place] != document:
            raise BadArchive(f"{where}: it names a chunk that is not in it, or is another document's.")
        return place

    def _check_edits(self, row: Row, where: str) -> None:
        known = self._found.numbers["edits"]
        if not all(isinstance(entry, dict) and entry.get("id") in known for entry in row["edits"]):
            raise BadArchive(f"{where}: it names an edit that is not in it.")

    # --- what holds of all of it

    def _check_whole(self) -> None:
        if not self._found.collection:
            raise BadArchive("It holds no collection.")
        documents, chunks = self._found.documents, self._found.chunks
        if any(number > 0 for number in documents.revision):
            raise BadArchive("A document's live revision is missing in it.")
        if any(count and not number for count, number in zip(documents.live_chunks, documents.revision, strict=True)):
            raise BadArchive("It has chunks that are found of a document that is not.")
        for place, state in enumerate(chunks.state):
            if state == _STAGED and documents.waiting[chunks.document[place]] != chunks.revision[place]:
                raise BadArchive("It has chunks that are being made, of a revision that does not wait for them.")
        if self._used != self._found.contents.keys():
            raise BadArchive("It has originals that nothing in it was made of.")

    def _vectors(self) -> None:
        """See to it that vectors fit their models and chunks, and that what is searched has all of its own."""
        own = self._found.collection["embedding_model"]
        for model in self._archive.models | {own}:
            row = self._found.models.get(model)
            if row is None or model not in self._archive.models:
                raise BadArchive(
                    "It has vectors by a model that it does not name, or none by the model it is searched by."
                )
            places = self._places_of(model, row["dimensions"])
            with_vector = sum(self._found.chunks.state[place] == _LIVE for place in places)
            if model == own and with_vector != self._found.chunks.state.count(_LIVE):
                raise BadArchive("Chunks in it lack their vectors.")

    def _places_of(self, model: int, dimensions: int) -> Iterator[int]:
        numbers, last = self._found.numbers["chunks"], -1
        for batch in self._archive.vectors(model, dimensions):
            for chunk, _ in batch:
                place = numbers.position(chunk) if chunk < 2**62 else None
                if place is None or place <= last or self._found.chunks.state[place] == _RETIRED:
                    raise BadArchive("It has a vector of a chunk that has none, or two of one.")
                last = place
                yield place

    def _contents(self) -> None:
        originals = self._archive.originals
        for where, line in self._archive.rows(CONTENTS):
            row = checked(ORIGINALS, line, where)
            if row["sha256"] in self._found.contents or row["sha256"] not in originals:
                raise BadArchive(f"{where}: the original that it tells of is not there, or told of twice.")
            self._found.contents[row["sha256"]] = row["size"]
        if len(originals) != len(self._found.contents):
            raise BadArchive("It has originals that it does not tell of.")

    def _originals(self) -> None:
        for sha256, size in self._found.contents.items():
            if len(self._archive.original(sha256)) != size:
                raise BadArchive(f"The original {sha256[:12]} has another size than it tells.")


_FOLLOWED: Mapping[str, Any] = {
    MODELS.name: _Check._model,
    COLLECTIONS.name: _Check._collection,
    "documents": _Check._document,
    "chunks": _Check._chunk,
    "revisions": _Check._revision,
}
