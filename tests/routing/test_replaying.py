"""Decisions once more, under other settings."""

import datetime as dt
import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from routing import classifying, evaluation, versions
from routing.learning.feedback import feedback_give
from routing.management.commands import replay_decisions
from routing.models import (
    DecisionRecord,
    Expert,
    Feedback,
    ModelServer,
    Replica,
    RouteExample,
    RoutingProfile,
    RoutingRule,
)
from routing.replaying import decisions_kept
from routing.rulefile import rules_export
from routing.versions import version_train
from tests.routing.test_classifier import examples
from tests.routing.test_classifying import Embedder

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def experts(monkeypatch, tmp_path, settings):
    settings.MOE_DATA_DIR = tmp_path
    for module in (versions, evaluation, classifying):
        monkeypatch.setattr(module, "shared_embedder", Embedder)
    monkeypatch.setattr(replay_decisions, "installation_prepare", lambda say: None)
    server = ModelServer.objects.create(name="box", base_url="http://box:11434")
    rows = {}
    for slug in ("general", "writing", "translation", "code"):
        rows[slug] = Expert.objects.create(slug=slug, name=slug.title(), is_default=slug == "general")
        Replica.objects.create(expert=rows[slug], server=server, model="m")
    return rows


def decided(number, prompt, expert="general", **fields):
    values = {"created_at": timezone.now(), "asked": "auto", "route": "default", "why": {"needs": []}}
    return DecisionRecord.objects.create(id=f"dec_{number:032x}", prompt=prompt, expert=expert, **(values | fields))


def corrected(record, expert):
    return feedback_give(record=record, rating=-1, expert=expert, source=Feedback.Source.ADMIN)


def replay(*arguments):
    said = io.StringIO()
    call_command("replay_decisions", *arguments, stdout=said, stderr=io.StringIO())
    return said.getvalue()


def report(*arguments):
    return json.loads(replay("--json", *arguments).splitlines()[-1])


# What can be replayed


def test_what_its_prompt_does_not_tell_is_left_out():
    now = timezone.now()
    decided(1, "Hello", created_at=now)
    decided(2, "Older", created_at=now - dt.timedelta(days=3))
    decided(3, "", created_at=now)
    decided(4, "Named", route="explicit", asked="code")
    decided(5, "And then?", route="held")
    decided(6, "### Task: a title", route="task")
    decided(7, "What is this?", why={"needs": ["vision"]})
    decided(8, "Whatever was stored", why=[])
    past = decisions_kept()
    assert [one.prompt for one in past.decisions] == ["Whatever was stored", "Hello", "Older"]
    assert sum(past.left_out.values()) == 4
    assert past.left_out["with images or tools"] == 1
    assert [one.prompt for one in decisions_kept(limit=1).decisions] == ["Whatever was stored"]
    assert len(decisions_kept(since=now - dt.timedelta(days=1)).decisions) == 2
    assert not decisions_kept(profile="auto-fast").decisions


def test_labels_are_corrections_and_examples_and_examples_count_more(experts):
    corrected(decided(1, "One"), experts["code"])
    corrected(decided(2, "Two"), experts["code"])
    RouteExample.objects.create(prompt="two", expert=experts["writing"])
    RouteExample.objects.create(prompt="Three", expert=experts["translation"], split="evaluation")
    decided(3, "Three")
    decided(4, "Four")
    record = decided(5, "")
    corrected(record, experts["code"])
    past = decisions_kept()
    assert {one.prompt: one.label for one in past.decisions} == {
        "One": "code",
        "Two": "writing",
        "Three": "translation",
        "Four": "",
    }
    assert past.learnt == 1


# What would change


