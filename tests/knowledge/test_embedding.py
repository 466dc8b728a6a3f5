import asyncio
import math

import pytest

from knowledge.embedding import (
    MINILM,
    MULTILINGUAL,
    ModelSpec,
    embedder_of,
    probed,
)
from knowledge.exceptions import EmbeddingFailed
from routing.catalog import catalog
from routing.exceptions import EndpointError
from routing.models import InstalledModel, ModelServer
from routing.pool import close_shared_pool
from tests.scripted import Reply, ScriptedModel, ScriptedServer


@pytest.fixture(autouse=True)
def _nothing_remembered(settings):
    """What is embedded is embedded here; what is remembered of it has tests of its own."""
    settings.EMBEDDING_CACHE_ENTRIES = 0


def spec(name, **fields):
    return ModelSpec(**({"id": 1, "name": name, "in_process": True, "dimensions": 384, "max_tokens": 254} | fields))


def cosine(one, other):
    return (
        sum(a * b for a, b in zip(one, other, strict=True))
        / math.dist(one, [0] * len(one))
        / math.dist(other, [0] * len(other))
    )


@pytest.mark.parametrize("name", [MINILM, MULTILINGUAL])
def test_models_of_this_process_bring_questions_near_their_answers(name):
    embedder = embedder_of(spec(name))

    async def main():
        passages = await embedder.passages(["The otter lives on fish.", "The engine needs oil."])
        question = await embedder.question("What does an otter eat?")
        return passages, question

    (otter, engine), question = asyncio.run(main())
    assert len(otter) == len(question) == 384
    assert cosine(question, otter) > cosine(question, engine) + 0.05
    assert embedder.count("The otter lives on fish.") in range(5, 9)


def test_a_long_passage_is_read_to_its_end_by_the_multilingual_one():
    embedder = embedder_of(spec(MULTILINGUAL))
    start = "The weather was calm. " * 60
    with_end, without = asyncio.run(embedder.passages([start + "The otter lives on fish.", start]))
    assert cosine(with_end, without) < 0.9999
    assert embedder.count(start) > 250


def test_a_model_this_version_does_not_have():
    with pytest.raises(EmbeddingFailed, match="has no embedding model 'word2vec'"):
        embedder_of(spec("word2vec"))


def test_the_scale_of_meaning():
    model = spec(MINILM, floor=0.1, ceiling=0.6)
    assert [model.scaled(cosine) for cosine in (0.0, 0.1, 0.35, 0.6, 0.9)] == pytest.approx([-0.2, 0, 0.5, 1, 1.6])


def sent(server, since=0):
    """Return what the server was asked to embed."""
    return [
        request.json for request in server.requests[since:] if request.path == "/api/embed" and request.json["input"]
    ]


@pytest.mark.django_db(transaction=True)
class TestModelServers:
    @pytest.fixture
    def server(self):
        models = [ScriptedModel(name="nomic-embed-text:latest", capabilities=("embedding",), context_length=64)]
        with ScriptedServer(models) as server:
            row = ModelServer.objects.create(name="box", base_url=server.url)
            InstalledModel.objects.create(server=row, name="nomic-embed-text:latest", capabilities=["embedding"])
            catalog.forget()
            yield server

    def run(self, coroutine):
        async def main():
            try:
                return await coroutine
            finally:
                await close_shared_pool()

        return asyncio.run(main())

    def embedder(self, dimensions=768, **fields):
        return embedder_of(spec("nomic-embed-text", in_process=False, dimensions=dimensions, **fields))

    def test_texts_go_to_the_server_with_their_prefixes_and_are_never_cut(self, server):
        width = self.run(probed("nomic-embed-text")).dimensions
        embedder = self.embedder(width, query_prefix="search_query: ", passage_prefix="search_document: ")
        vectors = self.run(embedder.passages([f"text {number}" for number in range(70)]))
        assert [len(vector) for vector in vectors] == [width] * 70
        asked = [body for body in sent(server) if body["input"][0].startswith("search_document")]
        assert [len(body["input"]) for body in asked] == [64, 6]
        assert asked[0]["input"][0] == "search_document: text 0"
        assert all(body["truncate"] is False for body in asked)
        self.run(embedder.question("what?"))
        assert server.requests[-1].json["input"] == ["search_query: what?"]

    def test_a_text_that_is_too_long_after_all_is_embedded_in_halves(self, server):
        width = self.run(probed("nomic-embed-text")).dimensions
        before = len(server.requests)
        (vector,) = self.run(self.embedder(width).passages(["word " * 100]))
        assert len(vector) == width
        read = [text for body in sent(server, since=before) for text in body["input"]]
        assert "word " * 100 in read
        assert max(len(text.split()) for text in read[1:]) < 100

    def test_a_model_shows_how_wide_it_is_and_how_much_it_reads(self, server):
        found = self.run(probed("nomic-embed-text"))
        assert (found.dimensions, found.tokens) == (384, 64)
        asked = [len(body["input"][0].split()) for body in sent(server)]
        assert asked[-2:] == [116, 58]
        server.reply(Reply(embeddings=[[0.0] * 384]), path="/api/embed")
        with pytest.raises(EmbeddingFailed, match="all zeros"):
            self.run(probed("nomic-embed-text"))

    def test_a_model_that_was_changed_on_its_server_is_told(self, server):
        with pytest.raises(EmbeddingFailed, match="gave vectors of"):
            self.run(self.embedder(12).passages(["text"]))

    def test_a_server_that_fails_is_an_error_for_who_asks(self, server):
        server.reply(Reply(status=500), path="/api/embed", times=None)
        with pytest.raises(EndpointError):
            self.run(self.embedder().passages(["text"]))
