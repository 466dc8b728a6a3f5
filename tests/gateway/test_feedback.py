"""What clients say of decisions, through the door."""

import asyncio
import json
import time

import httpx
import pytest
from channels.db import database_sync_to_async
from django.utils import timezone

from gateway import feedback
from gateway.auth import Caller, keys
from gateway.feedback import LONGEST_COMMENT, DecisionNotFound, FeedbackDoor, decision_found, parse_feedback
from gateway.guards.guard import Guards, made
from gateway.guards.live import guards
from routing.exceptions import BadRequest
from routing.journal import journal
from routing.models import DecisionRecord, Feedback
from tests.gateway.test_http import Connection

FEEDBACK, ROUTE, CHAT = "/v1/feedback", "/v1/route", "/v1/chat/completions"
ID = f"dec_{'0' * 32}"


def body(content="Hello", **fields):
    return {"model": "auto", "messages": [{"role": "user", "content": content}]} | fields


def parsed(**fields):
    return parse_feedback(json.dumps({"decision": ID, "rating": 1} | fields).encode())


# What is read


@pytest.mark.parametrize(
    ("rating", "kept"), [(1, 1), (-1, -1), (0, 0), (0.5, 1), (-0.01, -1), (0.0, 0), (1.0, 1), (-1.0, -1)]
)
def test_a_rating_counts_by_its_sign(rating, kept):
    assert parsed(rating=rating).rating == kept


def test_what_is_left_out_or_null_is_empty():
    said = parsed(expert=None, comment=None, prompt=None)
    assert (said.expert, said.comment, said.prompt) == (None, "", "")


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"decision": None}, "decision", "X-MoE-Decision"),
        ({"decision": 7}, "decision", "a text"),
        ({"rating": None}, "rating", "from -1"),
        ({"rating": "good"}, "rating", "a number from -1 to 1"),
        ({"rating": True}, "rating", "a number"),
        ({"rating": 2}, "rating", "a number"),
        ({"rating": float("nan")}, "rating", "a number"),
        ({"expert": 3}, "expert", "a text"),
        ({"comment": ["x"]}, "comment", "a text"),
        ({"comment": "x" * (LONGEST_COMMENT + 1)}, "comment", "4,000 are the most"),
        ({"prompt": "x" * 20_001}, "prompt", "20,000 are the most"),
        ({"comment": "\0"}, "comment", "NUL"),
        ({"score": 1}, "score", "There are: decision, rating, expert, comment, prompt"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, param, words):
    with pytest.raises(BadRequest, match=words) as caught:
        parsed(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"null", b'"x"'])
def test_a_body_is_an_object(text):
    with pytest.raises(BadRequest):
        parse_feedback(text)


# Whose decision it is


def record(**fields):
    values = {
        "created_at": timezone.now(),
        "asked": "auto",
        "expert": "code",
        "route": "rule",
        "key_name": "web",
        "key_id": 7,
    }
    return DecisionRecord(id=ID, **(values | fields))


@pytest.mark.django_db(transaction=True)
class TestFinding:
    async def test_what_waits_in_this_process_is_written_first(self):
        journal.note(record())
        assert (await decision_found(ID, Caller(key_id=7, name="web"))).expert == "code"

    async def test_what_another_process_writes_in_a_moment_is_waited_for(self):
        looking = asyncio.create_task(decision_found(ID, Caller(key_id=7, name="web")))
        await asyncio.sleep(0.4)
        assert not looking.done()
        await database_sync_to_async(record().save, thread_sensitive=False)(force_insert=True)
        assert (await looking).expert == "code"

    async def test_what_is_of_another_key_is_not_found(self, monkeypatch):
        monkeypatch.setattr(feedback, "WAIT_SECONDS", 0.0)
        await database_sync_to_async(record().save, thread_sensitive=False)(force_insert=True)
        with pytest.raises(DecisionNotFound):
            await decision_found(ID, Caller(key_id=8, name="web"))

    async def test_what_is_no_id_is_not_waited_for(self):
        with pytest.raises(DecisionNotFound):
            async with asyncio.timeout(0.5):
                await decision_found("dec_nothing", Caller(key_id=7, name="web"))


@pytest.mark.django_db(transaction=True)
async def test_what_guards_mask_is_not_kept(monkeypatch, settings):
    settings.REQUIRE_API_KEY = False
    masking = made(name="house", check="personal", places=["input"], action="mask", settings={})
    monkeypatch.setattr(guards, "_value", Guards.of([masking]))
    monkeypatch.setattr(keys, "_value", {})
    await database_sync_to_async(record(key_id=None).save, thread_sensitive=False)(force_insert=True)
    said = {"decision": ID, "rating": -1, "comment": "Ask jo@shop.example", "prompt": "I am jo@shop.example."}
    connection = Connection(json.dumps(said).encode())
    await connection.run(FeedbackDoor)
    assert connection.sent[0]["status"] == 200, connection.body
    row = await database_sync_to_async(Feedback.objects.get, thread_sensitive=False)()
    assert (row.comment, row.prompt) == ("Ask [EMAIL_1]", "I am [EMAIL_1].")
    assert (b"X-MoE-Guards", b"house=masked(2)") in connection.sent[0]["headers"]


# Through the whole door


