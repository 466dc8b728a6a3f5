"""The admin's page that measures the router, in process, and the plots it draws."""

import html
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile

from routing import evaluation
from routing.admin import evaluating, plots
from routing.classifier import measures
from routing.classifying import Opinion
from routing.models import ClassifierVersion, DecisionRecord, Expert, RouteExample, RoutingProfile, RoutingRule, RuleUse

pytestmark = pytest.mark.django_db

PAGE = "/admin/routing/classifierversion/evaluate/"
TRUTH = ["code", "code", "math", "math"]
CHOSEN = ["code", "math", "math", "math"]
RIGHT = [one == other for one, other in zip(TRUTH, CHOSEN, strict=True)]
SURE = [0.9, 0.55, 0.95, 0.7]
METRICS = {
    "count": 4,
    **measures.scores(TRUTH, CHOSEN),
    "languages": measures.by(["en", "en", "de", "de"], TRUTH, CHOSEN),
    "calibration": measures.calibration(SURE, RIGHT),
    "coverage": measures.coverage(SURE, RIGHT, 0.6),
}


class Says:
    """Stands in for the classifier: whoever the prompt names, as sure as the number in it says."""

    async def warm(self):
        pass

    async def opinion(self, text, reading):
        named = next((slug for slug in ("code", "math", "chat") if slug in text), "chat")
        sure = int((re.findall(r"\d+", text) or ["80"])[0]) / 100
        other = "math" if named == "code" else "code"
        return Opinion(
            probabilities={named: sure, other: 1 - sure}, abstain=0.6, layer="quick", remembered="again" in text
        )


@pytest.fixture(autouse=True)
def _says(monkeypatch):
    monkeypatch.setattr(evaluation, "shared_classifying", Says)


@pytest.fixture(autouse=True)
def experts():
    return {slug: Expert.objects.create(slug=slug, name=slug.title()) for slug in ("code", "math", "chat")}


def version(active=False, metrics=METRICS, weights=b"weights"):
    return ClassifierVersion.objects.create(
        experts=["code", "math"], examples=4, metrics=metrics, weights=weights, active=active
    )


def words_of(response):
    page = re.sub(r"(?s)<(style|script).*?</\1>", " ", response.content.decode())
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def upload(*lines, content=None):
    if content is None:
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return SimpleUploadedFile("prompts.jsonl", content)


def post(client, *lines, content=None, **fields):
    return client.post(
        PAGE, {"of": "file", "profile": "auto", "file": upload(*lines, content=content)} | fields, follow=True
    )


def labelled(label, prompt, **more):
    return {"prompt": prompt, "label": label} | more


ROWS = [
    labelled("code", "code 90", lang="en"),
    labelled("code", "code 85", lang="de"),
    labelled("code", "math 55 <b>bold</b>", lang="de"),
    labelled("math", "math 95", lang="en"),
    labelled("math", "math 75", lang="en"),
]


def signed_in(client, *permissions):
    user = User.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


# A file


def test_a_file_is_measured(admin_client):
    response = post(admin_client, *ROWS)
    found = response.context["measurement"]
    numbers = dict(found.numbers)
    assert numbers["Prompts"] == "5"
    assert numbers["Accuracy"] == "80.0%"
    assert numbers["95 % interval"] == "37.6% to 96.4%"
    assert numbers["Macro F1"] == "0.800"
    assert (numbers["Surely decided"], numbers["Right of those"]) == ("80.0%", "100.0%")
    assert numbers["Accuracy in other languages than English"] == "50.0% of 2"
    assert numbers["Within the top two"] == "100.0%"
    assert numbers["A decision takes, on average"].endswith(" ms")
    assert [table["title"] for table in found.tables] == ["By stage", "By language", "By expert"]
    words = words_of(response)
    for expected in ("classifier (quick, sure) 4 100.0%", "classifier (quick, unsure) 1 0.0%", "de 2 50.0%"):
        assert expected in words
    assert "code 3 100.0% 66.7% 0.800" in words


def test_what_went_wrong_is_listed_and_can_be_tried(admin_client):
    response = post(admin_client, *ROWS, profile="auto-best")
    (wrong,) = response.context["measurement"].wrong
    assert (wrong.start, wrong.expected, wrong.chosen, wrong.confidence) == (
        "math 55 <b>bold</b>",
        "code",
        "math",
        "55%",
    )
    page = response.content.decode()
    assert "<b>bold" not in page
    link = html.unescape(re.search(r'<a href="([^"]+)">Try</a>', page)[1])
    form = admin_client.get(link).context["form"]
    assert (form["prompt"].value(), form["profile"].value()) == ("math 55 <b>bold</b>", "auto-best")


