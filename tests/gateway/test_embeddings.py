"""POST /v1/embeddings."""

import base64
import json
import math
import struct

import openai
import pytest

from gateway.embeddings import EmbeddingRequest, embedding_list, in_base64, parse_embeddings
from routing.backends.embeddings import Embeddings
from routing.exceptions import BadRequest
from tests.scripted import Reply

EMBEDDINGS = "/v1/embeddings"
EMBEDDER = "nomic-embed-text:latest"


def closeness(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def parsed(**fields):
    return parse_embeddings(json.dumps({"model": "auto", "input": "a"} | fields).encode())


class TestParsing:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, {}),
            ({"input": ["a", " "]}, {"texts": ("a", " ")}),
            ({"encoding_format": "base64", "dimensions": 3, "user": "x"}, {"base64": True, "dimensions": 3}),
            ({"encoding_format": None, "dimensions": None}, {}),
        ],
    )
    def test_what_is_asked(self, fields, expected):
        assert parsed(**fields) == EmbeddingRequest(**({"model": "auto", "texts": ("a",)} | expected))

    @pytest.mark.parametrize(
        ("fields", "param", "words"),
        [
            ({"input": None}, "input", "missing"),
            ({"input": ""}, "input", "'input' is an empty text"),
            ({"input": []}, "input", "empty list"),
            ({"input": ["a", ""]}, "input", r"input\[1\]"),
            ({"input": [1, 2]}, "input", "check_embedding_ctx_length=False"),
            ({"input": [[1, 2]]}, "input", "check_embedding_ctx_length=False"),
            ({"input": ["a", None]}, "input", "list of texts"),
            ({"input": {"a": 1}}, "input", "list of texts"),
            ({"input": ["a"] * 2049}, "input", "2048"),
            ({"model": None}, "model", "missing"),
            ({"model": 5}, "model", "as text"),
            ({"encoding_format": "int8"}, "encoding_format", "float or base64"),
            ({"dimensions": 0}, "dimensions", "from 1"),
            ({"dimensions": True}, "dimensions", "whole number"),
            ({"dimensions": "3"}, "dimensions", "whole number"),
        ],
    )
    def test_what_is_wrong_is_named(self, fields, param, words):
        with pytest.raises(BadRequest, match=words) as caught:
            parsed(**fields)
        assert caught.value.param == param

    @pytest.mark.parametrize("body", [b"", b"nonsense", b"[]"])
    def test_what_is_no_request(self, body):
        with pytest.raises(BadRequest):
            parse_embeddings(body)


def test_base64_is_little_endian_float32():
    assert struct.unpack("<2f", base64.b64decode(in_base64([0.5, -2.0]))) == (0.5, -2.0)


def test_the_answer_is_openais():
    found = Embeddings(vectors=([1.0], [2.0]), prompt_tokens=7)
    assert embedding_list(found, parsed(input=["a", "b"]), "m") == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0]},
            {"object": "embedding", "index": 1, "embedding": [2.0]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


@pytest.mark.served
class TestOnOllama:
    def test_the_sdks_default_and_floats_are_the_same_vectors(self, served_ollama):
        create = served_ollama.client().embeddings.create
        packed = create(model="nomic-embed-text", input=["one two", "three"])
        plain = create(model="nomic-embed-text", input=["one two", "three"], encoding_format="float")
        assert [item.index for item in packed.data] == [0, 1]
        for one, other in zip(packed.data, plain.data, strict=True):
            assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert packed.model == EMBEDDER
        assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0

    def test_who_answered_is_told(self, served_ollama):
        response = served_ollama.http().post(EMBEDDINGS, json={"model": EMBEDDER, "input": "a"})
        assert response.headers["x-moe-replica"].startswith(f"{EMBEDDER}@")
        assert response.headers["x-request-id"]

    def test_a_long_list_goes_in_batches_in_order(self, served_ollama, ollama):
        texts = [f"text number {number}" for number in range(130)]
        found = served_ollama.client().embeddings.create(model=EMBEDDER, input=texts)
        sizes = [len(request.json["input"]) for request in ollama.work_at("/api/embed")]
        assert sizes == [64, 64, 2]
        alone = served_ollama.client().embeddings.create(model=EMBEDDER, input=texts[100])
        assert found.data[100].embedding == alone.data[0].embedding

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"model": EMBEDDER, "input": "word " * 5000}, 400, "context_length_exceeded"),
            ({"model": EMBEDDER, "input": "a", "dimensions": 5000}, 400, "invalid_value"),
            ({"model": "general", "input": "a"}, 400, "unsupported_value"),
            ({"model": "nothing", "input": "a"}, 404, "model_not_found"),
            ({"model": "text-embedding-3-small", "input": "a"}, 404, "model_not_found"),
            ({"model": EMBEDDER, "input": [[1]]}, 400, "invalid_value"),
        ],
        ids=["too long", "dimensions", "a chat model", "unknown", "OpenAI's name", "token numbers"],
    )
    def test_refusals(self, served_ollama, body, status, code):
        response = served_ollama.http().post(EMBEDDINGS, json=body)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)

    def test_fewer_dimensions(self, served_ollama):
        vector = served_ollama.client().embeddings.create(model=EMBEDDER, input="a b", dimensions=16).data[0].embedding
        assert len(vector) == 16
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5)

    def test_needs_a_key(self, served_ollama):
        with pytest.raises(openai.AuthenticationError):
            served_ollama.client(api_key="wrong").embeddings.create(model="auto", input="a")

    def test_the_model_is_listed(self, served_ollama):
        ids = {model.id for model in served_ollama.client().models.list()}
        assert {EMBEDDER, "all-MiniLM-L6-v2"} <= ids
        assert served_ollama.client().models.retrieve("nomic-embed-text").id == "nomic-embed-text"

    def test_a_client_that_leaves_stops_the_model(self, served_ollama, ollama):
        ask = {"model": EMBEDDER, "input": "leaving"}
        served_ollama.http().post(EMBEDDINGS, json=ask)  # so that the model is in memory: a load is not broken off
        before = len(ollama.work_at("/api/embed"))
        ollama.reply(Reply(load_delay=20), path="/api/embed")
        with served_ollama.dial(EMBEDDINGS, ask):
            request = ollama.wait_for_work("/api/embed", count=before + 1)
        assert request.wait_disconnected(10)


@pytest.mark.served
class TestInProcess:
    @pytest.mark.parametrize("name", ["auto", "all-MiniLM-L6-v2"])
    def test_embeds_without_any_server(self, served_ollama, ollama, name):
        found = served_ollama.client().embeddings.create(model=name, input=["A cat sat.", "A kitten sits.", "Tax law."])
        cat, kitten, tax = (item.embedding for item in found.data)
        assert len(cat) == 384
        assert closeness(cat, kitten) > closeness(cat, tax)
        assert found.model == "all-MiniLM-L6-v2"
        assert found.usage.prompt_tokens > 8
        assert not ollama.requests_to("/api/embed")

    def test_a_text_it_would_cut_is_refused_with_the_numbers(self, served_ollama):
        with pytest.raises(openai.BadRequestError, match=r"has 300 tokens.*reads 254") as caught:
            served_ollama.client().embeddings.create(model="auto", input=["short", "word " * 300])
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
        assert "input[1]" in caught.value.message

    def test_fewer_dimensions(self, served_ollama):
        create = served_ollama.client().embeddings.create
        assert len(create(model="auto", input="a", dimensions=100).data[0].embedding) == 100
        with pytest.raises(openai.BadRequestError, match="have 384"):
            create(model="auto", input="a", dimensions=385)
