"""`manage.py route` and `manage.py evaluate_routing`: what they print, when they fail, and what they leave behind."""

import json

import pytest
from django.core.management import CommandError, call_command

from routing import evaluation
from routing.catalog import catalog
from routing.classifying import active
from routing.management.commands import evaluate_routing, route
from routing.management.prepared import installation_prepare
from routing.models import ClassifierVersion, DecisionRecord, Expert, RouteExample, RuleUse

pytestmark = pytest.mark.django_db

PROMPTS = {
    "code": ["Fix this Python function: def f(x): return x +", "Why does my for loop in C never end?"],
    "translation": ["Translate into French: the cat is on the table.", "How do you say good morning in Spanish?"],
}


@pytest.fixture(autouse=True)
def _experts(monkeypatch):
    """A small installation, so that no test waits for the whole shelf."""
    for number, slug in enumerate(("general", *PROMPTS)):
        Expert.objects.create(slug=slug, name=slug.title(), is_default=not number, position=number)

    def prepare(say):
        # Read by the command's own thread: the snapshots' threads would see no rows of a test that is not committed.
        catalog.get()
        active.get()

    monkeypatch.setattr(route, "installation_prepare", prepare)
    monkeypatch.setattr(evaluate_routing, "installation_prepare", prepare)


@pytest.fixture
def _no_embedder(monkeypatch):
    """Trains and decides with the quick layer alone."""

    def none():
        raise RuntimeError("not in this test")

    monkeypatch.setattr("routing.versions.shared_embedder", none)
    monkeypatch.setattr(evaluation, "shared_embedder", none)


def run(capsys, *arguments):
    call_command(*arguments)
    return capsys.readouterr().out


def last_object(capsys, *arguments):
    return json.loads(run(capsys, *arguments).splitlines()[-1])


def prompts(tmp_path, name="prompts.jsonl", times=1, **by_label):
    path = tmp_path / name
    rows = [
        {"prompt": f"{prompt} ({number})" if number else prompt, "label": label, "lang": "en", "source": f"s{number}"}
        for number in range(times)
        for label, found in (by_label or PROMPTS).items()
        for prompt in found
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def counts():
    return [model.objects.count() for model in (RouteExample, ClassifierVersion, DecisionRecord, RuleUse)]


# route


def test_route_prints_one_object(capsys):
    found = last_object(capsys, "route", "Why is the sky blue?", "--json")
    assert (found["object"], found["expert"], found["route"]) == ("route", "general", "default")
    assert found["decision"].startswith("dec_")
    assert found["explain"]["skipped"] == ["classifier: no classifier is active"]
    assert found["note"] == "No model server is known yet; decided as if every expert had one."


def test_route_explains(capsys):
    Expert.objects.get(slug="code").rules.create(name="snakes", keywords=["python"])
    out = run(capsys, "route", "Some Python, please")
    assert "code" in out.splitlines()[0]
    assert "(rule) rule “snakes” fits: found “Python”" in out
    assert "rule + snakes: found “Python”" in out
    assert " ms  rules: “snakes”" in out
    assert counts() == [0, 0, 0, 0]


def test_route_asks_as_somebody(capsys):
    Expert.objects.get(slug="code").rules.create(name="ci", keys=["ci-*"])
    assert last_object(capsys, "route", "Hello", "--json", "--key", "ci-1")["expert"] == "code"
    assert last_object(capsys, "route", "Hello", "--json", "--key", "desk")["expert"] == "general"


def test_route_tells_what_is_wrong():
    with pytest.raises(CommandError, match="The model 'nobody' does not exist"):
        call_command("route", "Hello", "--model", "nobody")


# evaluate_routing


def test_the_last_line_is_the_report(capsys, tmp_path):
    found = last_object(capsys, "evaluate_routing", prompts(tmp_path), "--json")
    assert {"accuracy", "macro_f1", "ms_per_decision", "confusion", "stages", "languages"} <= found.keys()
    assert found["count"] == 4
    assert found["accuracy"] == 0.5  # nothing but a default: the first of those that compete
    assert found["skipped"] == {"classifier: no classifier is active": 4}


def test_the_report_can_be_read(capsys, tmp_path):
    out = run(capsys, "evaluate_routing", prompts(tmp_path))
    for expected in ("4 prompts: 50.0% right (15.0% to 85.0%)", "stages", "languages", "confusion", "skipped 4 times"):
        assert expected in out


def test_only_so_many_lines_are_used(capsys, tmp_path):
    found = last_object(capsys, "evaluate_routing", prompts(tmp_path, times=3), "--json", "--limit", "4")
    assert found["count"] == 4


@pytest.mark.parametrize(
    ("label", "arguments", "message"),
    [
        ("cod", (), "There is no enabled expert cod. There are: general, code, translation."),
        ("code", ("--profile", "auto-x"), "There is no profile auto-x."),
        ("code", ("--train", "/nowhere.jsonl"), "/nowhere.jsonl cannot be read: No such file"),
    ],
)
def test_it_tells_what_is_wrong(tmp_path, label, arguments, message):
    path = prompts(tmp_path, **{label: ["Hello"]})
    with pytest.raises(CommandError) as caught:
        call_command("evaluate_routing", path, *arguments)
    assert message in str(caught.value)


@pytest.mark.usefixtures("_no_embedder")
def test_training_leaves_nothing_behind(capsys, tmp_path, settings):
    RouteExample.objects.create(prompt="Write a regular expression.", expert=Expert.objects.get(slug="code"))
    before = counts()
    files = sorted(settings.MOE_DATA_DIR.rglob("examples-*.npz"))
    train = prompts(tmp_path, "train.jsonl", times=6)
    found = last_object(capsys, "evaluate_routing", prompts(tmp_path), "--train", train, "--json")
    assert found["accuracy"] == 1.0
    assert all(stage.startswith("classifier") for stage in found["stages"])
    assert counts() == before
    assert sorted(settings.MOE_DATA_DIR.rglob("examples-*.npz")) == files
    assert active.get().classifier is None


@pytest.mark.slow
def test_training_with_embeddings_leaves_nothing_behind(capsys, tmp_path, settings):
    files = sorted(settings.MOE_DATA_DIR.rglob("examples-*.npz"))
    train = prompts(tmp_path, "train.jsonl", times=6)
    found = last_object(capsys, "evaluate_routing", prompts(tmp_path), "--train", train, "--json")
    assert found["accuracy"] == 1.0
    assert found["skipped"] == {}
    assert counts() == [0, 0, 0, 0]
    assert sorted(settings.MOE_DATA_DIR.rglob("examples-*.npz")) == files


@pytest.mark.slow
def test_an_installation_that_was_never_started_is_made_ready(capsys, monkeypatch):
    def prepare(say):
        installation_prepare(say)
        catalog.reload()
        active.reload()

    monkeypatch.setattr(route, "installation_prepare", prepare)
    Expert.objects.all().delete()
    found = last_object(capsys, "route", "Traduis en anglais : le chat dort.", "--json")
    assert (found["expert"], found["route"]) == ("translation", "classifier")


@pytest.mark.usefixtures("_no_embedder")
def test_sources_can_be_left_out(capsys, tmp_path):
    found = last_object(capsys, "evaluate_routing", prompts(tmp_path, times=6), "--leave-out-sources", "--json")
    assert found["count"] == 24
    assert list(found["sources"]) == [f"s{number}" for number in range(6)]
    assert counts() == [0, 0, 0, 0]