def test_other_rules_are_tried_and_nothing_is_left_behind(experts, tmp_path):
    RoutingRule.objects.create(name="Rhymes", keywords=["rhyme"], expert=experts["writing"])
    decided(1, "A rhyme", "writing", route="rule")
    corrected(decided(2, "Fix the bug"), experts["code"])
    corrected(decided(3, "Another bug"), experts["code"])
    corrected(decided(4, "Bonjour"), experts["translation"])
    file = tmp_path / "rules.yaml"
    file.write_text(rules_export().replace("rhyme", "bug").replace("expert: writing", "expert: code"))
    found = report("--classifier", "none", "--rules", str(file))
    assert (found["decisions"], found["changed"]) == (4, 3)
    moves = {(move["from"], move["to"]): move for move in found["moves"]}
    assert moves[("general", "code")]["count"] == 2
    assert (moves[("general", "code")]["right"], moves[("general", "code")]["wrong"]) == (2, 0)
    assert moves[("writing", "general")]["count"] == 1
    assert found["routes"] == {"logged": {"default": 3, "rule": 1}, "candidate": {"rule": 2, "default": 2}}
    accuracy = found["accuracy"]
    assert (accuracy["logged"]["right"], accuracy["candidate"]["right"]) == (0, 2)
    assert (accuracy["best_single"]["expert"], accuracy["best_single"]["right"]) == ("code", 2)
    assert accuracy["random"]["accuracy"] == 0.25
    assert accuracy["candidate"]["interval"][0] < 2 / 3 < accuracy["candidate"]["interval"][1]
    assert (found["labelled"], found["unlabelled"]) == (3, 1)
    assert found["paired"]["gained"] == 2
    rule = RoutingRule.objects.get()
    assert (rule.keywords, rule.expert) == (["rhyme"], experts["writing"])


def test_the_settings_as_they_are_and_a_classifier(experts):
    for row in examples():
        RouteExample.objects.create(prompt=row.prompt, expert=experts[row.expert])
    first = version_train().version
    decided(1, "Write a short poem about the rain")
    assert report("--classifier", "none")["changed"] == 0
    for chosen in (report(), report("--classifier", str(first.pk))):
        assert [(move["from"], move["to"]) for move in chosen["moves"]] == [("general", "writing")]
        assert chosen["routes"]["candidate"] == {"classifier": 1}


def test_rules_that_look_at_key_and_time_are_tried_as_they_were(experts):
    RoutingRule.objects.create(name="Legal", keys=["legal"], expert=experts["writing"])
    RoutingRule.objects.create(name="Mondays", weekdays=[0], expert=experts["code"])
    monday = timezone.now() - dt.timedelta(days=timezone.localtime().weekday())
    decided(1, "a", key_name="legal", created_at=monday)
    decided(2, "b", created_at=monday)
    decided(3, "c", created_at=monday - dt.timedelta(days=1))
    moves = {move["to"]: move["decisions"] for move in report("--classifier", "none")["moves"]}
    assert moves == {"writing": [f"dec_{1:032x}"], "code": [f"dec_{2:032x}"]}


def test_a_decision_nobody_can_take_any_more_goes_to_nobody(experts):
    decided(1, "Hello")
    RoutingProfile.objects.get(slug="auto").experts.set([experts["code"]])
    Replica.objects.filter(expert=experts["code"]).update(enabled=False)
    (move,) = report("--classifier", "none")["moves"]
    assert (move["from"], move["to"]) == ("general", "nobody")


def test_what_is_shown_to_a_person(experts):
    RoutingRule.objects.create(name="Bugs", keywords=["bug"], expert=experts["code"])
    corrected(decided(1, "Fix\n the   bug"), experts["code"])
    decided(2, "And then?", route="held")
    said = replay("--classifier", "none")
    assert "Of 1 decisions replayed, 1 would go to another expert." in said
    assert "left out: 1 in a conversation that was held" in said
    assert "general → code  (known: 1 better, 0 worse)" in said
    assert "Fix the bug" in said
    assert "100.0%  candidate" in said
    assert "25.0%  random" in said


# What is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "0"], "at least 1"),
        (["--profile", "nothing"], "There are: auto"),
        (["--classifier", "9"], "no classifier version 9"),
        (["--classifier", "x"], "no classifier version x"),
        (["--program", "9"], "no program version 9"),
        (["--rules", "missing.yaml"], "Cannot read missing.yaml"),
    ],
)
def test_what_there_is_not_is_said(arguments, words):
    decided(1, "Hello")
    with pytest.raises(CommandError, match=words):
        replay(*arguments)


def test_a_wrong_file_of_rules_is_said(tmp_path):
    decided(1, "Hello")
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{name: x, expert: nobody}]")
    with pytest.raises(CommandError, match="no expert “nobody”"):
        replay("--rules", str(file))


def test_where_no_prompt_was_kept_it_says_where_to_keep_them():
    decided(1, "")
    decided(2, "Named", route="explicit")
    with pytest.raises(CommandError, match=r"What is kept\).*1 asked for by name"):
        replay()
