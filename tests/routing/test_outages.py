"""What passes by itself, and a disk without room, are told from what is wrong with what was asked."""

import errno
from pathlib import Path

import psycopg
import pytest
from django.db import DataError, InternalError, OperationalError

from routing.outages import is_full, is_outage


def djangos(kind, cause):
    try:
        raise kind from cause
    except kind as error:
        return error


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (OperationalError("gone"), True),
        (djangos(InternalError, psycopg.errors.ReadOnlySqlTransaction()), True),
        (djangos(InternalError, psycopg.errors.InFailedSqlTransaction()), False),
        (psycopg.errors.AdminShutdown("terminated"), True),
        (psycopg.errors.DivisionByZero("division by zero"), False),
        (DataError("too long"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
    ],
)
def test_what_passes_by_itself(error, outage):
    assert is_outage(error) is outage


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (djangos(OperationalError, psycopg.errors.DiskFull()), True),
        (psycopg.errors.DiskFull(), True),
        (djangos(OperationalError, psycopg.errors.AdminShutdown()), False),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (ValueError("no"), False),
    ],
)
def test_a_disk_without_room(error, full):
    assert is_full(error) is full


def test_a_file_on_a_full_disk():
    with pytest.raises(OSError) as caught, Path("/dev/full").open("w") as file:
        file.write("x")
    assert is_full(caught.value)
