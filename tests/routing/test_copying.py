"""COPY: its errors are those of any other statement, which others know what to do about."""

import psycopg
import pytest
from django.db import DataError, OperationalError, ProgrammingError, connection

from routing.copying import copying

STATEMENT = "COPY knowledge_posting (collection_id, term, chunk_id, frequency, length) FROM STDIN"


@pytest.mark.django_db
def test_a_statement_that_is_wrong():
    with pytest.raises(ProgrammingError), copying("COPY nothing FROM STDIN"):
        pass


@pytest.mark.django_db
def test_a_row_that_is_wrong():
    with pytest.raises(DataError), copying(STATEMENT) as copy:
        copy.write("nonsense\t1\t1\t1\t1\n")


@pytest.mark.django_db(transaction=True)
def test_a_database_that_goes_away_in_the_middle():
    """Ingestion tries again what ends in an OperationalError of Django's."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (process,) = cursor.fetchone()
    options = connection.get_connection_params()
    address = {name: options[name] for name in ("host", "port", "user", "password", "dbname") if name in options}
    try:
        with pytest.raises(OperationalError), copying(STATEMENT) as copy:
            with psycopg.connect(**address, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 20000)", [process])
            copy.write("1\t1\t1\t1\t1\n")
    finally:
        connection.close()
