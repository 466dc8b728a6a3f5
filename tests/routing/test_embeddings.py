"""Embeddings of both kinds of model servers."""

import math

import pytest

from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.embeddings import EmbeddingCall, Embeddings, joined, parse, payload, shortened
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Replica
from routing.exceptions import BadRequest, ContextLengthExceeded, ModelNotFound, ModelNotInstalled, UpstreamFailed
from routing.named import decide_embedding
from tests.scripted import Reply, ScriptedModel, ScriptedServer

OLLAMA, OPENAI = ServerKind.OLLAMA, ServerKind.OPENAI


def call(*texts, **fields):
    return EmbeddingCall(model="nomic-embed-text", texts=texts or ("a",), **fields)


# What is asked


@pytest.mark.parametrize(
    ("kind", "fields", "extra"),
    [
        (OLLAMA, {}, {"truncate": False}),
        (OLLAMA, {"dimensions": 64}, {"truncate": False, "dimensions": 64}),
        (OLLAMA, {"truncate": True, "keep_alive": 0}, {"truncate": True, "keep_alive": 0}),
        (OLLAMA, {"options": {"num_ctx": 512, "seed": None}}, {"truncate": False, "options": {"num_ctx": 512}}),
        (OLLAMA, {"options": {"seed": None}}, {"truncate": False}),
        (OPENAI, {}, {"encoding_format": "float"}),
        (OPENAI, {"dimensions": 64, "keep_alive": 0, "options": {"num_ctx": 5}}, {"encoding_format": "float"}),
    ],
)
def test_a_payload_holds_what_the_server_can_carry_out(kind, fields, extra):
    assert payload(kind, call("a", "b", **fields)) == {"model": "nomic-embed-text", "input": ["a", "b"]} | extra


# What is answered


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (OLLAMA, {"embeddings": [[1.0, 0], [0, 1.0]], "prompt_eval_count": 5}),
        (
            OPENAI,
            {
                "data": [{"index": 1, "embedding": [0, 1.0]}, {"index": 0, "embedding": [1.0, 0]}],
                "usage": {"prompt_tokens": 5, "total_tokens": 5},
            },
        ),
    ],
)
def test_vectors_come_in_the_order_of_the_texts(kind, answer):
    assert parse(kind, answer, call("a", "b")) == Embeddings(vectors=([1.0, 0], [0, 1.0]), prompt_tokens=5)


@pytest.mark.parametrize("answer", [{"embeddings": [[1.0]]}, {"embeddings": [[1.0]], "prompt_eval_count": None}])
def test_a_count_of_nothing_may_be_absent(answer):
    assert parse(OLLAMA, answer, call()).prompt_tokens == 0


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (OLLAMA, {}),
        (OLLAMA, []),
        (OLLAMA, {"embeddings": None}),
        (OLLAMA, {"embeddings": [[1.0], [1.0]]}),
        (OLLAMA, {"embeddings": [[]]}),
        (OLLAMA, {"embeddings": [[None]]}),
        (OLLAMA, {"embeddings": ["AAAA"]}),
        (OPENAI, {"data": [{"index": 0}]}),
        (OPENAI, {"data": [{"index": 1, "embedding": [1.0]}]}),
        (OPENAI, {"data": ["x"]}),
        (OPENAI, {"data": [{"index": 0, "embedding": [[1.0]]}]}),
    ],
)
def test_anything_but_a_vector_a_text_is_a_failure(kind, answer):
    with pytest.raises(UpstreamFailed, match="a vector for each of 1 texts"):
        parse(kind, answer, call())


def test_fewer_dimensions_have_length_one_again():
    vector = shortened([0.6, 0.0, 0.8], 2, "m")
    assert vector == [1.0, 0.0]
    assert math.isclose(math.hypot(*shortened([0.5, 0.5, 0.5, 0.5], 3, "m")), 1)
    assert shortened([0.0, 0.0, 1.0], 2, "m") == [0.0, 0.0]  # nothing to lengthen


def test_more_dimensions_than_there_are_is_refused():
    with pytest.raises(BadRequest, match="have 2") as caught:
        parse(OLLAMA, {"embeddings": [[1.0, 0.0]]}, call(dimensions=3))
    assert caught.value.param == "dimensions"


