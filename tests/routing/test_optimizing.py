"""Compiling programs and switching them on: on a scripted model that is as good as it is told."""

import io
import json

import dspy
import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import connection

from routing import versions as classifier_versions
from routing.backends.protocol import ChatRequest, Message, Text
from routing.catalog import AUTO, catalog
from routing.evaluation import trained_classifying
from routing.management.commands import optimize_router
from routing.models import Expert, InstalledModel, ModelServer, Replica, RouteExample, RouterProgram
from routing.program.active import active
from routing.program.deciding import deciding_apart
from routing.program.measuring import outcomes_of
from routing.program.optimizing import study_now
from routing.program.plan import Plan
from routing.program.runs import COMPILING_LOCK
from routing.program.versions import program_activate
from routing.router import Router
from routing.versions import examples_read
from tests.environment import DATA_DIR
from tests.scripted import CapableModel, Reply, Residency, ScriptedServer

pytestmark = pytest.mark.django_db

EXPERTS = ("kitchen", "garden", "workshop")
DOING = (
    *("wash", "sort", "keep", "move", "mend", "hang", "count", "dry", "share", "weigh", "paint"),
    *("store", "lift", "cover", "split", "carry", "name", "rinse", "fill", "turn", "tie"),
)
THINGS = (
    *("jars", "knives", "seeds", "boxes", "ropes", "stones", "leaves", "spoons", "boards", "pots", "bags"),
    *("nets", "tins", "poles", "mats", "cups", "nails", "bulbs", "trays", "wires", "lids"),
)
# No sum of words can tell these: the expert follows from how two of them go together.
TABLE = {
    f"How do I {doing} the {thing} properly?": EXPERTS[(row + column) % 3]
    for row, doing in enumerate(DOING)
    for column, thing in enumerate(THINGS)
}
CLEAR = {
    "kitchen": "Give me a recipe for a soup of {}, with spices and a sauce",
    "garden": "When shall I water and prune the hedge beside the {} in spring",
    "workshop": "Which drill and which saw cut the plank behind the {}",
}


@pytest.fixture
def server():
    with ScriptedServer(["small:1b"], default_reply=CapableModel(table=TABLE)) as running:
        running.loaded["small:1b"] = Residency()
        yield running


@pytest.fixture
def second_connection(settings):
    found = connection.copy()
    settings.MOE_DATA_DIR = DATA_DIR / "in-process"  # where the embedded PostgreSQL is
    found.ensure_connection()
    yield found
    with found.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_all()")
    found.close()


@pytest.fixture(autouse=True)
def _installation(server, monkeypatch, settings, tmp_path):
    """Three experts on one scripted model, and examples most of which only luck would get right."""

    def none():
        raise RuntimeError("not in this test")

    settings.MOE_DATA_DIR = tmp_path
    monkeypatch.setattr(classifier_versions, "shared_embedder", none)
    monkeypatch.setattr(optimize_router, "installation_prepare", lambda say: None)
    row = ModelServer.objects.create(name="box", kind="ollama", base_url=server.url)
    InstalledModel.objects.create(server=row, name="small:1b")
    for number, slug in enumerate(EXPERTS):
        expert = Expert.objects.create(
            slug=slug, name=slug.title(), description=f"All about the {slug}.", is_default=not number, position=number
        )
        Replica.objects.create(expert=expert, server=row, model="small:1b")
    experts = {expert.slug: expert for expert in Expert.objects.all()}
    rows = [RouteExample(prompt=prompt, expert=experts[slug]) for prompt, slug in TABLE.items()]
    rows += [
        RouteExample(prompt=form.format(thing), expert=experts[slug])
        for slug, form in CLEAR.items()
        for thing in THINGS
    ]
    for one in rows:
        one.derive()
    RouteExample.objects.bulk_create(rows)


def optimize(*arguments):
    """Run the command; return the JSON of its last line and what it said before."""
    out = io.StringIO()
    call_command("optimize_router", "--json", *arguments, stdout=out)
    *said, last = out.getvalue().splitlines()
    return json.loads(last), "\n".join(said)