@pytest.mark.served
class TestServed:
    def test_it_is_taken_at_once_after_an_answer(self, served_ollama):
        http = served_ollama.http()
        answered = http.post(CHAT, json=body())
        decision, expert = (answered.headers[f"x-moe-{name}"] for name in ("decision", "expert"))
        response = http.post(FEEDBACK, json={"decision": decision, "rating": 1, "comment": "Good"})
        told = response.json()
        assert response.status_code == 200
        assert told.pop("id").startswith("fb_")
        assert told == {
            "object": "feedback",
            "decision": decision,
            "rating": 1,
            "answered_by": expert,
            "expert": None,
            "comment": "Good",
            "learnable": False,
        }

    def test_a_correction_can_be_learnt_from_with_the_senders_text_and_replaces_what_was_said(self, served_ollama):
        http = served_ollama.http()
        route = http.post(ROUTE, json=body("Good morning")).json()
        other = "math" if route["expert"] != "math" else "code"
        said = {"decision": route["decision"], "rating": -1, "expert": other}
        first = http.post(FEEDBACK, json=said).json()
        assert (first["expert"], first["learnable"]) == (other, False)
        again = http.post(FEEDBACK, json=said | {"prompt": "Good morning"}).json()
        assert (again["id"], again["learnable"]) == (first["id"], True)
        same = http.post(FEEDBACK, json=said | {"prompt": "Good morning", "expert": route["expert"]}).json()
        assert (same["id"], same["learnable"]) == (first["id"], False)

    def test_a_kept_prompt_is_learnt_from(self, served_ollama):
        change = "from routing.models import RoutingProfile as P; P.objects.filter(slug='auto-fast').update({})"
        http = served_ollama.http()

        def learnable():
            route = http.post(ROUTE, json=body("Hello there, keep me", model="auto-fast")).json()
            other = "math" if route["expert"] != "math" else "code"
            said = {"decision": route["decision"], "rating": -1, "expert": other}
            return http.post(FEEDBACK, json=said).json()["learnable"]

        assert not learnable()
        served_ollama.shell(change.format("log_prompts=True"))
        try:
            deadline = time.monotonic() + 20
            while not learnable():
                assert time.monotonic() < deadline
        finally:
            served_ollama.shell(change.format("log_prompts=False"))

    def test_an_unknown_expert_is_told_with_those_there_are(self, served_ollama):
        http = served_ollama.http()
        decision = http.post(ROUTE, json=body()).json()["decision"]
        response = http.post(FEEDBACK, json={"decision": decision, "rating": -1, "expert": "plumbing"})
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (400, "expert", "invalid_value")
        assert "general" in error["message"]

    def test_a_key_speaks_of_its_own_decisions(self, served_ollama):
        decision = served_ollama.http().post(ROUTE, json=body()).json()["decision"]
        other = served_ollama.new_key("stranger")
        said = {"decision": decision, "rating": 1}
        headers = {"Authorization": f"Bearer {other}"}
        for named in (decision, ID, "dec_1", "x" * 5000):
            response = httpx.post(f"{served_ollama.url}{FEEDBACK}", json=said | {"decision": named}, headers=headers)
            error = response.json()["error"]
            assert (response.status_code, error["code"], error["param"]) == (404, "decision_not_found", "decision")
            assert "may not have been kept" in error["message"]
            assert "30 days" in error["message"]
        assert served_ollama.http().post(FEEDBACK, json=said).status_code == 200

    def test_needs_a_key_and_a_post(self, served_ollama):
        said = {"decision": ID, "rating": 1}
        assert httpx.post(f"{served_ollama.url}{FEEDBACK}", json=said).status_code == 401
        assert served_ollama.http().get(FEEDBACK).status_code == 405


# Prints the proposal of the expert that the first argument names once it is there, and accepts it.
ACCEPT = """
import json, time
from django.contrib.auth.models import User
from routing.learning.proposing import proposal_accept
from routing.models import Proposal
found, deadline = Proposal.objects.filter(expert__slug={expert!r}), time.monotonic() + 60
while not found.exists() and time.monotonic() < deadline:
    time.sleep(0.2)
row = found.get()
row = proposal_accept(row, user=User.objects.first(), signature=row.signature)
told = {{name: getattr(row, name) for name in ("kind", "summary", "effect", "before", "after")}}
print(json.dumps(told))
"""
FORGET = """
from routing.models import Feedback, Proposal, RoutingRule
Feedback.objects.all().delete()
Proposal.objects.all().delete()
RoutingRule.objects.filter(name__startswith="Corrections").delete()
"""


@pytest.mark.served
def test_ten_corrections_become_a_proposal_by_themselves_and_accepted_it_routes(served_ollama):
    http = served_ollama.http()

    def routed(text):
        return http.post(ROUTE, json=body(text)).json()

    prompts = [
        f"Where does the narwhal {does}?" for does in ("swim", "sleep", "live", "eat", "go", "hide", "dive", "end")
    ]
    prompts += ["Where is a narwhal born?", "Where can I see a narwhal?"]
    first = routed("Where is the narwhal?")
    expert = "math" if first["expert"] != "math" else "code"
    try:
        for prompt in prompts:
            said = {"decision": routed(prompt)["decision"], "rating": -1, "expert": expert, "prompt": prompt}
            assert http.post(FEEDBACK, json=said).json()["learnable"]
        told = json.loads(served_ollama.shell(ACCEPT.format(expert=expert)))
        assert told["kind"] == "rule"
        assert "narwhal" in told["summary"]
        assert told["after"]["parts"]["own"]["right"] == 10 > told["before"]["parts"]["own"]["right"]
        deadline = time.monotonic() + 5
        while (then := routed("Where is the narwhal?"))["route"] != "rule" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (then["expert"], then["route"]) == (expert, "rule")
    finally:
        served_ollama.shell(FORGET)
