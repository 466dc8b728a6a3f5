"""Embedders that make no vector twice."""

import pytest

from knowledge.embedding import ModelSpec
from knowledge.remembered import Remembered
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Replica, catalog
from routing.vectorcache import vectors

pytestmark = pytest.mark.django_db


class Embedder:
    """Vectors of a text's length; says what it was asked."""

    def __init__(self):
        self.made = []

    def count(self, text):
        return len(text.split())

    async def passages(self, texts):
        self.made += texts
        return [[float(len(text)), 0.0] for text in texts]

    async def question(self, text):
        self.made.append(text)
        return [float(len(text)), 1.0]


def spec(**fields):
    return ModelSpec(**{"id": 1, "name": "nomic", "in_process": True, "dimensions": 2, "max_tokens": 100} | fields)


@pytest.fixture
def embedder():
    return Embedder()


def serves(monkeypatch, revision):
    address = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://127.0.0.1:9")
    replica = Replica(server=address, embedded=False, model="nomic", revision=revision)
    shown = Catalog(
        experts={}, models={}, rules=(), default=None, embedders={"nomic": Expert(slug="nomic", replicas=(replica,))}
    )
    monkeypatch.setattr(catalog, "_value", shown)


async def test_passages_come_in_order_and_each_text_is_embedded_once(embedder):
    remembered = Remembered(embedder, spec())
    texts = ["a", "bbb", "a", "cc"]
    assert await remembered.passages(texts) == [[1.0, 0.0], [3.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    assert await remembered.passages(["cc", "new", "a"]) == [[2.0, 0.0], [3.0, 0.0], [1.0, 0.0]]
    assert embedder.made == ["a", "bbb", "cc", "new"]
    assert remembered.count("two words") == 2


async def test_questions_are_not_taken_for_passages(embedder):
    remembered = Remembered(embedder, spec())
    await remembered.passages(["a"])
    assert await remembered.question("a") == [1.0, 1.0]
    assert await remembered.question("a") == [1.0, 1.0]
    assert embedder.made == ["a", "a"]


async def test_only_what_takes_long_is_written_down(embedder, monkeypatch):
    await Remembered(embedder, spec()).question("a")
    assert len(vectors) == 0
    serves(monkeypatch, "1")
    await Remembered(embedder, spec(in_process=False)).question("a")
    assert len(vectors) == 1
    await Remembered(embedder, spec()).passages(["a"])
    assert len(vectors) == 2


async def test_a_model_that_was_pulled_anew_makes_new_ones(embedder, monkeypatch):
    remembered = Remembered(embedder, spec(in_process=False))
    for revision in ("1", "1", "2"):
        serves(monkeypatch, revision)
        await remembered.passages(["a"])
    assert embedder.made == ["a", "a"]


async def test_another_prefix_makes_new_ones(embedder, monkeypatch):
    serves(monkeypatch, "1")
    for prefix in ("query: ", "query: ", "ask: "):
        await Remembered(embedder, spec(in_process=False, query_prefix=prefix)).question("a")
    assert embedder.made == ["a", "a"]


async def test_a_vector_of_another_width_is_none(embedder):
    await Remembered(embedder, spec()).passages(["a"])
    wider = Remembered(embedder, spec(dimensions=3))
    await wider.passages(["a"])
    assert embedder.made == ["a", "a"]


async def test_off_everything_is_embedded(embedder, settings):
    settings.EMBEDDING_CACHE_ENTRIES = 0
    remembered = Remembered(embedder, spec())
    for _ in range(2):
        await remembered.passages(["a", "a"])
    assert embedder.made == ["a", "a"]
