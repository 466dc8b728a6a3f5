"""What a client, and an administrator afterwards, is told of decisions, through the whole door."""

import json
import time

import httpx
import openai
import pytest

from tests.scripted import Reply

pytestmark = pytest.mark.served

CHAT, ROUTE, TEXT = "/v1/chat/completions", "/v1/route", "/v1/completions"
EXPLAIN = {"moe": {"explain": True}}
TOLD = {"decision", "expert", "route", "why", "explain"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

# Prints the records of the decisions named as arguments as soon as they are all written.
READ_RECORDS = """
import json, time
from routing.models import DecisionRecord
ids, deadline = {ids!r}, time.monotonic() + 10
while True:
    found = {{row["id"]: row for row in DecisionRecord.objects.filter(id__in=ids).values()}}
    if len(found) == len(ids) or time.monotonic() > deadline:
        break
    time.sleep(0.1)
print(json.dumps(found, default=str))
"""


def body(content="Hello", **fields):
    return {"model": "auto", "messages": [{"role": "user", "content": content}]} | fields


def chunks(response):
    lines = [line[6:] for line in response.text.split("\n\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines[:-1]]


def records(served, *ids):
    """Return what was written of decisions, by their ids."""
    found = json.loads(served.shell(READ_RECORDS.format(ids=ids)))
    assert set(found) == set(ids)
    return found


@pytest.fixture(scope="module", autouse=True)
def fish(_served_ollama):
    """A rule of our own, so that nothing here depends on the shelf's: who asks about zebrafish gets math."""
    rows = "from routing.models import Expert, RoutingRule as R;"
    fields = "name='Fish', priority=1, keywords=['zebrafish'], expert=Expert.objects.get(slug='math')"
    _served_ollama.shell(f"{rows} R.objects.create({fields})")
    http = _served_ollama.http()
    assert eventually(lambda: http.post(ROUTE, json=body("A zebrafish")).json()["route"] == "rule")
    yield
    _served_ollama.shell(f"{rows} R.objects.filter(name='Fish').delete()")


def eventually(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


class TestRoute:
    def test_tells_who_would_answer_and_why_without_an_answer(self, served_ollama, ollama):
        response = served_ollama.http().post(ROUTE, json=body("How long does a zebrafish live?"))
        told = response.json()
        assert (told["object"], told["expert"], told["route"]) == ("route", "math", "rule")
        assert told["explain"]["language"] == "en"
        assert told["replicas"][0].startswith("llama3.2:3b@")
        assert [rule["rule"] for rule in told["explain"]["rules"] if rule["applied"]] == ["Fish"]
        headers = [response.headers[f"x-moe-{name}"] for name in ("decision", "expert", "route")]
        assert headers == [told["decision"], "math", "rule"]
        assert not ollama.requests_to("/api/chat")

    def test_decides_as_a_chat_is_decided(self, served_ollama):
        for request in (body(), body(model="code"), body("My zebrafish"), body([IMAGE])):
            decided = served_ollama.http().post(ROUTE, json=request).headers
            answered = served_ollama.http().post(CHAT, json=request).headers
            for name in ("x-moe-expert", "x-moe-route"):
                assert decided[name] == answered[name]

    @pytest.mark.parametrize(
        "request_body",
        [body(model="nothing"), body(messages=[]), body(n=99), body(model="general", messages=[{"role": "x"}]), {}],
        ids=["unknown model", "no messages", "too many choices", "unknown role", "nothing"],
    )
    def test_refuses_what_a_chat_refuses(self, served_ollama, request_body):
        decided = served_ollama.http().post(ROUTE, json=request_body)
        answered = served_ollama.http().post(CHAT, json=request_body)
        assert decided.status_code == answered.status_code >= 400
        assert decided.json() == answered.json()

    def test_needs_a_key_and_a_post(self, served_ollama):
        assert httpx.post(f"{served_ollama.url}{ROUTE}", json=body()).status_code == 401
        assert served_ollama.http().get(ROUTE).status_code == 405

    def test_decides_when_every_model_server_is_dead(self, served_ollama, ollama):
        ollama.refuse()
        try:
            assert served_ollama.http().post(CHAT, json=body()).status_code == 503
            response = served_ollama.http().post(ROUTE, json=body())
        finally:
            ollama.restart()
        assert response.status_code == 200
        assert response.json()["expert"]


class TestExplaining:
    def test_in_an_answer(self, served_ollama):
        response = served_ollama.http().post(CHAT, json=body(**EXPLAIN))
        told = response.json()["moe"]
        assert set(told) == TOLD
        assert told["decision"] == response.headers["x-moe-decision"]
        assert told["expert"] == response.headers["x-moe-expert"]
        assert [stage["stage"] for stage in told["explain"]["stages"]][:2] == ["features", "filters"]

    @pytest.mark.parametrize("count", [1, 2])
    def test_in_the_first_chunk_of_a_stream_and_only_there(self, served_ollama, ollama, count):
        ollama.reply(Reply(content=["a", "b", "c"]), times=count)
        response = served_ollama.http().post(CHAT, json=body(stream=True, n=count, **EXPLAIN))
        first, *others = chunks(response)
        assert set(first["moe"]) == TOLD
        assert first["moe"]["decision"] == response.headers["x-moe-decision"]
        assert others
        assert not [chunk for chunk in others if "moe" in chunk]

    def test_in_text_completions(self, served_ollama):
        request = {"model": "auto", "prompt": "Once upon a time", **EXPLAIN}
        assert set(served_ollama.http().post(TEXT, json=request).json()["moe"]) == TOLD
        first, *others = chunks(served_ollama.http().post(TEXT, json=request | {"stream": True}))
        assert set(first["moe"]) == TOLD
        assert not [chunk for chunk in others if "moe" in chunk]

    def test_of_an_explicit_request(self, served_ollama):
        told = served_ollama.http().post(CHAT, json=body(model="code", **EXPLAIN)).json()["moe"]
        assert (told["expert"], told["route"], told["explain"]["profile"]) == ("code", "explicit", None)

    @pytest.mark.parametrize("moe", [None, {}, {"explain": False}, {"explain": None}])
    def test_only_where_it_was_asked_for(self, served_ollama, moe):
        assert "moe" not in served_ollama.http().post(CHAT, json=body(moe=moe)).json()

    def test_what_else_is_asked_of_it_is_named(self, served_ollama):
        response = served_ollama.http().post(CHAT, json=body(moe={"explain": True, "colour": "red"}))
        assert response.headers["x-moe-ignored"] == "moe.colour"


class TestProfiles:
    def test_are_models_wherever_models_are_listed(self, served_ollama):
        http = served_ollama.http()
        listed = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
        assert list(listed)[:4] == ["auto", "auto-fast", "auto-best", "auto-cheap"]
        assert {(model["object"], model["owned_by"], type(model["created"])) for model in listed.values()} == {
            ("model", "moe", int)
        }
        assert listed["auto-fast"]["name"] == "Automatic, fast"
        assert "soonest" in listed["auto-fast"]["description"]
        assert http.get("/v1/models/auto-fast").json() == listed["auto-fast"]
        native = {model["name"]: model for model in http.get("/api/tags").json()["models"]}
        assert "vision" in native["auto-fast"]["capabilities"]
        assert "soonest" in http.post("/api/show", json={"model": "auto-fast:latest"}).json()["modelfile"]

    def test_answer_at_every_door(self, served_ollama):
        http = served_ollama.http()
        told = http.post(CHAT, json=body("A zebrafish", model="auto-fast")).headers
        assert (told["x-moe-expert"], told["x-moe-route"]) == ("math", "rule")
        native = http.post("/api/chat", json=body("A zebrafish", model="auto-fast:latest", stream=False))
        assert (native.json()["model"], native.headers["x-moe-expert"]) == ("auto-fast:latest", "math")
        assert http.post(TEXT, json={"model": "auto-best", "prompt": "Once"}).status_code == 200
        refused = http.post("/v1/embeddings", json={"model": "auto-fast", "input": "a"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")

    def test_one_that_is_disabled_does_not_exist(self, served_ollama):
        http = served_ollama.http()
        change = (
            "from routing.models import RoutingProfile as P; P.objects.filter(slug='auto-cheap').update(enabled={})"
        )

        def exists(is_there):
            found = http.get("/v1/models/auto-cheap").status_code == 200
            answers = http.post(ROUTE, json=body(model="auto-cheap")).status_code == 200
            return found is answers is is_there

        assert exists(True)
        try:
            served_ollama.shell(change.format(False))
            assert eventually(lambda: exists(False))
        finally:
            served_ollama.shell(change.format(True))
        assert eventually(lambda: exists(True))


class TestRulesThatLookAtTheClient:
    RULES = """
from routing.models import Expert, RoutingRule
math = Expert.objects.get(slug="math")
RoutingRule.objects.create(name="T group", priority=1, expert=math, groups=["sales"])
RoutingRule.objects.create(name="T label", priority=1, expert=math, metadata={"team": "dev"})
RoutingRule.objects.create(name="T header", priority=1, expert=math, headers={"x-team": "dev*"})
RoutingRule.objects.create(name="T secret", priority=1, expert=math, headers={"authorization": "*"})
"""

    @pytest.fixture
    def rules(self, served_ollama):
        served_ollama.shell(self.RULES)
        yield
        served_ollama.shell(
            "from routing.models import RoutingRule as R; R.objects.filter(name__startswith='T ').delete()",
        )

    def test_its_group_its_labels_and_its_headers(self, served_ollama, rules):
        http = served_ollama.http()
        key = served_ollama.new_key("seller", "--group", "sales")

        def expert(headers=None, **fields):
            response = http.post(ROUTE, json=body(**fields), headers=headers)
            return response.json().get("expert", response.status_code)

        assert eventually(lambda: expert(metadata={"team": "dev"}) == "math")
        assert eventually(lambda: expert({"Authorization": f"Bearer {key}"}) == "math")
        assert expert({"X-Team": "Devops"}) == "math"
        assert expert(metadata={"team": "sales"}, headers={"X-Team": "sales"}) != "math", "no rule sees the key itself"
        native = http.post("/api/chat", json=body(stream=False), headers={"X-Team": "dev"})
        assert native.headers["x-moe-expert"] == "math"
        text = http.post(TEXT, json={"model": "auto", "prompt": "Once", "metadata": {"team": "dev"}})
        assert (text.headers["x-moe-expert"], text.headers.get("x-moe-ignored")) == ("math", None)

    @pytest.mark.parametrize(
        "metadata", [{"n": 1}, {"a": None}, {str(n): "x" for n in range(17)}, {"a": "x" * 513}, {"a" * 65: "x"}, ["a"]]
    )
    def test_labels_are_texts_and_few(self, served_ollama, metadata):
        response = served_ollama.http().post(CHAT, json=body(metadata=metadata))
        assert (response.status_code, response.json()["error"]["param"]) == (400, "metadata")


class TestWhatIsKept:
    def test_of_answers_failures_and_departures(self, served_ollama, ollama):
        http = served_ollama.http()
        ids = {}
        answered = http.post(CHAT, json=body("The zebrafish is striped"), headers={"X-Request-ID": "mine"})
        ids["answered"] = answered.headers["x-moe-decision"]
        ids["asked for"] = http.post(CHAT, json=body(model="code")).headers["x-moe-decision"]
        ids["text"] = http.post(TEXT, json={"model": "auto", "prompt": "Once"}).headers["x-moe-decision"]
        ids["not run"] = http.post(ROUTE, json=body()).json()["decision"]
        ollama.reply(Reply(content=["a", "b"], error_after=1, error="CUDA error"))
        with pytest.raises(openai.APIError):
            raw = served_ollama.client().chat.completions.with_raw_response.create(**body(stream=True))
            ids["failed"] = raw.headers["x-moe-decision"]
            list(raw.parse())
        ollama.reply(Reply(content=["a"] * 400, delay=0.05))
        with http.stream("POST", CHAT, json=body(stream=True)) as response:
            ids["left"] = response.headers["x-moe-decision"]
            next(response.iter_raw())
        found = records(served_ollama, *ids.values())
        rows = {what: found[identity] for what, identity in ids.items()}
        first = rows["answered"]
        assert (first["asked"], first["expert"], first["route"]) == ("auto", "math", "rule")
        assert (first["outcome"], first["confidence"]) == ("stop", None)
        assert first["replica"] == answered.headers["x-moe-replica"]
        assert (first["request_id"], first["language"], first["answered_by"]) == ("mine", "en", "")
        assert first["key_name"]
        assert 0 < first["milliseconds"] < 1000
        assert first["why"]["profile"] == "auto"
        assert first["why"]["hops"] == []
        assert {what: row["outcome"] for what, row in rows.items()} == {
            "answered": "stop",
            "asked for": "stop",
            "text": "stop",
            "not run": "not run",
            "failed": "upstream_error",
            "left": "cancelled",
        }
        assert (rows["asked for"]["route"], rows["asked for"]["asked"]) == ("explicit", "code")
        assert {row["prompt"] for row in rows.values()} == {""}

    def test_prompts_only_where_the_profile_says_so_and_a_share_of_decisions(self, served_ollama):
        http = served_ollama.http()
        change = "from routing.models import RoutingProfile as P; P.objects.filter(slug='auto-fast').update({})"

        def prompt(asked):
            decision = http.post(ROUTE, json=asked).json()["decision"]
            return records(served_ollama, decision)[decision]["prompt"]

        served_ollama.shell(change.format("log_prompts=True"))
        try:
            assert eventually(lambda: prompt(body("Keep me", model="auto-fast")) == "Keep me", 20)
            assert prompt(body("Not me")) == ""
        finally:
            served_ollama.shell(change.format("log_prompts=False"))

    def test_which_rules_had_their_way(self, served_ollama):
        told = served_ollama.http().post(ROUTE, json=body("Two zebrafish")).json()
        assert told["route"] == "rule"
        code = """
import time
from routing.models import RuleUse
used, deadline = RuleUse.objects.filter(rule__name="Fish", hits__gt=0), time.monotonic() + 10
while not used.exists() and time.monotonic() < deadline:
    time.sleep(0.1)
print(used.get().hits)
"""
        assert int(served_ollama.shell(code).split()[-1]) >= 1
