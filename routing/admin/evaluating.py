"""The page that measures the router on prompts whose expert is known, and shows what its classifiers are worth."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.admin import plots
from routing.admin.figures import number, percent
from routing.admin.measured import measured
from routing.admin.plotting import Plot
from routing.admin.trying import LONGEST_IN_ADDRESS
from routing.catalog import AUTO, Catalog, catalog
from routing.classifying import active
from routing.evaluation import BadExamples, Labelled, Timed, competing, decide_all, labelled_lines, report_on
from routing.exceptions import EndpointError
from routing.models import ClassifierVersion, RouteExample
from routing.models.examples import prompt_digest

MOST_LINES = 5_000
MAX_BYTES = 20_000_000
_SHOWN_WRONG = 50
_SHOWN_CHARACTERS = 120
_TABLES = ("By stage", "By language", "By expert", "By source")


# --- what is measured -------------------------------------------------------------------------------------------


class EvaluationForm(forms.Form):
    of = forms.ChoiceField(label="Measure on", widget=forms.RadioSelect)
    file = forms.FileField(
        required=False, help_text=f'JSON lines such as {{"prompt": "…", "label": "code"}}, {MOST_LINES:,} at most.'
    )
    profile = forms.ChoiceField(help_text="What is asked for as the model.")

    def __init__(self, *args: Any, profiles: Mapping[str, str], kept: int | None, **kwargs: Any) -> None:
        """``kept`` is how many examples are kept for evaluation; None for whoever may not see them."""
        super().__init__(*args, **kwargs)
        of, profile = self.fields["of"], self.fields["profile"]
        assert isinstance(of, forms.ChoiceField)
        assert isinstance(profile, forms.ChoiceField)
        newest = f", the newest {MOST_LINES:,}" if kept and kept > MOST_LINES else ""
        choices = [("file", "a file"), ("kept", f"the {kept} examples kept for evaluation{newest}")]
        of.choices = choices[: 1 if kept is None else 2]
        profile.choices = list(profiles.items())

    def clean_file(self) -> str:
        uploaded = self.cleaned_data["file"]
        if uploaded is None or self.cleaned_data.get("of") == "kept":
            return ""
        if uploaded.size > MAX_BYTES:
            raise ValidationError(f"The file is larger than {MAX_BYTES // 1_000_000} MB. Split it.")
        try:
            return uploaded.read().decode("utf-8-sig")  # type: ignore[no-any-return]
        except UnicodeDecodeError as error:
            raise ValidationError("This is no text in UTF-8.") from error

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data.get("of") == "file" and self.cleaned_data.get("file") == "":
            self.add_error("file", "Choose a file with at least one line.")
        return self.cleaned_data

    def rows(self) -> list[Labelled]:
        """Return what is to be decided; raises BadExamples."""
        if self.cleaned_data["of"] == "kept":
            return _kept_rows()
        rows = labelled_lines(io.StringIO(self.cleaned_data["file"], newline=None), "The file")
        if len(rows) > MOST_LINES:
            raise BadExamples(f"The file has {len(rows):,} lines; {MOST_LINES:,} are measured at most. Split it.")
        return [_showable(row) for row in rows]


def _kept_rows() -> list[Labelled]:
    found = RouteExample.objects.evaluation().values_list("prompt", "expert__slug", "language", "source")
    rows = [
        Labelled(prompt=prompt, expert=expert, language=language, source=source)
        for prompt, expert, language, source in found[:MOST_LINES]
    ]
    if not rows:
        raise BadExamples(
            "No example is kept for evaluation. Choose some in the list of examples, with the action “Use the "
            "selected examples for evaluation only”."
        )
    return rows


def _showable(row: Labelled) -> Labelled:
    """Return ``row`` without halves of characters, which JSON can hold and a page cannot."""
    values = {name: getattr(row, name) for name in ("prompt", "expert", "language", "source")}
    return replace(row, **{name: value.encode("utf-8", "replace").decode() for name, value in values.items()})


# --- what comes of it -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A prompt that went to another expert than it should; ``link`` tries it."""

    start: str
    expected: str
    chosen: str
    confidence: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the confusion matrix; ``heat`` is its share of the row in percent."""

    count: int
    heat: int
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A report as the page shows it."""

    numbers: tuple[tuple[str, str], ...]
    tables: tuple[Mapping[str, Any], ...]
    columns: tuple[str, ...]
    confusion: tuple[tuple[str, tuple[Cell, ...]], ...]
    plots: tuple[Plot, ...]
    skipped: tuple[tuple[str, int], ...]
    wrong: tuple[Wrong, ...]
    more_wrong: int
    notes: tuple[str, ...]


