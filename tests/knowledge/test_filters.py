"""Filters: how they are read, what they mean, and that the database means the same."""

import datetime as dt
import json
import random
from typing import Any

import pytest

from knowledge.filters import InvalidFilter, matches, parse, to_json, to_q
from knowledge.filters.grammar import COLUMNS, DEEPEST, MOST_COMPARISONS, Operator
from knowledge.models import Chunk, Collection, Document, EmbeddingModel

NOON = dt.datetime(2024, 5, 31, 12, tzinfo=dt.UTC)


def compare(operator: str, key: Any, value: Any) -> dict[str, Any]:
    return {"type": operator, "key": key, "value": value}


def every(*filters: Any) -> dict[str, Any]:
    return {"type": "and", "filters": list(filters)}


def some(*filters: Any) -> dict[str, Any]:
    return {"type": "or", "filters": list(filters)}


# --- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (compare("gte", "year", 2024), compare("gte", "year", 2024)),
        (compare("in", "tags", ("a", 1, True)), compare("in", "tags", ["a", 1, True])),
        (compare("nin", "tags", []), compare("nin", "tags", [])),
        (every(some(compare("eq", "a.b", "x"))), every(some(compare("eq", "a.b", "x")))),
        (every(), every()),
        ({}, every()),
        ({"author": "x"}, compare("eq", "author", "x")),
        ({"author": "x", "final": True}, every(compare("eq", "author", "x"), compare("eq", "final", True))),
        (some({"author": "x"}, {"author": "y"}), some(compare("eq", "author", "x"), compare("eq", "author", "y"))),
        ({"type": "report"}, compare("eq", "type", "report")),
        ({"type": "report", "year": 1}, every(compare("eq", "type", "report"), compare("eq", "year", 1))),
        ({"document.mime": "text/html"}, compare("eq", "document.mime", "text/html")),
        (
            compare("lt", "document.created_at", "2024-05-31"),
            compare("lt", "document.created_at", "2024-05-31T00:00:00+00:00"),
        ),
        (
            compare("lt", "document.created_at", "2024-05-31T14:00:00.5+02:00"),
            compare("lt", "document.created_at", "2024-05-31T12:00:00.500000+00:00"),
        ),
        (
            compare("in", "document.created_at", ["2024-05-31T12:00:00Z"]),
            compare("in", "document.created_at", ["2024-05-31T12:00:00+00:00"]),
        ),
    ],
)
def test_there_is_one_way_of_writing_each_filter(written, canonical):
    assert to_json(parse(written)) == canonical
    assert parse(canonical) == parse(written)
    assert json.loads(json.dumps(to_json(parse(written)))) == canonical


def nested(depth: int) -> dict[str, Any]:
    found = compare("eq", "a", 1)
    for _ in range(depth):
        found = every(found)
    return found


