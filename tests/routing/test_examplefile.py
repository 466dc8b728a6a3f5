"""Examples as JSON lines: what a file would change, what it changes, and what is wrong with it."""

import json
import time

import pytest

from routing.examplefile import ChangedExample, UnknownExpert, examples_export, examples_import
from routing.models import Expert, RouteExample
from tests.meanwhile import meanwhile

pytestmark = pytest.mark.django_db


@pytest.fixture
def experts():
    return {slug: Expert.objects.create(slug=slug, name=slug.title()) for slug in ("code", "math")}


def lines(*entries):
    return "\n".join(json.dumps(entry) for entry in entries)


def taken(*entries, **options):
    return examples_import(lines(*entries), **({"apply": True} | options))


def stored():
    return dict(RouteExample.objects.values_list("prompt", "expert__slug"))


def test_lines_become_examples(experts, django_user_model):
    user = django_user_model.objects.create_user("editor")
    report = taken({"prompt": "Fix this.", "expert": "code"}, {"prompt": " 1+1? ", "label": "math"}, user=user)
    assert (report.new, report.changed, report.unchanged, report.applied) == (2, (), 0, True)
    assert str(report) == "2 new, 0 changed, 0 unchanged"
    assert stored() == {"Fix this.": "code", "1+1?": "math"}
    example = RouteExample.objects.get(prompt="Fix this.")
    assert (example.source, example.split, example.enabled, example.created_by) == ("imported", "training", True, user)
    again = RouteExample(prompt="FIX  this.", expert=experts["math"])
    again.derive()
    assert again.digest == example.digest


def test_it_can_be_seen_before_it_is_done(experts):
    taken({"prompt": "a", "expert": "code"}, {"prompt": "b", "expert": "code"})
    entries = (
        {"prompt": "A", "expert": "code"},
        {"prompt": "B", "expert": "math"},
        {"prompt": "c", "expert": "math"},
        {"prompt": "d", "expert": "nobody"},
    )
    seen = taken(*entries, apply=False)
    assert (seen.new, seen.unchanged, seen.applied) == (1, 1, False)
    assert seen.changed == (ChangedExample(line=2, prompt="b", before="code", after="math"),)
    assert seen.unknown == (UnknownExpert(line=4, expert="nobody"),)
    assert stored() == {"a": "code", "b": "code"}
    done = taken(*entries)
    assert (done.new, done.changed, done.unchanged, done.unknown) == (
        seen.new,
        seen.changed,
        seen.unchanged,
        seen.unknown,
    )
    assert stored() == {"a": "code", "b": "math", "c": "math"}
    assert taken(*entries).unchanged == 3


def test_what_a_line_does_not_say_stays_as_it_is(experts, django_user_model):
    owner, other = (django_user_model.objects.create_user(name) for name in ("owner", "other"))
    taken({"prompt": "a", "expert": "code", "use": "evaluation", "enabled": False, "note": "n"}, user=owner)
    assert taken({"prompt": "a", "expert": "code"}, user=other).unchanged == 1
    assert len(taken({"prompt": "a", "expert": "math"}, user=other).changed) == 1
    example = RouteExample.objects.get()
    assert (example.expert, example.split, example.enabled, example.note) == (experts["math"], "evaluation", False, "n")
    assert example.created_by == owner
    assert len(taken({"prompt": "a", "expert": "math", "enabled": True}).changed) == 1
    assert RouteExample.objects.get().enabled is True


def test_new_ones_may_all_be_for_evaluation(experts):
    taken({"prompt": "a", "expert": "code"}, {"prompt": "b", "expert": "code", "use": "training"}, split="evaluation")
    assert set(RouteExample.objects.values_list("prompt", "split")) == {("a", "evaluation"), ("b", "training")}