def measurement(rows: Sequence[Labelled], profile: str) -> Measurement:
    """Decide ``rows`` with the router as it is and report; raises BadExamples or EndpointError."""
    known = competing(catalog.get(), {row.expert for row in rows})
    active.get()  # read here, where the database may be asked
    # In a loop of its own: the one that serves chats must not wait for thousands of decisions.
    timed = async_to_sync(decide_all, force_new_loop=True)(rows, known, profile=profile)
    report = report_on(rows, timed)
    wrong = [(row, one) for row, one in zip(rows, timed, strict=True) if row.expert != one.decision.expert.slug]
    confusion = report["confusion"]
    tables = {table["title"]: table for table in measured(report)["tables"]}
    return Measurement(
        numbers=tuple(_numbers(report)),
        tables=tuple(tables[title] for title in _TABLES if title in tables),
        columns=tuple(confusion["predicted"]),
        confusion=tuple(_heated(confusion)),
        plots=_plots(report["calibration"]["bins"], report["at_confidence"]),
        skipped=tuple(report["skipped"].items()),
        wrong=tuple(_wrong(row, one, profile) for row, one in wrong[:_SHOWN_WRONG]),
        more_wrong=max(0, len(wrong) - _SHOWN_WRONG),
        notes=tuple(_notes(rows, timed, known)),
    )