def test_a_long_prompt_is_cut(admin_client):
    rows = [labelled("code", f"math {'ü' * (3000 + number)}") for number in range(60)]
    found = post(admin_client, *rows, labelled("math", "math 80")).context["measurement"]
    assert (len(found.wrong), found.more_wrong) == (50, 10)
    assert len(found.wrong[0].start) == 120
    assert len(parse_qs(urlsplit(found.wrong[0].link).query)["prompt"][0]) == 1500


def test_the_confusion_is_a_heat_map(admin_client):
    response = post(admin_client, *ROWS)
    rows = dict(response.context["measurement"].confusion)
    assert [(cell.count, cell.heat, cell.is_right) for cell in rows["code"]] == [(2, 67, True), (1, 33, False)]
    assert "color-mix(in srgb, var(--error-fg) 33%, transparent)" in response.content.decode()


def test_there_are_two_plots(admin_client):
    response = post(admin_client, *ROWS)
    assert response.content.decode().count("<svg viewBox") == 2
    assert "How often it is right, by how sure it says it is: 1 at 55%, 0% right;" in response.content.decode()


def test_rules_decide_too(admin_client, experts):
    RoutingRule.objects.create(name="digits", expert=experts["math"], pattern="[0-9]")
    found = post(admin_client, *ROWS).context["measurement"]
    assert dict(found.numbers)["Accuracy"] == "40.0%"
    assert {one.confidence for one in found.wrong} == {"rule"}


def test_nothing_is_stored_or_counted(admin_client, experts):
    RoutingRule.objects.create(name="digits", expert=experts["math"], pattern="[0-9]")
    post(admin_client, *ROWS)
    for model in (RuleUse, DecisionRecord, RouteExample, ClassifierVersion):
        assert not model.objects.exists()


def test_what_flatters_or_hinders_is_told(admin_client, experts):
    RouteExample.objects.create(prompt="CODE  90", expert=experts["code"])
    words = words_of(post(admin_client, *ROWS, labelled("math", "math again")))
    assert "The classifier remembered 1 of the prompts" in words
    assert "1 of the prompts is an example that the classifier may have learnt from" in words
    assert "No classifier decided: no classifier is active." in words


def test_half_a_character_does_no_harm(admin_client):
    line = b'{"prompt": "math \\ud800", "label": "code"}\n{"prompt": "math", "label": "math"}'
    found = post(admin_client, content=b"\xef\xbb\xbf" + line).context["measurement"]
    assert found.wrong[0].start == "math ?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The submitted file is empty."),
        (b"\n\n", "The file holds no line."),
        (b'{"prompt": "a", "label": "code"}\r\n\r\n{"prompt": "a"}', "The file, line 3: each line should be"),
        (b'{"prompt": 1, "label": "code"}', "The file, line 1: each line should be"),
        (b"[" * 200_000, "The file, line 1: each line should be"),
        (b'{"prompt": "a", "label": "cod"}', "There is no enabled expert cod. There are: "),
        (b'{"prompt": "a", "label": "\\ud800"}', "There is no enabled expert ?."),
        (b"\xff\xfe", "This is no text in UTF-8."),
    ],
)
def test_a_bad_file_is_told(admin_client, content, message):
    response = post(admin_client, content=content)
    assert response.status_code == 200
    assert message in words_of(response)
    assert "measurement" not in response.context


def test_a_file_must_be_chosen_and_not_too_large(admin_client, monkeypatch):
    words = words_of(admin_client.post(PAGE, {"of": "file", "profile": "auto"}))
    assert "Choose a file with at least one line." in words
    monkeypatch.setattr(evaluating, "MOST_LINES", 4)
    assert "The file has 5 lines; 4 are measured at most. Split it." in words_of(post(admin_client, *ROWS))
    monkeypatch.setattr(evaluating, "MAX_BYTES", 100)
    assert "The file is larger than 0 MB. Split it." in words_of(post(admin_client, *ROWS))


def test_a_profile_must_let_somebody_answer(admin_client, experts):
    profile = RoutingProfile.objects.create(slug="talk", name="Talk")
    profile.experts.add(experts["chat"])
    words = words_of(post(admin_client, *ROWS, profile="talk"))
    assert "Profile talk lets none of code, math answer. Use another profile." in words
    assert "Select a valid choice" in words_of(post(admin_client, *ROWS, profile="none"))


# The examples kept for it


