"""Measuring the router: files of labelled prompts, who competes, and what is reported."""

import json
from dataclasses import replace

import pytest

from routing import evaluation
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Profile, Replica
from routing.classifying import Opinion
from routing.evaluation import (
    STAND_IN,
    BadExamples,
    Labelled,
    competing,
    decide_all,
    evaluate,
    labelled_lines,
    labelled_read,
    report_on,
    supposing,
)
from routing.rules import Rule

REPLICA = Replica(
    server=ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box:11434"), embedded=False, model="m"
)


class Says:
    """Stands in for the classifier: whoever the prompt begins with, as sure as its last word says."""

    def __init__(self, **opinion):
        self.warmed = 0
        self.more = opinion

    async def warm(self):
        self.warmed += 1

    async def opinion(self, text, reading):
        named, *_, sure = text.split()
        known = {named: float(sure), "math" if named == "code" else "code": 1 - float(sure)}
        return Opinion(probabilities=known, abstain=0.6, layer="quick", **self.more)


@pytest.fixture
def catalog():
    return Catalog(
        experts={
            slug: Expert(slug=slug, id=number, replicas=(REPLICA,) if slug == "code" else ())
            for number, slug in enumerate(("code", "math", "chat"))
        },
        models={"m": Expert(slug="m", replicas=(REPLICA,))},
        rules=(
            Rule(id=1, name="sums", expert="math", keywords=("sum",)),
            Rule(id=2, name="talk", expert="chat", keywords=("hello",)),
            Rule(id=3, name="brief", system_mode="append", system_text="Be brief.", stop=False),
        ),
        default="chat",
    )


def row(expert, prompt, **more):
    return Labelled(prompt=prompt, expert=expert, **more)


# Files