def test_limits_are_inclusive():
    parse(nested(DEEPEST))
    parse(every(*[compare("eq", "a", 1)] * MOST_COMPARISONS))
    parse({"k" * 128: "x" * 2000})
    parse(compare("in", "a", [1] * 1000))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (None, "filters must be an object."),
        ([{"a": 1}], "filters must be an object."),
        ("a = 1", "filters must be an object."),
        ({"type": "eq"}, "filters.key is missing."),
        ({"type": "eq", "key": "a"}, "filters.value is missing."),
        ({"type": "and"}, "filters.filters is missing."),
        (
            {"type": "==", "key": "a", "value": 1},
            "filters.type must be one of eq, ne, gt, gte, lt, lte, in, nin, and, or.",
        ),
        ({"type": "EQ", "key": "a", "value": 1}, "filters.type must be one of "),
        ({"type": [], "key": "a", "value": 1}, "filters.type must be one of "),
        ({"type": None, "filters": []}, "filters.type must be one of "),
        ({**compare("eq", "a", 1), "not": True}, "filters has a field 'not', which"),
        ({**every(), "key": "a"}, "filters has a field 'key', which"),
        ({"type": "and", "filters": {}}, "filters.filters must be a list of filters."),
        (every({"a": 1}, 5), "filters.filters[1] must be an object."),
        (
            every({"a": 1}, some(compare("eq", "a", None))),
            "filters.filters[1].filters[0].value must be a text, a number",
        ),
        (compare("eq", "a", [1]), "filters.value must be a text, a number or a flag."),
        (compare("eq", "a", {}), "filters.value must be a text, a number or a flag."),
        (compare("in", "a", "x"), 'filters.value must be a list, since "in" compares with several values.'),
        (compare("in", "a", ["x", None]), "filters.value[1] must be a text, a number or a flag."),
        (compare("gt", "a", True), 'filters.value must be a text or a number, since "gt" compares sizes.'),
        (compare("eq", "a", float("nan")), "filters.value is no number"),
        (compare("eq", "a", float("inf")), "filters.value is no number"),
        (compare("eq", "a", 10**400), "filters.value is no number"),
        (compare("eq", "a", "x" * 2001), "filters.value may have 2,000 characters, not 2,001."),
        (compare("eq", "a", "x\0"), "filters.value has characters"),
        (compare("eq", "a", "\ud800"), "filters.value has characters"),
        (compare("in", "a", [1] * 1001), "filters.value may hold 1,000 values, not 1,001."),
        (compare("eq", 5, 1), "filters.key must be the name of a metadata field"),
        (compare("eq", "", 1), "filters.key must be the name of a metadata field"),
        (compare("eq", "a..b", 1), "filters.key must be the name of a metadata field"),
        (compare("eq", ".a", 1), "filters.key must be the name of a metadata field"),
        (compare("eq", "k" * 129, 1), "filters.key may have 128 characters, not 129."),
        (compare("eq", "k\0", 1), "filters.key has characters"),
        (
            compare("eq", "document.text", 1),
            "filters.key is 'document.text', but what can be asked of a document itself",
        ),
        (compare("eq", "document.", 1), "filters.key must be the name of a metadata field"),
        (compare("eq", "document.title.x", 1), "filters.key is 'document.title.x', but"),
        (compare("eq", "document.title", 1), "filters.value must be a text."),
        (compare("in", "document.id", ["1"]), "filters.value[0] must be a number."),
        (compare("eq", "document.id", True), "filters.value must be a number."),
        (compare("eq", "document.created_at", "yesterday"), "filters.value must be a date or time such as 2024-05-31"),
        (compare("eq", "document.created_at", 1717156800), "filters.value must be a date or time such as"),
        (compare("eq", "document.created_at", "0001-01-01T00:00:00+14:00"), "filters.value must be a date or time"),
        ({"author": ["x", "y"]}, "filters has more than a text, a number or a flag for 'author'."),
        ({"author": {"$in": ["x"]}}, "filters has more than a text, a number or a flag for 'author'."),
        ({"author": None}, "filters.value must be a text, a number or a flag."),
        (nested(DEEPEST + 1), "is nested too deeply: 8 filters inside each other are allowed."),
        (every(*[{"a": 1}] * 65), "filters.filters may hold 64 filters, not 65."),
        (every(*[every({"a": 1}, {"a": 2})] * 33), "filters.filters[32].filters[0] is one too many: 64 comparisons"),
    ],
)
def test_what_is_no_filter_is_told_with_its_place(written, message):
    with pytest.raises(InvalidFilter) as caught:
        parse(written)
    assert message in str(caught.value)


def test_the_place_can_be_called_otherwise():
    with pytest.raises(InvalidFilter, match=r"^filter_by\.filters\[0\]\.type must"):
        parse(every({"type": "x", "key": "a"}), place="filter_by")


# --- what they mean, here and in the database ----------------------------------------------------------------

METADATA = {
    "author": "Ada",
    "year": 2024,
    "share": 0.1,
    "final": True,
    "draft": False,
    "tags": ["red", "blue", 7, 1.5, None, True, ["deep"], {"x": 1}],
    "empty": [],
    "nothing": None,
    "publisher": {"city": "Köln", "founded": 1900, "names": ["A", "B"]},
    "authors": [{"name": "Ada"}],
    "2024": {"0": "digits"},
    "number": "5",
    "big": 9007199254740993,
    "word": "straße",
    "'; DROP TABLE": "\"quoted\" %s 'x'",
    "emoji": "\U0001f600",
}
COLUMN_VALUES = {
    "title": "On numbers",
    "source": "a/numbers.md",
    "mime": "text/markdown",
    "language": "",
    "revision": 3,
    "created_at": NOON,
}