def test_the_kept_examples_are_measured(admin_client, experts):
    for prompt, expert, fields in (
        ("code 90", "code", {"split": "evaluation"}),
        ("math 90", "code", {"split": "evaluation"}),
        ("chat 90", "chat", {"split": "evaluation", "enabled": False}),
        ("math 91", "math", {}),
    ):
        RouteExample.objects.create(prompt=prompt, expert=experts[expert], **fields)
    RouteExample.objects.create(prompt="math 92", expert=experts["math"], split="evaluation")
    page = admin_client.get(PAGE)
    assert "the 3 examples kept for evaluation" in words_of(page)
    assert page.context["form"]["of"].value() == "kept"
    found = admin_client.post(PAGE, {"of": "kept", "profile": "auto"}).context["measurement"]
    assert dict(found.numbers)["Accuracy"] == "66.7%"
    assert [table["title"] for table in found.tables][-1] == "By source"


def test_without_any_it_says_how_to_keep_some(admin_client):
    assert admin_client.get(PAGE).context["form"]["of"].value() == "file"
    words = words_of(admin_client.post(PAGE, {"of": "kept", "profile": "auto"}))
    assert "No example is kept for evaluation. Choose some in the list of examples" in words


# The versions


def test_the_active_version_shows_what_it_is_worth(admin_client):
    older, now = version(metrics=METRICS | {"accuracy": 0.5}), version(active=True)
    response = admin_client.get(PAGE)
    page = response.content.decode()
    assert page.count("<svg viewBox") == 3
    words = words_of(response)
    assert f"Classifier {now.pk}, the active one" in words
    assert "from 60%" in words
    assert f"Accuracy by version: version {older.pk}: 50.0%; version {now.pk}: 75.0%, active." in page
    assert 'class="strong"' in page


@pytest.mark.parametrize("metrics", [{}, [], None, {"calibration": 1, "coverage": [], "accuracy": "?"}])
def test_metrics_of_any_shape_do_no_harm(admin_client, metrics):
    version(active=True, metrics={} if metrics is None else metrics)
    response = admin_client.get(PAGE)
    assert response.status_code == 200
    assert "<svg viewBox" not in response.content.decode()


def test_an_active_version_that_cannot_be_read_is_told(admin_client):
    version(active=True)
    assert "cannot be read" in words_of(post(admin_client, *ROWS))


def test_without_versions_there_is_nothing_to_show(admin_client):
    response = admin_client.get(PAGE)
    assert "No classifier is active." in words_of(response)
    assert "<svg viewBox" not in response.content.decode()


# Who may


def test_strangers_measure_nothing(client):
    assert client.get(PAGE).status_code == 302
    signed_in(client, "view_routingrule")
    assert client.get(PAGE).status_code == 403
    assert post(client, *ROWS).status_code == 403


def test_who_may_not_see_examples_or_rules_is_not_shown_them(client, experts):
    RouteExample.objects.create(prompt="code 90", expert=experts["code"], split="evaluation")
    signed_in(client, "view_classifierversion")
    assert "kept for evaluation" not in words_of(client.get(PAGE))
    assert "Select a valid choice" in words_of(client.post(PAGE, {"of": "kept", "profile": "auto"}))
    response = post(client, *ROWS)
    assert dict(response.context["measurement"].numbers)["Accuracy"] == "80.0%"
    assert "/try/" not in response.content.decode()


def test_the_lists_link_to_it(admin_client):
    for model in ("classifierversion", "routingrule"):
        assert f'<a href="{PAGE}">' in admin_client.get(f"/admin/routing/{model}/").content.decode()


# Plots


def test_plots_put_points_where_they_belong():
    plot = plots.reliability(measures.calibration([0.05, 0.95, 0.95, 0.95, 0.95], [False, True, True, True, False]))
    assert plot is None  # the rows are in "bins"
    bins = measures.calibration([0.05, 0.95, 0.95, 0.95, 0.95], [False, True, True, True, False])["bins"]
    low, high = plots.reliability(bins).dots
    assert float(low.x) < float(high.x)
    assert float(low.y) > float(high.y)
    assert float(low.radius) < float(high.radius)
    assert (low.y, high.label) == (f"{plots.BOTTOM:.1f}", "4")
    assert high.words == "4 at 95%, 75% right"


def test_coverage_begins_below_the_lowest_accuracy():
    points = [measures.coverage(SURE, RIGHT, level) for level in (0.5, 0.6, 0.99)]
    plot = plots.coverage(points)
    assert [dot.words for dot in plot.dots] == [
        "from 50% on: 100% decided, 75.0% of them right",
        "from 60% on: 75% decided, 100.0% of them right",
    ]
    assert plot.y_ticks[0].label == "70%"


@pytest.mark.parametrize("value", [None, [], {}, "x", [None], [{"confidence": "x"}], [{"confidence": float("nan")}]])
def test_a_plot_of_nothing_is_none(value):
    assert plots.reliability(value) is None
    assert plots.coverage(value) is None


def test_one_version_is_a_plot_too():
    plot = plots.versions([(7, 1.0, True), (8, None, False)])
    assert [dot.words for dot in plot.dots] == ["version 7: 100.0%, active"]
