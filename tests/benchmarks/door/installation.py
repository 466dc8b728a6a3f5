"""What the parts are measured on: keys, guards, a catalog, prompts, and a model server that answers at once."""

import functools
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import httpx

from gateway.auth import Caller
from gateway.guards.guard import Guard, made
from gateway.policy import Limits, Policy, model_pattern, network
from knowledge.access import Level
from routing.backends.protocol import ChatRequest, Message, ServerAddress, ServerKind, Text
from routing.catalog import Catalog, Expert, Profile, Replica
from tests.benchmarks.stub import MODEL, SMALL_ANSWER_TOKENS, WHEN, tokens_asked

ADDRESS = "10.1.2.3"
KEY_TEXT = "sk-moe-" + "b" * 43
FEW, MANY = SMALL_ANSWER_TOKENS, 100
"""Pieces of an answer: a small one's, and a stream's."""
TOKEN = 5
"""Characters of a piece."""
MUCH = 2**40
"""Of a limit that is never reached."""

# --- keys -------------------------------------------------------------------------------------------------------

_NARROW = {
    "models": tuple(map(model_pattern, ("auto", "coding", "llama3*"))),
    "collections": (("handbook", Level.READ), ("team-*", Level.WRITE)),
    "networks": tuple(map(network, ("10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32"))),
}
RATE = Limits(requests_per_minute=MUCH)
FOUR = Limits(requests_per_minute=MUCH, tokens_per_minute=MUCH, concurrent_requests=MUCH, tokens_per_day=MUCH)
OF_GROUP = Limits(
    requests_per_minute=MUCH, tokens_per_minute=MUCH, concurrent_requests=MUCH, cost_per_month=Decimal(10_000_000)
)


def caller(*, narrow: bool = False, key: Limits | None = None, group: Limits | None = None, keeps: str = "") -> Caller:
    """Return who asks with a key that is held to so much; without anything it is as ``create_api_key`` makes it.

    ``narrow`` is whether key and group may only some models, collections and addresses.
    """
    narrowed: dict[str, Any] = _NARROW if narrow else {}
    policies = [Policy(subject="key:1", limits=key or Limits(), **narrowed)]
    if group is not None or narrow:
        policies.append(Policy(subject="group:team", limits=group or Limits(), **narrowed))
    return Caller(
        key_id=1,
        name="bench",
        group="team" if len(policies) > 1 else "",
        prefix="sk-moe-bbbbbb",
        policies=tuple(policies),
        keeps_texts=keeps,
    )


# --- guards -----------------------------------------------------------------------------------------------------


def guard(check: str, action: str, places: Sequence[str] = ("input", "output"), **settings: Any) -> Guard:
    return made(name=check, check=check, places=places, action=action, settings=settings)


def masking() -> tuple[Guard, ...]:
    return guard("secrets", "mask"), guard("personal", "mask", restore=True)


def every_guard() -> tuple[Guard, ...]:
    """Return a guard of each check that asks no model."""
    return (
        *masking(),
        guard("words", "refuse", words=("tombola", "Projekt Seeadler"), patterns=(r"\bT-\d{6}\b",)),
        guard("language", "log", languages=("en", "de")),
        guard("size", "refuse", ("input",), characters=1_000_000, tokens=250_000),
        guard("injection", "log", ("retrieved",)),
    )


# --- who answers ------------------------------------------------------------------------------------------------

SERVER = ServerAddress(name="instant", kind=ServerKind.OLLAMA, base_url="http://instant.invalid")
EXPERTS = ("general", "coding", "maths", "writing", "translation", "vision", "reasoning", "quick")
INSTALLED = tuple(f"llama3.{number}:8b" for number in range(30))


def catalog_of(profile: Profile) -> Catalog:
    """Return eight experts behind ``profile``, and thirty models beside them."""
    replica = Replica(server=SERVER, embedded=False, model=MODEL, concurrency=1000, parameters=8.0)
    experts = {slug: Expert(slug=slug, replicas=(replica,), price_in=0.2, price_out=0.6) for slug in EXPERTS}
    models = {tag: Expert(slug=tag, name=tag, replicas=(replica,)) for tag in INSTALLED}
    return Catalog(experts=experts, models=models, rules=(), default="general", profiles={profile.slug: profile})


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


IN_MEMORY = json.dumps({"models": [{"name": MODEL, "model": MODEL, "context_length": 131_072}]}).encode()


def instant(request: httpx.Request) -> httpx.Response:
    """Answer as an Ollama server does whose model needs no time: in few pieces, or in as many as ``tokens=N`` says."""
    if request.url.path != "/api/chat":
        return httpx.Response(200, content=IN_MEMORY)
    lines = _lines(tokens_asked(request.content))
    return httpx.Response(200, headers={"content-type": "application/x-ndjson"}, stream=_Pieces(lines))


@functools.cache
def _lines(tokens: int) -> Sequence[bytes]:
    head = {"model": MODEL, "created_at": WHEN, "done": False}
    told = [head | {"message": {"role": "assistant", "content": piece}} for piece in pieces(tokens)]
    counts = {"prompt_eval_count": 250, "eval_count": tokens, "total_duration": 1}
    end = head | counts | {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    return [json.dumps(line).encode() + b"\n" for line in [*told, end]]


# --- what is asked ----------------------------------------------------------------------------------------------

_SENTENCES = (
    "The keeper of the lighthouse writes down the weather of every morning before anybody else is awake.",
    "Most of it is wind from the west, and now and then a ship that goes by without a greeting.",
    "Would you put the last month into a few lines that a child could understand and remember?",
)
_numbers = itertools.count()


def prose(characters: int) -> str:
    """Return a text of so many characters in which no guard finds anything."""
    text = " ".join((*_SENTENCES, ""))
    return (text * (characters // len(text) + 1))[:characters]


def pieces(count: int) -> list[str]:
    """Return a text in as many pieces, each about as long as a token."""
    text = prose(count * TOKEN)
    return [text[place : place + TOKEN] for place in range(0, len(text), TOKEN)]


def fresh(text: str) -> str:
    """Return ``text`` as nobody has asked it before."""
    return f"({next(_numbers)}) {text}"


def asking(text: str, **fields: Any) -> ChatRequest:
    """Return the chat that asks ``text``."""
    return ChatRequest(model="auto", messages=(Message(role="user", parts=(Text(text=text),)),), **fields)


def chat(text: str, **fields: Any) -> bytes:
    """Return the body of a chat that asks ``text``."""
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}], **fields}).encode()
