"""Golden queries as JSON lines: ``{"query": "…", "documents": ["leave.md"], "answers": ["thirty days"]}``.

Documents are named by their sources, which they keep wherever they are read in again.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from knowledge.models import Collection, Document, GoldenQuery
from knowledge.search import LONGEST_QUESTION

FIELDS = frozenset(("query", "documents", "answers"))


class BadGoldenQueries(ValueError):
    """A file that holds no golden queries; the message says which line is wrong, and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    query: str
    documents: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """How many queries are new and how many were there and changed; ``unknown`` are sources of no document."""

    created: int
    updated: int
    unchanged: int
    unknown: tuple[str, ...] = ()


def golden_lines(collection: Collection) -> Iterator[str]:
    """Yield the golden queries of ``collection`` as lines."""
    for row in GoldenQuery.objects.filter(collection=collection).prefetch_related("documents").iterator(500):
        sources = sorted(document.source for document in row.documents.all())
        yield json.dumps({"query": row.query, "documents": sources, "answers": row.answers}, ensure_ascii=False) + "\n"


def golden_read(lines: Iterable[str]) -> list[Line]:
    """Return what ``lines`` say, empty ones left out. Pure. Raises BadGoldenQueries."""
    return [_line(number, line) for number, line in enumerate(lines, 1) if line.strip()]


@transaction.atomic
def golden_import(collection: Collection, lines: Iterable[Line], *, by: User | None = None) -> Imported:
    """Make ``lines`` golden queries of ``collection``; a question that is one already is changed to what its line says.

    Sources of documents that are not there are passed over and named.
    """
    given = list(lines)
    sources = {source for line in given for source in line.documents}
    known = dict(Document.objects.filter(collection=collection, source__in=sources).values_list("source", "pk"))
    there = {row.query: row for row in GoldenQuery.objects.filter(collection=collection).prefetch_related("documents")}
    counts = {"created": 0, "updated": 0, "unchanged": 0}
    for line in given:
        documents = {known[source] for source in line.documents if source in known}
        row = there.get(line.query)
        if row is None:
            row = GoldenQuery.objects.create(
                collection=collection, query=line.query, answers=list(line.answers), created_by=by
            )
            there[line.query] = row
            counts["created"] += 1
        elif ({one.pk for one in row.documents.all()}, tuple(row.answers)) == (documents, line.answers):
            counts["unchanged"] += 1
            continue
        else:
            row.answers = list(line.answers)
            row.save(update_fields=["answers"])
            counts["updated"] += 1
        row.documents.set(documents)
    return Imported(**counts, unknown=tuple(sorted(sources - known.keys())))


def _line(number: int, line: str) -> Line:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadGoldenQueries(f"Line {number} is no JSON: {error}.") from error
    if not isinstance(row, dict):
        raise BadGoldenQueries(f'Line {number} must be an object such as {{"query": "…", "documents": ["leave.md"]}}.')
    if strange := sorted(row.keys() - FIELDS):
        raise BadGoldenQueries(f"Line {number} has '{strange[0]}'; a line has query, documents and answers.")
    query = row.get("query")
    if not isinstance(query, str) or not query.strip() or len(query) > LONGEST_QUESTION or _is_no_text(query):
        raise BadGoldenQueries(f"Line {number} needs a 'query': a text of at most {LONGEST_QUESTION:,} characters.")
    documents, answers = _texts(number, row, "documents"), _texts(number, row, "answers")
    if not documents and not answers:
        raise BadGoldenQueries(f"Line {number} must say what a right passage is: 'documents', 'answers' or both.")
    return Line(query=query, documents=documents, answers=answers)


def _texts(number: int, row: dict[str, Any], name: str) -> tuple[str, ...]:
    value = row.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, str) and not _is_no_text(one) for one in value):
        raise BadGoldenQueries(f"Line {number}: '{name}' must be a list of texts.")
    return tuple(one for one in value if one.strip())


def _is_no_text(text: str) -> bool:
    """Tell whether ``text`` holds what no column does: U+0000, or half of a pair."""
    return any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)
