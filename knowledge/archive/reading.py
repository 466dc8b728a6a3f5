"""An archive that is read: nothing of it is believed before it was looked at, and nothing is unpacked to a disk."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from types import TracebackType
from typing import IO, BinaryIO

from knowledge.archive.layout import (
    ALWAYS_UNPACKED,
    CONTENTS,
    LARGEST_MANIFEST,
    LARGEST_ORIGINAL,
    LONGEST_ROW,
    MANIFEST,
    MOST_UNPACKED,
    ORIGINAL,
    VECTORS,
    Manifest,
    original_member,
    rows_member,
    vectors_member,
)
from knowledge.archive.rows import Row, parsed
from knowledge.archive.vectors import records_read
from knowledge.exceptions import BadArchive

PIECE = 1024 * 1024
PACKED_AS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


class Archive:
    """A context manager over a file that can be sought in. Everything raises BadArchive for what is wrong with it."""

    def __init__(self, file: BinaryIO, *, tables: frozenset[str]) -> None:
        """Open a file; ``tables`` are the names of those whose rows it may hold."""
        try:
            self._zip = zipfile.ZipFile(file)
        except DAMAGED as error:
            raise BadArchive("It is no zip file, or not a whole one. Export the collection again.") from error
        try:
            self._sizes = self._checked_members(file)
            self.manifest = self._manifest()
            self._check_parts(tables)
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._zip.close()

    @property
    def originals(self) -> frozenset[str]:
        """The SHA-256 of each original."""
        return frozenset(found[1] for found in map(ORIGINAL.fullmatch, self._sizes) if found)

    @property
    def models(self) -> frozenset[int]:
        """The ids of the models by which there are vectors."""
        return frozenset(int(found[1]) for found in map(VECTORS.fullmatch, self._sizes) if found)

    def rows(self, table: str) -> Iterator[tuple[str, Row]]:
        """Yield a table's rows, each with where it is; none of a table that the archive does not have."""
        name = rows_member(table)
        if name not in self._sizes:
            return
        with self._stream(name) as stream:
            number = 0
            while line := stream.readline(LONGEST_ROW):
                number += 1
                where = f"Line {number:,} of {name}"
                if not line.endswith(b"\n"):
                    raise BadArchive(f"{where} is cut off, or too long.")
                yield where, parsed(line, where)

    def vectors(self, model: int, dimensions: int) -> Iterator[list[tuple[int, bytes]]]:
        """Yield a model's vectors, some at a time, as chunk ids with their numbers."""
        name = vectors_member(model)
        with self._stream(name) as stream:
            yield from records_read(stream, dimensions, name)

    def original(self, sha256: str) -> bytes:
        """Return the bytes of an original, which are those that its name promises."""
        with self._stream(original_member(sha256)) as stream:
            data = stream.read()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BadArchive(f"The original {sha256[:12]} is damaged. Export the collection again.")
        return data

    def check_sums(self) -> None:
        """Compare every member but the originals with what the manifest says of it."""
        for name, part in self.manifest.parts.items():
            digest = hashlib.sha256()
            with self._stream(name) as stream:
                while piece := stream.read(PIECE):
                    digest.update(piece)
            if digest.hexdigest() != part.sha256:
                raise BadArchive(f"{name} is damaged: it is not what was exported. Export the collection again.")

    @contextmanager
    def _stream(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._zip.open(name) as stream:
                yield stream
        except DAMAGED as error:
            raise BadArchive(f"{name} is damaged. Export the collection again.") from error

    def _checked_members(self, file: BinaryIO) -> dict[str, int]:
        """Return the sizes of the members by their names, which are all such as an archive has."""
        sizes: dict[str, int] = {}
        for member in self._zip.infolist():
            name = member.filename
            if name in sizes or PurePosixPath(name).is_absolute() or ".." in name or "\\" in name:
                raise BadArchive(f"It holds '{name[:80]}', which no archive does, or holds it twice.")
            if member.flag_bits & 0x1 or member.compress_type not in PACKED_AS:
                raise BadArchive(f"'{name[:80]}' is encrypted, or packed in a way that is not read here.")
            if ORIGINAL.fullmatch(name) and member.file_size > LARGEST_ORIGINAL:
                raise BadArchive(f"The original '{name[:80]}' is larger than any that can be kept.")
            sizes[name] = member.file_size
        packed = file.seek(0, 2)
        if sum(sizes.values()) > max(ALWAYS_UNPACKED, packed * MOST_UNPACKED):
            raise BadArchive("It would unpack to far more than any archive does; it is not read.")
        return sizes

    def _manifest(self) -> Manifest:
        if not 0 < self._sizes.get(MANIFEST, 0) <= LARGEST_MANIFEST:
            raise BadArchive("It is no archive of a collection. Choose a file that 'export_collection' has written.")
        with self._stream(MANIFEST) as stream:
            body = parsed(stream.read(), MANIFEST)
        try:
            return Manifest.parse(body)
        except ValueError as error:
            raise BadArchive(str(error)) from error

    def _check_parts(self, tables: frozenset[str]) -> None:
        """See to it that there is what the manifest names, at its size, and nothing else but originals."""
        known = {rows_member(name) for name in (*tables, CONTENTS)}
        for name, size in self._sizes.items():
            if name == MANIFEST or ORIGINAL.fullmatch(name):
                continue
            part = self.manifest.parts.get(name)
            if part is None or not (name in known or VECTORS.fullmatch(name)):
                raise BadArchive(f"It holds '{name[:80]}', which no archive of this version does.")
            if part.size != size:
                raise BadArchive(f"{name} is damaged: it has another size than was exported.")
        if missing := sorted(self.manifest.parts.keys() - self._sizes.keys()):
            raise BadArchive(f"'{missing[0][:80]}' is missing in it. Export the collection again.")
