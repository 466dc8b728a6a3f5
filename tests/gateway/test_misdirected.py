"""Clients whose base URL is not quite right are told which one is."""

import httpx
import openai
import pytest

from gateway.misdirected import OLLAMA, OPENAI, nothing_at


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1//chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/", "/v1/chat/completions"),
        ("POST", "/openai/deployments/x/chat/completions", "/v1/chat/completions"),
        ("GET", "//v1/models", "/v1/models"),
        ("GET", "/V1/Models", "/v1/models"),
        ("GET", "/models/hf.co/Some/Model:Q4", "/v1/models/hf.co/Some/Model:Q4"),
        ("GET", "/v1/v1/models/a{b}c", "/v1/models/a{b}c"),
        ("POST", "/vector_stores/vs_1/file_batches", "/v1/vector_stores/vs_1/file_batches"),
        ("GET", "/v1/api/tags", "/api/tags"),
        ("GET", "/health/ready/", "/health/ready"),
    ],
)
def test_the_path_that_was_meant_is_named(method, path, meant):
    said = nothing_at(method, path).message
    assert said.startswith(f"There is nothing at {method} {path}. Did you mean {meant}?")
    assert (OPENAI in said, OLLAMA in said) == (meant.startswith("/v1/"), meant.startswith("/api/"))


@pytest.mark.parametrize("path", ["/v1", "/v1/", "//v1", "/V1/"])
def test_the_base_url_itself(path):
    assert nothing_at("GET", path).message == f"There is nothing at GET {path}. {OPENAI}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/v1/nothing"),
        ("DELETE", "/chat/completions"),
        ("GET", "/v1/keys/5/rotate"),
        ("GET", "/v1/keys/KEY"),  # a door's own path, where nothing is for other reasons
        ("STRANGE", "/models"),
        ("GET", "/" + "a/" * 5_000),
    ],
)
def test_where_nothing_like_it_is_nothing_is_guessed(method, path):
    assert nothing_at(method, path).message == f"There is nothing at {method} {path}."


@pytest.mark.served
class TestServed:
    @pytest.mark.parametrize("base", ["", "/v1/v1", "/V1", "/openai/v1"])
    def test_an_openai_client_is_told(self, served_ollama, base):
        client = served_ollama.client(base_url=f"{served_ollama.url}{base}")
        with pytest.raises(openai.NotFoundError, match=r"Did you mean /v1/chat/completions\?"):
            client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hi!"}])
        with pytest.raises(openai.NotFoundError, match=r"Did you mean /v1/models\?"):
            client.models.list()

    def test_an_ollama_client_is_told_in_its_own_form(self, served_ollama):
        answer = served_ollama.http().get("/api/api/tags")
        assert answer.status_code == 404
        assert "Did you mean /api/tags?" in answer.json()["error"]

    def test_people_who_mistype_get_a_page(self, served_ollama):
        answer = httpx.get(f"{served_ollama.url}/nothing")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