def asked(prompt):
    return ChatRequest(model=AUTO, messages=(Message(role="user", parts=(Text(text=prompt),)),))


def decisions(prompts):
    """Return what a router makes of ``prompts`` that reads the active program anew, as a new process does."""
    active.forget()
    active.get()
    known = catalog.reload()
    classifying = trained_classifying(examples_read())

    async def decide():
        async with deciding_apart() as deciding:
            router = Router(classifying=classifying, deciding=deciding)
            return [await router.decide(asked(prompt), known) for prompt in prompts]

    return async_to_sync(decide)()


def test_a_program_is_compiled_shown_to_help_switched_on_and_taken_back(server):
    # Without demonstrations the model is wrong in 40 % of the cases.
    server.default_reply = CapableModel(table=TABLE, errors=0.1, untaught=0.4)
    facts, _ = optimize("--optimizer", "none", "--activate")
    first = RouterProgram.objects.get(active=True)
    assert facts["demos"] == 0

    facts, said = optimize("--examples", "100", "--held-out", "100", "--activate")
    second = RouterProgram.objects.get(active=True)
    assert second.pk == facts["program"] != first.pk
    assert (second.status, second.optimizer, second.examples) == ("done", "bootstrap", 100)
    assert facts["metrics"]["training"]["score"] > 80
    assert 0 < len(second.demos) <= 6
    assert second.demos[0]["expert"] in EXPERTS
    assert "expert" in second.instructions
    # Measurably better than the classifier and than what was on, on examples it was not compiled with.
    alone, before = facts["gains"]
    assert (alone["over"], alone["count"]) == ("the classifier alone", 100)
    assert alone["interval"][0] > 0.2
    assert before["over"] == f"{first}, which is on"
    assert before["interval"][0] > 0
    assert facts["metrics"]["classifier"]["accuracy"] < 0.5 < 0.8 < facts["metrics"]["stage"]["accuracy"]
    assert "compared with the classifier alone: better" in said
    assert f"compared with {first}, which is on: better" in said
    study = study_now(catalog.get(), Plan())
    assert {one.digest for one in outcomes_of(second.metrics)} == {case.digest for case in study.held_out}
    shown = [demo["conversation"] for demo in second.demos]
    assert not [case for case in study.held_out if any(case.prompt in conversation for conversation in shown)]

    # A process that starts now asks it.
    prompts = [case.prompt for case in study.held_out[:20]]
    found = decisions(prompts)
    assert {decision.route for decision in found} == {"program"}
    assert {decision.program.version for decision in found} == {second.pk}
    assert sum(decision.expert.slug == TABLE[prompt] for prompt, decision in zip(prompts, found, strict=True)) >= 14

    # It is taken back: the first one was shown to help, before the second was shown to help more.
    call_command("optimize_router", "--activate-version", str(first.pk), stdout=io.StringIO())
    assert {decision.program.version for decision in decisions(prompts[:3])} == {first.pk}
    call_command("optimize_router", "--deactivate", stdout=io.StringIO())
    assert {decision.route for decision in decisions(prompts[:3])} == {"classifier"}


def test_a_program_that_is_worse_is_refused_unless_forced(server):
    server.default_reply = CapableModel(table=TABLE, errors=0.8)
    facts, said = optimize("--optimizer", "none", "--activate")
    program = RouterProgram.objects.get()
    assert not program.active
    assert facts["gains"][0]["interval"][0] <= 0
    assert "It was not switched on." in said
    assert "Not worth switching on." in said
    with pytest.raises(CommandError, match="--force"):
        call_command("optimize_router", "--activate-version", str(program.pk))
    program_activate(program, force=True)
    program.refresh_from_db()
    assert program.active
    assert "activated by force" in program.note


@pytest.mark.parametrize(("optimizer", "minutes"), [("mipro", "1"), ("gepa", "0.15")])
def test_instructions_are_written_by_the_teacher(server, optimizer, minutes):
    server.default_reply = CapableModel(table=TABLE, errors=0.1, untaught=0.7, advice="Name the room it is kept in.")
    facts, said = optimize("--optimizer", optimizer, "--examples", "40", "--held-out", "20", "--minutes", minutes)
    assert facts["metrics"]["training"]["score"] > 70, said
    assert facts["metrics"]["training"]["trouble"] == ""
    program = RouterProgram.objects.get()
    assert program.demos or "Name the room it is kept in." in program.instructions


