"""A response is kept without what guards mask in it, and can be continued all the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.auth import keys
from gateway.guards.live import guards
from gateway.models import ApiKey, Exchange, Guard
from gateway.responses.doors import Responses
from knowledge.threads import in_thread
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Profile, Replica, catalog
from routing.pool import close_shared_pool
from tests.gateway.test_http import Connection
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "jo.miller@example.com"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A model server, and a catalog of the one expert that runs on it."""
    with ScriptedServer([ScriptedModel(name="m")]) as running:
        running.loaded["m"] = Residency(context_length=8192)
        address = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url=running.url)
        replica = Replica(server=address, embedded=False, model="m", capabilities=frozenset({"completion"}))
        expert = Expert(slug="general", replicas=(replica,))
        profiles = {"auto": Profile(slug="auto")}
        shown = Catalog(experts={"general": expert}, models={}, rules=(), default="general", profiles=profiles)
        monkeypatch.setattr(catalog, "_value", shown)
        yield running


@pytest.fixture
def text() -> str:
    """The text of a key whose texts are kept."""
    row, text = ApiKey.objects.issue(name="keeper")
    ApiKey.objects.filter(pk=row.pk).update(keeps_texts=True)
    Guard.objects.create(name="personal", check_kind="personal", places=["input"], action="mask")
    keys.forget()
    guards.forget()
    return text


async def asked(text: str, **fields: Any) -> Any:
    connection: Any = Connection(json.dumps({"model": "general"} | fields).encode())
    connection.scope["headers"] += [(b"authorization", f"Bearer {text}".encode())]
    await connection.run(Responses)
    return json.loads(connection.body)


async def test_what_is_kept_is_what_a_model_was_shown(model, text):
    model.reply(Reply(content="I write to them."))
    first = await asked(text, input=f"Write to {ADDRESS}.", instructions=f"You serve {ADDRESS}.")
    assert first["store"]
    await asked(text, input="Do it again.", previous_response_id=first["id"])
    told = json.dumps([request.json for request in model.requests_to("/api/chat")])
    rows = await in_thread(lambda: list(Exchange.objects.all()))()
    await close_shared_pool()
    assert len(rows) == 2
    kept = json.dumps([(row.request, row.answer) for row in rows])
    assert "Write to" in kept
    assert (ADDRESS in told, ADDRESS in kept) == (False, False)


async def test_what_no_model_is_shown_as_it_stands_is_masked_as_well(model, text):
    parts = [{"type": "summary_text", "text": one} for one in (f"They wrote from {ADDRESS}.", "So I answer.")]
    turns = [
        {"role": "user", "content": "Hello", "note": {"from": ADDRESS}},
        {"type": "reasoning", "summary": parts},
        {"role": "assistant", "content": "Whom to?"},
        {"role": "user", "content": [{"type": "input_text", "text": f"To {ADDRESS}.", "typed": [ADDRESS]}]},
    ]
    assert (await asked(text, input=turns))["store"]
    (row,) = await in_thread(lambda: list(Exchange.objects.all()))()
    await close_shared_pool()
    assert ADDRESS not in json.dumps([row.request, row.answer])
    _, thought, _, last = row.request["input"]
    assert [one["text"] for one in thought["summary"]] == ["They wrote from [EMAIL_1].", "So I answer."]
    assert (last["role"], last["content"][0]["text"]) == ("user", "To [EMAIL_1].")