def written(tmp_path, content):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_are_read(tmp_path):
    path = written(
        tmp_path,
        '\ufeff{"prompt": "a", "label": "code", "lang": "de", "source": "x:1"}\n\n'
        '{"prompt": "b\u2028c", "expert": "math", "lang": null}\r\n',
    )
    assert labelled_read(path) == [
        row("code", "a", language="de", source="x:1"),
        row("math", "b\u2028c"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", '"prompt"', "null", "{}", '{"prompt": "a"}', '{"prompt": 1, "label": "code"}', "[" * 200_000),
        *('{"label": "code"}', '{"prompt": "a", "label": ["code"]}', '{"prompt": "a", "label": ""}'),
    ],
)
def test_a_bad_line_is_named(tmp_path, line):
    path = written(tmp_path, f'{{"prompt": "a", "label": "code"}}\n\n{line}\n')
    with pytest.raises(BadExamples, match=r"prompts\.jsonl, line 3: each line should be"):
        labelled_read(path)


def test_a_file_that_cannot_be_used_is_told(tmp_path):
    with pytest.raises(BadExamples, match=r"nothing\.jsonl cannot be read: No such file"):
        labelled_read(tmp_path / "nothing.jsonl")
    with pytest.raises(BadExamples, match="is not UTF-8: invalid start byte at byte 0"):
        labelled_read(written(tmp_path, b"\xff\xff"))
    with pytest.raises(BadExamples, match="holds no line"):
        labelled_read(written(tmp_path, "\n \n"))
    with pytest.raises(BadExamples, match="The upload, line 1:"):
        labelled_lines(["x"], "The upload")


# Who competes


def test_only_what_is_named_competes(catalog):
    found = competing(catalog, ["math", "code"])
    assert list(found.experts) == ["code", "math"]
    assert [rule.name for rule in found.rules] == ["sums", "brief"]
    assert found.models == {}
    assert found.default == "code"
    assert competing(catalog, ["math", "chat"]).default == "chat"


def test_everybody_can_answer(catalog):
    found = competing(catalog, ["math", "code"])
    assert found.experts["code"].replicas == (REPLICA,)
    assert found.experts["math"].replicas == (STAND_IN,)


def test_a_label_must_be_an_expert(catalog):
    with pytest.raises(BadExamples, match=r"There is no enabled expert cod, mat\. There are: code, math, chat\."):
        competing(catalog, ["mat", "code", "cod"])


def test_stand_ins_are_supposed_only_where_nobody_can_answer(catalog):
    assert supposing(catalog) == (catalog, "")
    nobody = replace(catalog, models={}, experts={"math": Expert(slug="math")})
    found, note = supposing(nobody)
    assert found.experts["math"].replicas == (STAND_IN,)
    assert note.startswith("No model server is known yet")


# The report


ROWS = [
    row("code", "code is asked 0.9", language="en", source="a"),
    row("code", "math is asked 0.55", language="de", source="a"),
    row("math", "math is asked 0.8", language="en", source="b"),
    row("math", "code sum 0.9", language="en", source="b"),
]


async def test_everything_is_reported(catalog):
    says = Says()
    report = await evaluate(ROWS, competing(catalog, ["code", "math"]), classifying=says)
    assert says.warmed == 1
    assert report["count"] == 4
    assert report["accuracy"] == 0.75
    assert report["experts"]["code"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "count": 2}
    assert report["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert report["confusion"]["counts"] == [[1, 1], [0, 2]]
    assert report["top_two"] == 1.0
    assert {name: (one["count"], one["accuracy"]) for name, one in report["stages"].items()} == {
        "classifier (quick, sure)": (2, 1.0),
        "classifier (quick, unsure)": (1, 0.0),
        "rule": (1, 1.0),
    }
    assert report["languages"]["de"]["count"] == 1
    assert (report["not_english"]["count"], report["not_english"]["accuracy"]) == (1, 0.0)
    assert report["sources"]["b"]["accuracy"] == 1.0
    assert report["coverage"] == {"decided": 0.75, "right": 1.0}
    assert report["skipped"] == {}
    json.dumps(report)


async def test_times_are_of_the_decisions(catalog):
    known = competing(catalog, ["code", "math"])
    timed = await decide_all(ROWS, known, classifying=Says())
    timed = [evaluation.Timed(one.decision, float(number)) for number, one in enumerate(timed, start=1)]
    report = report_on(ROWS, timed)
    assert (report["ms_per_decision"], report["ms_median"], report["ms_p95"]) == (2.5, 2.5, 4.0)


async def test_confidence_and_accuracy_are_set_side_by_side(catalog):
    report = await evaluate(ROWS, competing(catalog, ["code", "math"]), classifying=Says())
    assert sum(one["count"] for one in report["calibration"]["bins"]) == 4
    levels = {round(one["threshold"], 2): one for one in report["at_confidence"]}
    assert list(levels) == [round(number / 100, 2) for number in range(50, 100, 5)]
    assert (levels[0.5]["decided"], levels[0.5]["right"]) == (1.0, 0.75)
    assert (levels[0.95]["decided"], levels[0.95]["right"]) == (0.25, 1.0)  # the rule is as sure as can be


async def test_what_was_skipped_is_counted(catalog):
    says = Says(skipped=("embedder: took too long",))
    report = await evaluate(ROWS, competing(catalog, ["code", "math"]), classifying=says)
    assert report["skipped"] == {"embedder: took too long": 3}


async def test_a_classifier_that_fails_leaves_the_default(catalog):
    class Broken(Says):
        async def opinion(self, text, reading):
            raise RuntimeError("broken")

    report = await evaluate(ROWS[:2], competing(catalog, ["code"]), classifying=Broken())
    assert list(report["stages"]) == ["default"]
    assert report["skipped"] == {"classifier: RuntimeError: broken": 2}


async def test_a_language_that_is_not_told_is_recognised(catalog):
    rows = [row("code", "code should be asked why the evening sky is red when the sun goes down 0.9")]
    report = await evaluate(rows, competing(catalog, ["code"]), classifying=Says())
    assert list(report["languages"]) == ["en"]
    assert "not_english" not in report
    assert "sources" not in report


async def test_the_profile_must_be_there_and_let_somebody_answer(catalog):
    known = competing(catalog, ["code", "math"])
    with pytest.raises(BadExamples, match=r"There is no profile auto-x\. There are: auto\."):
        await decide_all(ROWS, known, classifying=Says(), profile="auto-x")
    talk = replace(known, profiles={"talk": Profile(slug="talk", experts=frozenset({"chat"}))})
    with pytest.raises(BadExamples, match=r"Profile talk lets none of code, math answer\."):
        await decide_all(ROWS, talk, classifying=Says(), profile="talk")