def test_a_teacher_that_writes_nothing_usable_leaves_the_program_as_it_is_written(server):
    server.default_reply = CapableModel(table=TABLE, errors=0.1)
    server.reply(Reply(content="Hm."), times=None)
    server.reply(Reply(content="Hm."), times=None)
    facts, said = optimize("--optimizer", "mipro", "--examples", "12", "--held-out", "20")
    assert "The optimizer could not go on" in said
    assert facts["status"] == "done"
    assert facts["demos"] == 0


def test_compiling_ends_when_its_time_is_up_with_the_best_so_far(server):
    server.default_reply = CapableModel(table=TABLE, delay=0.05)
    facts, said = optimize("--examples", "40", "--minutes", "0.1")
    assert "Compiling was ended" in said
    assert facts["metrics"]["training"]["ended_early"]
    assert 0 < facts["metrics"]["count"] <= 100
    assert facts["metrics"]["seconds"] < 20


def test_what_comes_late_is_the_classifiers_guess(server):
    server.default_reply = CapableModel(table=TABLE, errors=0.0, delay=0.11)
    facts, _ = optimize("--optimizer", "none", "--examples", "10", "--held-out", "20", "--time-limit", "0.1")
    metrics = facts["metrics"]
    assert metrics["program"]["accuracy"] == 1.0
    assert metrics["shares"]["in_time"] == 0.0
    assert metrics["stage"]["accuracy"] == metrics["classifier"]["accuracy"]
    assert "not shown to be better" in facts["against"]


def test_what_a_model_writes_beside_the_point_is_an_abstention(server):
    server.default_reply = Reply(content="I would rather not say.")
    facts, _ = optimize("--optimizer", "none", "--examples", "10", "--held-out", "20")
    assert facts["metrics"]["shares"] == {"in_time": 1.0, "abstained": 1.0, "failed": 0.0, "accepted": 0.0}
    assert facts["gains"][0]["difference"] == 0.0


def test_nothing_is_kept_by_dspy(server):
    optimize("--optimizer", "none", "--examples", "10", "--held-out", "20")
    assert not dspy.cache.enable_disk_cache
    assert not dspy.cache.enable_memory_cache


def test_a_model_that_does_not_answer_is_said(server):
    server.close()
    with pytest.raises(CommandError, match="The model of expert kitchen does not answer"):
        optimize()
    program = RouterProgram.objects.get()
    assert program.status == "failed"
    assert "does not answer" in program.progress


def test_too_few_unsure_examples_are_said():
    RouteExample.objects.filter(prompt__startswith="How do I").delete()
    with pytest.raises(CommandError, match="add examples of what is routed wrongly"):
        optimize()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--expert", "nobody"), "There is no expert nobody that can answer. There are: kitchen"),
        (("--time-limit", "0"), "greater than or equal to 0.1"),
        (("--accept-from", "2"), "a number from 0 to 1, or auto"),
        (("--minutes", "-1"), "above zero"),
        (("--program", "12345"), "There is no program 12345"),
        (("--activate-version", "12345"), "There is no program 12345"),
    ],
)
def test_what_is_asked_wrongly_is_said(arguments, says):
    with pytest.raises(CommandError, match=says):
        optimize(*arguments)
    assert not RouterProgram.objects.filter(status="running").exists()


def test_only_one_compiles_at_a_time(second_connection):
    with second_connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [COMPILING_LOCK])
    with pytest.raises(CommandError, match="Another program is being compiled"):
        optimize()


def test_the_versions_are_listed(server):
    optimize("--optimizer", "none", "--examples", "10", "--held-out", "20", "--note", "tried out")
    out = io.StringIO()
    call_command("optimize_router", "--list", stdout=out)
    assert "none on Kitchen: +" in out.getvalue()
