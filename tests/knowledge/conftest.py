from collections.abc import Iterator

import pytest
from django.db import connection

from knowledge.consistency import inconsistencies


@pytest.fixture
def knowledge(transactional_db: None) -> Iterator[None]:
    """A real database whose queue is empty, and which must be consistent when the test is over."""
    with connection.cursor() as cursor:
        # Django does not clean tables that are not its own.
        cursor.execute("DELETE FROM procrastinate_jobs; DELETE FROM procrastinate_workers")
    yield
    assert inconsistencies() == []
