"""Vectors between the database and an archive, bit by bit: PostgreSQL's binary COPY on the one side, and on the other
records of a chunk's id and its numbers."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from knowledge.exceptions import BadArchive
from routing.copying import copying

BATCH = 1_000
"""Vectors held in memory at a time."""
_ID = struct.Struct("<Q")
_BEGINNING = b"PGCOPY\n\xff\r\n\0" + struct.pack(">II", 0, 0)
_END = struct.pack(">h", -1)
_COLUMNS = struct.Struct(">hiqiqiqi?i")  # five columns: three ids, whether it is found, and how long the vector is
_WIDTH = struct.Struct(">HH")


def record_size(dimensions: int) -> int:
    return _ID.size + 4 * dimensions


def records_of(collection_id: int, model_id: int) -> Iterator[tuple[int, bytes]]:
    """Yield the vectors by a model in the order of their chunks, each with its chunk's id, as a record."""
    with copying(
        "COPY (SELECT chunk_id, vector FROM knowledge_embedding "
        "WHERE collection_id = %s AND embedding_model_id = %s ORDER BY chunk_id) TO STDOUT (FORMAT BINARY)",
        [collection_id, model_id],
    ) as copy:
        for chunk, vector in copy.rows():
            chunk_id = int.from_bytes(chunk)
            yield chunk_id, _ID.pack(chunk_id) + _swapped(vector[_WIDTH.size :])


def records_read(stream: IO[bytes], dimensions: int, where: str) -> Iterator[list[tuple[int, bytes]]]:
    """Yield records, some at a time, as chunk ids with their numbers; raises BadArchive for what is none."""
    import numpy as np

    size = record_size(dimensions)
    while block := stream.read(size * BATCH):
        if len(block) % size:
            raise BadArchive(f"{where} ends in the middle of a vector.")
        records = np.frombuffer(block, dtype=np.dtype([("chunk", "<u8"), ("vector", "<f4", (dimensions,))]))
        if not np.isfinite(records["vector"]).all():
            raise BadArchive(f"{where} has a vector of which a number is none.")
        yield [
            (int(chunk), vector.tobytes()) for chunk, vector in zip(records["chunk"], records["vector"], strict=True)
        ]


def vectors_write(
    rows: Iterable[tuple[int, bool, bytes]], *, collection_id: int, model_id: int, dimensions: int
) -> None:
    """Write vectors, each with its chunk's id and whether it is found."""
    head = _WIDTH.pack(dimensions, 0)
    with copying(
        "COPY knowledge_embedding (chunk_id, embedding_model_id, collection_id, findable, vector) "
        "FROM STDIN (FORMAT BINARY)"
    ) as copy:
        copy.write(_BEGINNING)
        for chunk_id, findable, vector in rows:
            ids: Sequence[int] = (5, 8, chunk_id, 8, model_id, 8, collection_id, 1)
            copy.write(_COLUMNS.pack(*ids, findable, len(head) + len(vector)) + head + _swapped(vector))
        copy.write(_END)


def _swapped(numbers: bytes) -> bytes:
    """Return four-byte numbers in the other order of bytes: the database has the highest first."""
    import numpy as np

    return np.frombuffer(numbers, dtype=np.uint32).byteswap().tobytes()
