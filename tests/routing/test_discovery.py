"""What model servers say of their models, as they say it and as older ones do."""

from typing import Any

import pytest

from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Replica
from routing.discovery import FoundModel, ollama_model, openai_models

DETAILS = {
    "format": "gguf",
    "family": "qwen2",
    "families": None,
    "parameter_size": "7.6B",
    "quantization_level": "Q4_K_M",
}
TAG = {
    "name": "qwen2.5:7b",
    "model": "qwen2.5:7b",
    "modified_at": "2026-08-21T10:00:00.123456789+02:00",
    "size": 4_683_087_332,
    "digest": "845dbda0ea48",
    "details": DETAILS,
}
SHOWN = {
    "details": DETAILS,
    "model_info": {"general.architecture": "qwen2", "qwen2.context_length": 32768, "qwen2.embedding_length": 3584},
    "capabilities": ["completion", "tools"],
}


def test_an_ollama_model_is_described_by_tag_and_show():
    assert ollama_model(TAG, SHOWN) == FoundModel(
        name="qwen2.5:7b",
        family="qwen2",
        parameter_size="7.6B",
        quantization="Q4_K_M",
        size_bytes=4_683_087_332,
        digest="845dbda0ea48",
        context_length=32768,
        capabilities=("completion", "tools"),
    )


@pytest.mark.parametrize(
    ("tag", "shown", "capabilities"),
    [
        ({}, {"capabilities": ["completion"]}, ("completion",)),
        ({"capabilities": ["completion", "vision"]}, {}, ("completion", "vision")),
        ({"capabilities": ["completion"]}, {"capabilities": ["completion", "tools"]}, ("completion", "tools")),
        ({"capabilities": ["completion"]}, {"capabilities": None}, ("completion",)),
        ({}, {}, None),
        ({"capabilities": None}, {"capabilities": None}, None),
        ({}, {"capabilities": []}, None),
    ],
    ids=str,
)
def test_capabilities_that_an_old_server_does_not_tell_are_unknown_and_not_none(tag, shown, capabilities):
    assert ollama_model({"name": "m"} | tag, shown).capabilities == capabilities


@pytest.mark.parametrize(
    ("info", "details", "context_length"),
    [
        ({"general.architecture": "llama", "llama.context_length": 131072}, {}, 131072),
        ({"general.architecture": "llama", "clip.context_length": 77, "llama.context_length": 8192}, {}, 8192),
        ({"general.architecture": "new", "old.context_length": 4096}, {}, 4096),
        ({"llama.context_length": 4096}, {}, 4096),
        ({"general.architecture": "llama"}, {}, None),
        ({}, {}, None),
        (None, {}, None),
        ({}, {"context_length": 2048}, 2048),
        ({"llama.context_length": 4096}, {"context_length": 2048}, 4096),
    ],
    ids=str,
)
def test_the_trained_window_is_found_under_any_prefix(info, details, context_length):
    found = ollama_model({"name": "m", "details": details}, {"model_info": info})
    assert found.context_length == context_length


@pytest.mark.parametrize("shown", [{}, {"details": None, "model_info": None, "capabilities": None}])
def test_a_model_that_cannot_be_shown_is_described_by_its_tag(shown):
    assert ollama_model(TAG, shown) == FoundModel(
        name="qwen2.5:7b",
        family="qwen2",
        parameter_size="7.6B",
        quantization="Q4_K_M",
        size_bytes=4_683_087_332,
        digest="845dbda0ea48",
    )


@pytest.mark.parametrize("details", [None, {}, {"family": "", "parameter_size": None}])
def test_a_bare_tag_is_a_model_with_a_name(details):
    assert ollama_model({"name": "m", "details": details}, {}) == FoundModel(name="m")


# OpenAI-compatible servers

# llama.cpp writes both lists; "multimodal" is its only word beside "completion" (get_models in tools/server).
LLAMA_CPP: dict[str, Any] = {
    "models": [{"name": "tiny", "model": "tiny", "capabilities": ["completion"], "details": {"format": "gguf"}}],
    "object": "list",
    "data": [
        {
            "id": "tiny",
            "object": "model",
            "owned_by": "llamacpp",
            "meta": {"n_ctx_train": 32768, "n_ctx": 4096, "n_params": 494_032_768, "size": 397_000_000},
        }
    ],
}
VLLM = {"object": "list", "data": [{"id": "Qwen/Qwen3-8B", "owned_by": "vllm", "max_model_len": 40960}]}


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (VLLM, ["Qwen/Qwen3-8B"]),
        ({"object": "list", "data": [{"id": "b"}, {"id": "a"}]}, ["b", "a"]),
        ({"object": "list", "data": []}, []),
        ({"object": "list", "data": None}, []),
        ({"data": [{"id": "a", "meta": None}], "models": None}, ["a"]),
    ],
    ids=["vLLM", "minimal", "none", "null", "nulls"],
)
def test_models_are_found_by_id(answer, names):
    assert [model.name for model in openai_models(answer)] == names


def test_vllm_tells_its_window_and_nothing_of_capabilities():
    assert openai_models(VLLM) == [FoundModel(name="Qwen/Qwen3-8B", context_length=40960)]


def test_llama_cpp_tells_its_size_and_the_window_it_was_started_with():
    [model] = openai_models(LLAMA_CPP)
    assert (model.name, model.parameter_size, model.size_bytes, model.context_length) == (
        "tiny",
        "494M",
        397_000_000,
        4096,
    )


def llama_cpp_can(need: str, *capabilities: str) -> bool:
    """Tell whether a request with ``need`` reaches a model of llama.cpp's that lists ``capabilities``."""
    answer = LLAMA_CPP | {"models": [{"name": "tiny", "capabilities": list(capabilities)}]}
    [model] = openai_models(answer)
    server = ServerAddress(name="box", kind=ServerKind.OPENAI, base_url="http://box:8080")
    told = None if model.capabilities is None else frozenset(model.capabilities)
    return Replica(server=server, embedded=False, model="tiny", capabilities=told).can(frozenset({need}))


def test_llama_cpp_with_a_projector_takes_images():
    assert llama_cpp_can("vision", "completion", "multimodal")


def test_llama_cpp_is_not_held_incapable_of_tools_for_want_of_a_word():
    assert llama_cpp_can("tools", "completion")