TRUE = [
    compare("eq", "author", "Ada"),
    compare("eq", "year", 2024.0),
    compare("eq", "share", 0.1),
    compare("eq", "big", 9007199254740993),
    compare("gt", "big", 9007199254740992),
    compare("lt", "big", 9007199254740993.5),
    compare("eq", "final", True),
    compare("ne", "final", False),
    compare("eq", "draft", False),
    compare("gt", "year", 2023.5),
    compare("gte", "year", 2024),
    compare("lte", "year", 2024),
    compare("lt", "year", 10**300),
    compare("gt", "share", -1),
    compare("in", "year", ["2024", 2024]),
    compare("eq", "tags", "red"),
    compare("eq", "tags", 7),
    compare("eq", "tags", True),
    compare("in", "tags", ["green", 1.5]),
    compare("nin", "tags", ["green", "deep"]),
    compare("ne", "tags", "green"),
    compare("ne", "empty", "x"),
    compare("ne", "missing", "x"),
    compare("ne", "nothing", "x"),
    compare("nin", "missing", ["x"]),
    compare("nin", "author", []),
    compare("eq", "publisher.city", "Köln"),
    compare("eq", "publisher.names", "B"),
    compare("gte", "publisher.founded", 1900),
    compare("eq", "2024.0", "digits"),
    compare("ne", "publisher", "Köln"),
    compare("ne", "year", "2024"),
    compare("eq", "number", "5"),
    # by code point: capitals before small letters, ASCII before what else there is, the astral last
    compare("lt", "author", "a"),
    compare("gt", "author", "AZ"),
    compare("gt", "word", "strasse"),
    compare("lt", "word", "stre"),
    compare("gt", "emoji", "\uffff"),
    compare("gt", "publisher.city", "Kz"),
    compare("eq", "'; DROP TABLE", "\"quoted\" %s 'x'"),
    compare("eq", "document.title", "On numbers"),
    compare("in", "document.mime", ["text/html", "text/markdown"]),
    compare("gt", "document.title", "ON NUMBERS"),
    compare("eq", "document.language", ""),
    compare("lte", "document.language", ""),
    compare("nin", "document.source", ["b"]),
    compare("eq", "document.revision", 3.0),
    compare("ne", "document.revision", 3.5),
    compare("gt", "document.revision", 2.5),
    compare("gte", "document.revision", 2.5),
    compare("lt", "document.revision", 3.5),
    compare("lte", "document.revision", 3.5),
    compare("gt", "document.revision", -(10**300)),
    compare("lt", "document.id", 10**300),
    compare("nin", "document.id", [10**300, -1]),
    compare("eq", "document.created_at", "2024-05-31T14:00:00+02:00"),
    compare("gte", "document.created_at", "2024-05-31"),
    compare("lt", "document.created_at", "2024-06-01"),
    every(),
    every({"author": "Ada"}, some({"year": 1}, {"year": 2024})),
    some(every(), {"author": "Eve"}),
    some({"author": "Eve"}, every()),
]
FALSE = [
    compare("eq", "author", "ada"),
    compare("eq", "author", "Ada "),
    compare("eq", "year", "2024"),
    compare("eq", "year", 2025),
    compare("eq", "share", 0.1000000001),
    compare("eq", "big", 9007199254740992),
    compare("eq", "final", 1),
    compare("eq", "final", "true"),
    compare("ne", "tags", "red"),
    compare("nin", "tags", ["green", "blue"]),
    compare("eq", "tags", "deep"),
    compare("eq", "tags", "1.5"),
    compare("gt", "tags", "a"),
    compare("gt", "tags", 0),
    compare("eq", "empty", "x"),
    compare("in", "author", []),
    compare("eq", "missing", "x"),
    compare("gt", "missing", 0),
    compare("lt", "missing", "x"),
    compare("eq", "nothing", "null"),
    compare("lt", "nothing", 1),
    compare("gt", "year", "1"),
    compare("lt", "year", "3"),
    compare("gt", "number", 1),
    compare("gt", "final", 0),
    compare("gt", "publisher", ""),
    compare("eq", "publisher.missing.city", "x"),
    compare("eq", "author.0", "A"),
    compare("eq", "tags.0", "red"),
    compare("eq", "authors.name", "Ada"),
    compare("eq", "authors.0.name", "Ada"),
    compare("gt", "word", "strz"),
    compare("eq", "document.title", "on numbers"),
    compare("lt", "document.title", "ON NUMBERS"),
    compare("in", "document.revision", [2.5, 3.5]),
    compare("in", "document.revision", [10**300, -5]),
    compare("gt", "document.revision", 10**300),
    compare("in", "document.id", []),
    compare("gt", "document.created_at", "2024-05-31T12:00:00Z"),
    some(),
    every({"author": "Ada"}, some()),
    every({"author": "Ada"}, {"year": 1}),
]
MEANINGS = [(written, True) for written in TRUE] + [(written, False) for written in FALSE]