def test_an_export_is_read_back_as_it_was(experts):
    prompts = ["plain", 'quotes "and" \\ backslashes', "two\nlines\r\nand \u2028 one", "没有 😀", "x" * 50_000]
    for number, prompt in enumerate(prompts):
        RouteExample.objects.create(
            prompt=prompt,
            expert=experts["math"],
            split="evaluation" if number % 2 else "training",
            enabled=number != 2,
            note="why" if number == 3 else "",
        )
    columns = ("prompt", "expert", "split", "enabled", "note", "digest")
    before = list(RouteExample.objects.order_by("pk").values(*columns))
    text = "".join(examples_export(RouteExample.objects.all()))
    assert json.loads(text.split("\n")[0]) == {"prompt": "plain", "expert": "math"}
    assert examples_import(text, apply=False).unchanged == 5
    RouteExample.objects.all().delete()
    assert examples_import(text, apply=True).new == 5
    assert list(RouteExample.objects.order_by("pk").values(*columns)) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "Line 2: this is no JSON"),
        ("[" * 100_000, "Line 2: this is no JSON"),
        ("[1]", "Line 2: this is no object"),
        ('{"expert": "code"}', 'Line 2: "prompt" is missing.'),
        ('{"prompt": 1, "expert": "code"}', 'Line 2: "prompt" must be a text.'),
        ('{"prompt": " ", "expert": "code"}', "Line 2: the prompt is empty."),
        ('{"prompt": "a"}', 'Line 2: "expert" is missing.'),
        ('{"prompt": "a", "expert": ["code"]}', 'Line 2: "expert" must be a text.'),
        ('{"prompt": "a\\u0000", "expert": "code"}', "null character"),
        ('{"prompt": "a\\ud800", "expert": "code"}', "surrogate"),
        ('{"prompt": "a", "expert": "code", "use": ["x"]}', '"use" must be training or evaluation.'),
        ('{"prompt": "a", "expert": "code", "enabled": 1}', '"enabled" must be true or false.'),
        ('{"prompt": "FIRST", "expert": "math"}', "Line 2: the prompt of line 1 again, for another expert."),
    ],
)
def test_what_is_wrong_is_told_by_line_and_nothing_is_changed(experts, line, words):
    text = f'{{"prompt": "first", "expert": "code"}}\n{line}\n'
    for apply in (False, True):
        report = examples_import(text, apply=apply)
        assert len(report.errors) == 1
        assert words in report.errors[0]
        assert report.applied is False
    assert not RouteExample.objects.exists()


def test_empty_lines_repeated_lines_and_a_mark_at_the_start_do_no_harm(experts):
    line = '{"prompt": "a", "expert": "code", "source": "elsewhere", "lang": "en"}'
    assert examples_import(f"\ufeff{line}\r\n\r\n  \n{line}\n", apply=True).new == 1
    assert examples_import("", apply=True).new == 0


def test_a_file_that_is_too_large_is_refused(experts):
    report = examples_import("é" * 10_000_001, apply=True)
    assert report.errors == ("The file is larger than 20 MB. Split it.",)


def test_thousands_of_lines_take_seconds(experts):
    def text(slug):
        return lines(*({"prompt": f"prompt {n} " + "x" * 500, "expert": slug} for n in range(5000)))

    start = time.perf_counter()
    assert examples_import(text("code"), apply=True).new == 5000
    assert len(examples_import(text("math"), apply=True).changed) == 5000
    assert time.perf_counter() - start < 10
    assert RouteExample.objects.filter(expert=experts["math"]).count() == 5000


@pytest.mark.django_db(transaction=True)
def test_what_somebody_corrects_at_the_same_time_is_no_new_example(experts):
    taken({"prompt": "Fix this.", "expert": "code", "note": "Asked in March."})
    with meanwhile(lambda: RouteExample.objects.correct("Fix this.", experts["math"])):
        report = taken({"prompt": "Fix this.", "expert": "code"})
    assert (report.new, [(one.before, one.after) for one in report.changed]) == (0, [("math", "code")])
    assert RouteExample.objects.get().note == "Asked in March."
