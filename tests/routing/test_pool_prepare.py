"""What an expert and a replica add to a client's request."""

from typing import Any

import pytest

from routing.backends import ollama, openai
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Expert, Replica
from routing.exceptions import BadRequest
from routing.preparing import prepare
from tests.requests import HELLO, chat_request

SERVER = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box:11434")
SYSTEM = {"role": "system", "content": "You are a programmer."}


def sent(asked: dict[str, Any], *, prompt: str = "", defaults: dict[str, Any] | None = None, **replica: Any) -> Any:
    """Return what Ollama gets when a client asks an expert with such a replica."""
    expert = Expert(slug="code", system_prompt=prompt, defaults=defaults or {})
    ready = Replica(server=SERVER, embedded=False, model="llama3.2:3b", **replica)
    return ollama.chat_payload(prepare(expert, ready, chat_request(**asked)))


def test_the_replicas_model_is_asked_whatever_the_client_called_it():
    assert sent({"model": "code"})["model"] == "llama3.2:3b"


# The system prompt


@pytest.mark.parametrize(
    ("messages", "arriving"),
    [
        ([HELLO], [SYSTEM, HELLO]),
        ([{"role": "system", "content": "Mine."}, HELLO], [{"role": "system", "content": "Mine."}, HELLO]),
        ([{"role": "developer", "content": "Mine."}, HELLO], [{"role": "system", "content": "Mine."}, HELLO]),
        ([HELLO, {"role": "system", "content": "Mine."}], [HELLO, {"role": "system", "content": "Mine."}]),
        ([{"role": "system", "content": ""}, HELLO], [{"role": "system", "content": ""}, HELLO]),
    ],
    ids=["none", "system", "developer", "later", "empty"],
)
def test_the_experts_prompt_comes_first_unless_the_client_has_one(messages, arriving):
    assert sent({"messages": messages}, prompt=SYSTEM["content"])["messages"] == arriving


def test_an_expert_without_a_prompt_adds_none():
    """So that the model's own, from its Modelfile, lives."""
    assert sent({})["messages"] == [HELLO]


def test_the_clients_request_is_left_as_it_was():
    request = chat_request()
    prepare(
        Expert(slug="code", system_prompt="x", defaults={"seed": 1}),
        Replica(server=SERVER, embedded=False, model="m"),
        request,
    )
    assert request == chat_request()


# Sampling defaults


@pytest.mark.parametrize(
    ("asked", "defaults", "options"),
    [
        ({}, {}, None),
        ({}, {"temperature": 0.2}, {"temperature": 0.2}),
        ({}, {"temperature": 0, "seed": 0}, {"temperature": 0, "seed": 0}),
        ({}, {"max_tokens": 100}, {"num_predict": 100}),
        ({"temperature": 0.9}, {"temperature": 0.2}, {"temperature": 0.9}),
        ({"temperature": 0}, {"temperature": 0.2}, {"temperature": 0}),
        ({"frequency_penalty": 0}, {"frequency_penalty": 1}, {"frequency_penalty": 0}),
        ({"temperature": None}, {"temperature": 0.2}, {"temperature": 0.2}),
        ({"top_p": 0.5}, {"temperature": 0.2}, {"temperature": 0.2, "top_p": 0.5}),
        ({"max_tokens": 10}, {"max_tokens": 100}, {"num_predict": 10}),
        ({"max_completion_tokens": 10}, {"max_tokens": 100}, {"num_predict": 10}),
        ({"options": {"top_k": 1}}, {"temperature": 0.2}, {"top_k": 1, "temperature": 0.2}),
        ({"options": {"temperature": 0.9}}, {"temperature": 0.2}, {"temperature": 0.9}),
        ({"options": {"num_predict": 10}}, {"max_tokens": 100}, {"num_predict": 10}),
    ],
    ids=str,
)
def test_the_experts_defaults_fill_only_what_the_client_left_open(asked, defaults, options):
    assert sent(asked, defaults=defaults).get("options") == options


# The context window


@pytest.mark.parametrize(
    ("asked", "replica", "num_ctx"),
    [
        ({}, {}, None),
        ({}, {"context_length": 32768}, None),
        ({}, {"num_ctx": 8192, "context_length": 32768}, 8192),
        ({"num_ctx": 4096}, {"num_ctx": 8192, "context_length": 32768}, 8192),  # it fits, and nothing is loaded again
        ({"num_ctx": 16384}, {}, 16384),
        ({"num_ctx": 32768}, {"context_length": 32768}, 32768),
        ({"options": {"num_ctx": 16384}}, {"context_length": 32768}, 16384),
    ],
    ids=str,
)
def test_the_window_is_the_clients_or_the_replicas(asked, replica, num_ctx):
    assert sent(asked, **replica).get("options", {}).get("num_ctx") == num_ctx


def test_a_window_beyond_the_replicas_own_is_refused():
    with pytest.raises(BadRequest, match=r"16384 .* 8192"):
        sent({"num_ctx": 16384}, num_ctx=8192, context_length=32768)


@pytest.mark.parametrize("asked", [{"num_ctx": 32769}, {"options": {"num_ctx": 32769}}], ids=["top level", "option"])
def test_a_window_beyond_what_the_model_was_trained_for_is_refused(asked):
    with pytest.raises(BadRequest, match=r"32769 .* 32768") as caught:
        sent(asked, context_length=32768)
    assert (caught.value.param, caught.value.code) == ("num_ctx", "unsupported_value")


# Staying in memory


@pytest.mark.parametrize(
    ("asked", "replica", "accepted"),
    [
        (None, None, [None]),
        (None, "30m", ["30m"]),
        ("5m", "30m", ["5m"]),
        (0, "30m", [0]),
        (-1, "30m", [-1]),
        # Ollama reads "0" as text too, but refuses "-1" for want of a unit.
        (None, "0", [0, "0"]),
        (None, "-1", [-1]),
    ],
)
def test_keep_alive_is_the_clients_or_the_replicas(asked, replica, accepted):
    assert sent({"keep_alive": asked}, keep_alive=replica).get("keep_alive") in accepted


# Other servers


def test_what_belongs_to_ollama_is_not_sent_to_other_servers():
    replica = Replica(
        server=ServerAddress(name="box", kind=ServerKind.OPENAI, base_url="http://box:8080"),
        embedded=False,
        model="tiny",
        num_ctx=4096,
        keep_alive="5m",
    )
    expert = Expert(slug="code", system_prompt=SYSTEM["content"], defaults={"temperature": 0, "max_tokens": 100})
    assert openai.chat_payload(prepare(expert, replica, chat_request())) == {
        "model": "tiny",
        "messages": [SYSTEM, HELLO],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "max_tokens": 100,
    }


# Capabilities


@pytest.mark.parametrize(("capabilities", "refused"), [(frozenset({"completion"}), True), (None, False)])
def test_the_replicas_capabilities_are_minded(capabilities, refused):
    if not refused:
        assert sent({"think": True}, capabilities=capabilities)["think"] is True
        return
    with pytest.raises(BadRequest) as caught:
        sent({"think": True}, capabilities=capabilities)
    assert caught.value.param == "think"