@pytest.mark.parametrize(("written", "expected"), MEANINGS, ids=lambda value: str(value)[:60])
def test_what_it_means(written, expected):
    assert matches(parse(written), METADATA, COLUMN_VALUES | {"id": 1}) is expected


def shelf() -> Collection:
    model = EmbeddingModel.objects.create(name="a model of its own", dimensions=3)
    return Collection.objects.create(slug="filtered", name="Filtered", embedding_model=model)


def put(collection: Collection, metadata: Any, **columns: Any) -> Document:
    created_at = columns.pop("created_at", NOON)
    document = Document.objects.create(collection=collection, metadata=metadata, **columns)
    Document.objects.filter(pk=document.pk).update(created_at=created_at)
    Chunk.objects.create(collection=collection, document=document, revision=1, ordinal=0, text="text", hash="0")
    return document


@pytest.mark.django_db
def test_the_database_means_the_same():
    collection = shelf()
    document = put(collection, METADATA, **COLUMN_VALUES)
    wrong = []
    for written, expected in MEANINGS:
        chunks = Chunk.objects.filter(collection=collection)
        condition = to_q(parse(written))
        found = list(chunks.filter(condition).values_list("document", flat=True))
        left = list(chunks.exclude(condition).values_list("document", flat=True))
        if (found, left) != (([document.pk], []) if expected else ([], [document.pk])):
            wrong.append((written, found, left))
    assert not wrong


@pytest.mark.django_db
def test_documents_are_filtered_alike():
    document = put(shelf(), METADATA, **COLUMN_VALUES)
    for written, expected in (
        ({"author": "Ada", "document.title": "On numbers"}, [document]),
        (compare("gt", "document.title", "On numbers"), []),
        ({"document.id": document.pk}, [document]),
    ):
        assert list(Document.objects.filter(to_q(parse(written), metadata="metadata", document=""))) == expected


@pytest.mark.django_db
@pytest.mark.parametrize("metadata", [[], ["author"], "author", 5])
def test_metadata_that_is_no_object_holds_nothing(metadata):
    put(shelf(), metadata)
    assert not Chunk.objects.filter(to_q(parse({"author": "Ada"}))).exists()
    assert Chunk.objects.filter(to_q(parse(compare("ne", "author", "Ada")))).exists()


@pytest.mark.django_db
def test_keys_and_values_are_parameters():
    written = every(
        {"' OR 1=1 --": "'; DROP TABLE x; --"}, compare("gt", "'))", "'))"), compare("in", "%s", ["%s", '"}'])
    )
    sql, _ = Chunk.objects.filter(to_q(parse(written))).query.sql_with_params()
    for piece in ("DROP", "1=1", "'))", '"}'):
        assert piece not in sql
    assert not Chunk.objects.filter(to_q(parse(written))).exists()


@pytest.mark.parametrize("key", ["word", "document.title"])
def test_texts_are_ordered_by_code_point_whatever_the_language_of_the_database(key):
    sql, _ = Chunk.objects.filter(to_q(parse(compare("gt", key, "a")))).query.sql_with_params()
    assert 'COLLATE "C" > ' in sql.replace(")", "")


