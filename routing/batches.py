"""Rows that wait to be written in batches, off the path of the requests that leave them; they survive outages."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import orjson
from django.db import DataError, Error, IntegrityError, connection, models, transaction

from routing.copying import copying

logger = logging.getLogger("routing")

Record = TypeVar("Record", bound=models.Model)
BATCH = 500
WARN_SECONDS = 60.0
TOO_MUCH = "54"
"""PostgreSQL's class of errors for what is beyond its limits."""


class Batches(Generic[Record]):
    """Unsaved rows that wait; those who note them never wait. What does not fit or is refused counts in ``dropped``.

    ``name`` is what the log calls them. At most ``capacity`` wait, of ``characters`` together as those who note them
    say: they must not fill the memory while the database is away. A batch is written in one transaction, and each row
    once, also where the answer to its commit was lost.
    """

    def __init__(self, name: str, *, capacity: int, characters: float = math.inf, batch: int = BATCH) -> None:
        self.name = name
        self.capacity = capacity
        self.characters = characters
        self.dropped = 0
        self._batch = batch
        self._records: deque[tuple[Record, int]] = deque()
        self._characters = 0
        self._lock = threading.Lock()  # held for a few operations in memory
        self._writing = threading.Lock()  # held while the database is asked
        self._unsure = 0  # rows at the front whose commit may have succeeded, although nobody told
        self._warned_at = -math.inf

    def __len__(self) -> int:
        return len(self._records)

    def note(self, record: Record, *, characters: int = 0) -> None:
        """Keep an unsaved row until it is written."""
        with self._lock:
            fits = len(self._records) < self.capacity and self._characters + characters <= self.characters
            if fits:
                self._records.append((record, characters))
                self._characters += characters
        if not fits:
            self._drop("they come faster than the database takes them")

    def flush(self) -> int:
        """Write everything and return how many rows; raises django.db.Error, and keeps what was not written.

        Where the database refuses a batch for what is in it, smaller ones are tried, until the row it refuses is alone.
        """
        with self._writing:
            written, size = self._resolved(), self._batch
            while batch := self._oldest(size):
                try:
                    self._write(batch)
                except Exception as error:
                    if _is_outage(error):
                        raise
                    if len(batch) > 1:
                        size = len(batch) // 2
                        continue
                    self._drop(f"the database refuses one ({type(error).__name__})")
                else:
                    written += len(batch)
                self._forget(len(batch))
                size = min(self._batch, size * 2)
        return written

    def _write(self, records: Sequence[Record]) -> None:
        try:
            with transaction.atomic():
                self._insert(records)
        except Exception as error:
            if _is_outage(error):
                self._unsure = len(records)
            raise

    def _insert(self, records: Sequence[Record]) -> None:
        """Insert rows; called inside a transaction."""
        raise NotImplementedError

    def _is_written(self, record: Record) -> bool:
        """Tell whether a row is in the database already."""
        raise NotImplementedError

    def _resolved(self) -> int:
        """Find out whether the batch that failed last was written all the same, and return how many rows it was."""
        unsure = self._oldest(self._unsure)
        written = bool(unsure) and self._is_written(unsure[0])
        self._unsure = 0
        if written:
            self._forget(len(unsure))
        return len(unsure) if written else 0

    def _oldest(self, count: int) -> list[Record]:
        with self._lock:
            return [record for record, _ in islice(self._records, count)]

    def _forget(self, count: int) -> None:
        # Only here is anything taken out, so they are the ones that were written.
        with self._lock:
            for _ in range(count):
                self._characters -= self._records.popleft()[1]

    def _drop(self, reason: str) -> None:
        with self._lock:
            self.dropped += 1
            now = time.monotonic()
            if now - self._warned_at < WARN_SECONDS:
                return
            self._warned_at = now
        logger.warning("%s are not kept dropped=%d, as %s", self.name, self.dropped, reason)


def _is_outage(error: Exception) -> bool:
    """Tell whether the database failed, rather than refuse what it was given."""
    if not isinstance(error, Error | OSError) or isinstance(error, DataError | IntegrityError):
        return False
    # Values too long for an index and the like are an OperationalError, as if the database were away.
    return not (getattr(error.__cause__, "sqlstate", None) or "").startswith(TOO_MUCH)


# --- what PostgreSQL takes --------------------------------------------------------------------------------------


def rows_copy(records: Sequence[Record]) -> None:
    """Insert rows of one kind by COPY, which costs a quarter of INSERT's time here; the database numbers them."""
    kind = type(records[0])
    columns = [column for column in kind._meta.concrete_fields if not isinstance(column, models.AutoField)]
    names = ", ".join(connection.ops.quote_name(column.column or "") for column in columns)
    table = connection.ops.quote_name(kind._meta.db_table)
    with copying(f"COPY {table} ({names}) FROM STDIN") as copy:
        for record in map(storable, records):
            copy.write_row([_column(column, getattr(record, column.attname)) for column in columns])


def _column(column: "models.Field[Any, Any]", value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(column, models.JSONField) else value


def storable(record: Record) -> Record:
    """Return ``record`` without what clients can send and PostgreSQL cannot store."""
    for column in record._meta.concrete_fields:
        value = getattr(record, column.attname)
        if isinstance(column, models.JSONField):
            setattr(record, column.attname, _plain(value))
        elif isinstance(value, str):
            setattr(record, column.attname, _text(value)[: column.max_length])
    return record


def _text(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # halves of surrogate pairs
    return text.replace("\0", "�")


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON that PostgreSQL takes: no null characters, no numbers that are none."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, dict):
        return {_text(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _text(str(value))