def _numbers(report: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    low, high = report["accuracy_interval"]
    covered = report["coverage"]
    yield "Prompts", str(report["count"])
    yield "Accuracy", f"{report['accuracy']:.1%}"
    yield "95 % interval", f"{low:.1%} to {high:.1%}"
    yield "Macro F1", number(report["macro_f1"], 3)
    yield "Within the top two", f"{report['top_two']:.1%}"
    yield "Surely decided", f"{covered['decided']:.1%}"
    yield "Right of those", f"{covered['right']:.1%}"
    if "not_english" in report and report["not_english"]["count"]:
        other = report["not_english"]
        yield "Accuracy in other languages than English", f"{other['accuracy']:.1%} of {other['count']}"
    yield "Expected calibration error", number(report["calibration"]["expected_error"], 3)
    yield "A decision takes, on average", number(report["ms_per_decision"], 2, " ms")
    yield "Median", number(report["ms_median"], 2, " ms")
    yield "95 % take at most", number(report["ms_p95"], 2, " ms")


def _heated(confusion: Mapping[str, Any]) -> Iterable[tuple[str, tuple[Cell, ...]]]:
    for label, counts in zip(confusion["labels"], confusion["counts"], strict=True):
        total = sum(counts) or 1
        yield (
            label,
            tuple(
                Cell(count=count, heat=round(100 * count / total), is_right=label == column)
                for column, count in zip(confusion["predicted"], counts, strict=True)
            ),
        )


def _wrong(row: Labelled, one: Timed, profile: str) -> Wrong:
    start = " ".join(row.prompt[: 4 * _SHOWN_CHARACTERS].split())
    decision = one.decision
    confidence = percent(decision.confidence) if decision.route == "classifier" else decision.route
    address = urlencode({"prompt": row.prompt[:LONGEST_IN_ADDRESS], "profile": profile})
    return Wrong(
        start=f"{start[: _SHOWN_CHARACTERS - 1]}…" if len(start) > _SHOWN_CHARACTERS else start,
        expected=row.expert,
        chosen=decision.expert.slug,
        confidence=confidence,
        link=f"{reverse('admin:routing_try')}?{address}",
    )


def _notes(rows: Sequence[Labelled], timed: Sequence[Timed], known: Catalog) -> Iterable[str]:
    digests = {prompt_digest(row.prompt) for row in rows}
    if learnt := RouteExample.objects.training().filter(digest__in=digests).count():
        yield (
            f"{learnt} of the prompts {'is an example' if learnt == 1 else 'are examples'} that the classifier may "
            "have learnt from; that flatters it."
        )
    remembered = sum("remembered" in stage.result for one in timed for stage in one.decision.stages)
    if remembered:
        yield f"The classifier remembered {remembered} of the prompts, so the times are shorter than of new ones."
    now = active.get().classifier
    if now is None:
        yield f"No classifier decided: {active.get().problem}."
        return
    if others := sorted(set(now.experts) - known.experts.keys()):
        yield (
            f"No label names {', '.join(others)}, so they did not compete here. manage.py evaluate_routing trains a "
            "classifier without them first."
        )
    if unknown := sorted(known.experts.keys() - set(now.experts)):
        yield f"The active classifier does not know {', '.join(unknown)}; only rules can choose them."


def _plots(bins: Any, points: Any) -> tuple[Plot, ...]:
    return tuple(plot for plot in (plots.reliability(bins), plots.coverage(points)) if plot is not None)


# --- the versions there are -------------------------------------------------------------------------------------


def of_versions() -> dict[str, Any]:
    """Return what the classifiers were found to be worth when they were trained."""
    versions = list(ClassifierVersion.objects.defer("weights").order_by("id"))
    now = next((version for version in versions if version.active), None)
    over_time = plots.versions([(one.pk, _mapping(one.metrics).get("accuracy"), one.active) for one in versions])
    context: dict[str, Any] = {"over_time": over_time, "active": now}
    if now is not None:
        metrics = _mapping(now.metrics)
        bins = _mapping(metrics.get("calibration")).get("bins")
        context["measured"] = measured(metrics)
        context["active_plots"] = _plots(bins, metrics.get("at_confidence") or [metrics.get("coverage")])
    return context


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# --- the page ---------------------------------------------------------------------------------------------------


class EvaluatePages(admin.ModelAdmin):
    """The page beside the list of classifiers on which the router is measured."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.evaluate_view)
        return [path("evaluate/", view, name="routing_evaluate"), *super().get_urls()]

    def evaluate_view(self, request: HttpRequest) -> HttpResponse:
        """Show how the classifiers fared; a POST measures the router and stores nothing."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        form = self._evaluation_form(request)
        if request.method != "POST" or not form.is_valid():
            return self._evaluation_page(request, form=form, **of_versions())
        try:
            found = measurement(form.rows(), form.cleaned_data["profile"])
        except BadExamples as error:
            problem = str(error).encode("utf-8", "replace").decode()
        except EndpointError as error:
            problem = error.message
        else:
            return self._evaluation_page(request, form=form, measurement=found)
        return self._evaluation_page(request, form=form, problem=problem, **of_versions())

    def _evaluation_form(self, request: HttpRequest) -> EvaluationForm:
        profiles = {slug: f"{profile.name or slug} ({slug})" for slug, profile in catalog.get().profiles.items()}
        may_see = any(request.user.has_perm(f"routing.{one}_routeexample") for one in ("view", "change"))
        kept = RouteExample.objects.evaluation().count() if may_see else None
        return EvaluationForm(
            request.POST if request.method == "POST" else None,
            request.FILES if request.method == "POST" else None,
            profiles=profiles,
            kept=kept,
            initial={"of": "kept" if kept else "file", "profile": AUTO},
        )

    def _evaluation_page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        may_try = any(request.user.has_perm(f"routing.{one}_routingrule") for one in ("view", "change"))
        shown = {"title": "Evaluate the router", "opts": self.opts, "may_try": may_try}
        context = self.admin_site.each_context(request) | shown | context
        return TemplateResponse(request, "admin/routing/classifierversion/evaluate.html", context)