# --- anything at all -----------------------------------------------------------------------------------------

NAMES = ["a", "b", "a.b", "a.a.b", "b.0", "0"]
TEXTS = [
    "",
    "a",
    "A",
    "b",
    "ab",
    "a b",
    "1",
    "true",
    "ä",
    "ß",
    "é",
    "e\u0301",
    "z",
    "Z",
    "_",
    "\uffff",
    "\U0001f600",
    "'",
]
NUMBERS = [0, 1, -1, 2, 0.1, 0.5, 1.0, 1.5, -0.0, 1e22, 10**22, 1e-7, 9007199254740993, 9007199254740992.0, 1e300]
COMMON = ["a", "b", "ä", 1, 2, 0.1, True]
TIMES = [NOON + dt.timedelta(hours=hours) for hours in (-1, 0, 1)]


def some_scalar(random: random.Random) -> Any:
    if random.random() < 0.6:
        return random.choice(COMMON)  # or nothing would ever equal anything
    return random.choice([random.choice(TEXTS), random.choice(NUMBERS), random.choice([True, False])])


def some_json(random: random.Random, depth: int = 0) -> Any:
    kind = random.random()
    if kind < 0.6 or depth == 3:
        return some_scalar(random)
    if kind < 0.65:
        return None
    if kind < 0.8:
        return [some_json(random, depth + 1) for _ in range(random.randrange(4))]
    return {name: some_json(random, depth + 1) for name in random.sample(["a", "b", "0"], random.randrange(4))}


def some_columns(random: random.Random) -> dict[str, Any]:
    return {
        "title": random.choice(TEXTS),
        "mime": random.choice(TEXTS),
        "language": random.choice(["", "de", "en"]),
        "revision": random.randrange(4),
        "created_at": random.choice(TIMES),
    }


def some_value(random: random.Random, key: str, operator: Operator) -> Any:
    if key == "document.created_at":
        return random.choice(TIMES).isoformat()
    if key in ("document.id", "document.revision"):
        return random.choice([*NUMBERS, 3, 2.5])
    if key.startswith("document."):
        return random.choice([*TEXTS, "de"])
    value = some_scalar(random)
    return value if not (operator.orders and isinstance(value, bool)) else 1


def some_filter(random: random.Random, depth: int = 0) -> dict[str, Any]:
    if depth < 4 and random.random() < 0.6 - 0.1 * depth:
        inner = [some_filter(random, depth + 1) for _ in range(random.choice([0, 1, 2, 2, 3, 3]))]
        return {"type": random.choice(["and", "or"]), "filters": inner}
    operator = random.choice(list(Operator))
    columns = [f"document.{name}" for name in COLUMNS]
    key = random.choice(columns if random.random() < 0.25 else NAMES)
    value = some_value(random, key, operator)
    if operator.takes_list:
        value = [some_value(random, key, operator) for _ in range(random.randrange(4))]
    return compare(operator.value, key, value)


def described(document: Document) -> dict[str, Any]:
    return {name: getattr(document, name) for name in COLUMNS}


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_asked_of_whatever_there_is(seed):
    chance = random.Random(seed)
    collection = shelf()
    for number in range(40):
        metadata = {name: some_json(chance) for name in chance.sample(["a", "b", "0"], chance.choice([0, 2, 3, 3]))}
        put(collection, metadata, source=str(number), **some_columns(chance))
    documents = list(Document.objects.all())
    wrong, hits = [], 0
    for _ in range(200):
        written = some_filter(chance)
        filter = parse(written)
        condition = to_q(filter)
        expected = {document.pk for document in documents if matches(filter, document.metadata, described(document))}
        found = set(Chunk.objects.filter(condition).values_list("document", flat=True))
        left = set(Chunk.objects.filter(~condition).values_list("document", flat=True))
        hits += 0 < len(expected) < len(documents)
        if found != expected or found & left or len(found) + len(left) != len(documents):
            wrong.append((written, found ^ expected))
    assert not wrong
    assert hits > 50, "too few of the filters tell documents apart to prove anything"