def test_several_calls_are_one_answer():
    parts = [Embeddings(vectors=([1.0],), prompt_tokens=2), Embeddings(vectors=([2.0], [3.0]), prompt_tokens=3)]
    assert joined(parts) == Embeddings(vectors=([1.0], [2.0], [3.0]), prompt_tokens=5)


# Who answers

SERVER = ServerAddress(name="box", kind=OLLAMA, base_url="http://box")


def shelf():
    def model(slug, *capabilities):
        replica = Replica(server=SERVER, embedded=False, model=slug, capabilities=frozenset(capabilities))
        return {slug: Expert(slug=slug, replicas=(replica,))}

    return Catalog(
        experts=model("general", "completion"),
        models=model("llama3.2:3b", "completion"),
        rules=(),
        default="general",
        embedders=model("nomic-embed-text:latest", "embedding"),
    )


@pytest.mark.parametrize(
    ("name", "expert", "route"),
    [
        ("auto", "all-MiniLM-L6-v2", "default"),
        ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2", "explicit"),
        ("nomic-embed-text", "nomic-embed-text:latest", "explicit"),
        ("nomic-embed-text:latest", "nomic-embed-text:latest", "explicit"),
    ],
)
def test_who_embeds(name, expert, route):
    decision = decide_embedding(name, shelf())
    assert (decision.expert.slug, decision.route) == (expert, route)


@pytest.mark.parametrize(
    ("name", "error"), [("general", BadRequest), ("llama3.2:3b", BadRequest), ("text-embedding-3-small", ModelNotFound)]
)
def test_who_does_not(name, error):
    with pytest.raises(error):
        decide_embedding(name, shelf())


# Over HTTP


@pytest.fixture(scope="module")
def scripted():
    models = [
        ScriptedModel(name="nomic-embed-text", capabilities=("embedding",), context_length=16, embedding_length=8),
        ScriptedModel(name="llama3.2:3b"),
    ]
    with ScriptedServer(models) as server:
        yield server


@pytest.fixture
async def embed(scripted):
    client = UpstreamClient(Timeouts(connect=10, first_byte=30, idle=30))

    async def run(kind, asked):
        scripted.clear()
        return await client.embed(ServerAddress(name="box", kind=kind, base_url=scripted.url), asked)

    yield run
    await client.aclose()


@pytest.mark.parametrize("kind", [OLLAMA, OPENAI])
async def test_each_kind_answers_alike(embed, kind):
    found = await embed(kind, call("one two", "three", dimensions=4))
    assert [len(vector) for vector in found.vectors] == [4, 4]
    assert found.prompt_tokens == 4


@pytest.mark.parametrize("kind", [OLLAMA, OPENAI])
async def test_a_text_that_does_not_fit_names_the_input(embed, kind):
    with pytest.raises(ContextLengthExceeded) as caught:
        await embed(kind, call("word " * 100))
    assert caught.value.param == "input"


@pytest.mark.parametrize("kind", [OLLAMA, OPENAI])
async def test_a_model_that_only_chats_is_the_clients_mistake(embed, kind):
    with pytest.raises(BadRequest, match="does not support embeddings"):
        await embed(kind, EmbeddingCall(model="llama3.2:3b", texts=("a",)))


@pytest.mark.parametrize("kind", [OLLAMA, OPENAI])
async def test_a_model_that_is_not_there_may_be_on_another_server(embed, kind):
    with pytest.raises(ModelNotInstalled):
        await embed(kind, EmbeddingCall(model="nothing", texts=("a",)))


async def test_llama_cpps_batch_is_a_limit_of_length_too(embed, scripted):
    address = ServerAddress(name="box", kind=OPENAI, base_url=scripted.url)
    client = UpstreamClient(Timeouts(connect=10, first_byte=30, idle=30))
    scripted.reply(
        Reply(status=500, error="input (900 tokens) is too large to process. increase the physical batch size"),
        path="/v1/embeddings",
    )
    with pytest.raises(ContextLengthExceeded):
        await client.embed(address, call())
    await client.aclose()
