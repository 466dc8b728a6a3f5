"""The page on which an administrator sees what a question retrieves: both rankings, their fusion, and what is left."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from knowledge.access import EVERYTHING, Access
from knowledge.admin.rights import may, may_ask, may_see
from knowledge.admin.wording import counted, excerpt
from knowledge.models import Collection, Document, GoldenQuery
from knowledge.passages import Fusion, Mode, Passage, Retrieval, SearchRequest
from knowledge.search import LONGEST_QUESTION, Comparison, compared
from routing.admin.fields import ObjectField, TextField
from routing.admin.trying import LONGEST_IN_ADDRESS
from routing.exceptions import EndpointError

MOST_PASSAGES = 50
SHOWN_RANKS = 10
"""Places of each ranking that are shown side by side; the table below has them all."""
AS_COLLECTIONS_SAY = ("", "as the collections say")


# --- what is asked ----------------------------------------------------------------------------------------------


class KeyField(forms.ModelChoiceField):
    """An API key, by name; knowledge knows the table by its name alone, as the arrows between rooms have it."""

    def __init__(self) -> None:
        super().__init__(
            _keys().none(),
            required=False,
            label="As the API key",
            empty_label="nobody: everything is searched",
            help_text="What this key may read is searched, and nothing else.",
        )


def _keys() -> Any:
    model: Any = apps.get_model("gateway", "ApiKey")
    return model.objects.filter(revoked_at=None)


class AskForm(forms.Form):
    question = TextField(rows=3, max_length=LONGEST_QUESTION, help_text="As a user would ask it.")
    collections = forms.ModelMultipleChoiceField(
        Collection.objects.lasting(),
        required=False,
        to_field_name="slug",
        widget=forms.CheckboxSelectMultiple,
        help_text="None: in all of them.",
    )
    top_k = forms.IntegerField(label="Passages", min_value=1, max_value=MOST_PASSAGES, initial=5)
    key = KeyField()
    mode = forms.ChoiceField(required=False, choices=[AS_COLLECTIONS_SAY, *((one.value, one.value) for one in Mode)])
    fusion = forms.ChoiceField(
        required=False, choices=[AS_COLLECTIONS_SAY, *((one.value, one.value) for one in Fusion)]
    )
    vector_weight = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        help_text="Share of meaning against words, 0 to 1. Empty: as the collections say.",
    )
    filters = ObjectField(
        required=False,
        help_text='For example {"year": 2026}, or {"type": "gte", "key": "year", "value": 2024}.',
    )

    def __init__(self, *args: Any, may_see_keys: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        key = self.fields["key"]
        assert isinstance(key, KeyField)
        if may_see_keys:
            key.queryset = _keys()
        else:
            del self.fields["key"]

    @property
    def more_is_open(self) -> bool:
        """Whether what is seldom needed was used, or is wrong."""
        names = ("mode", "fusion", "vector_weight", "filters")
        return any(self.errors.get(name) or (self.is_bound and self[name].value()) for name in names)

    def request(self) -> SearchRequest:
        found = self.cleaned_data
        return SearchRequest(
            query=found["question"],
            collections=tuple(collection.slug for collection in found["collections"]),
            top_k=found["top_k"],
            mode=Mode(found["mode"]) if found["mode"] else None,
            fusion=Fusion(found["fusion"]) if found["fusion"] else None,
            vector_weight=found["vector_weight"],
            filters=found["filters"] or None,
        )

    def access(self) -> Access:
        key: Any = self.cleaned_data.get("key")
        return EVERYTHING if key is None else key.access


# --- what is found ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A passage that a leg found; ``place`` is its place in the fused order, ``kept`` in what an answer is given."""

    place: int
    passage: Passage
    start: str
    kept: int | None

    @property
    def bar(self) -> int:
        return round(100 * min(1.0, max(0.0, self.passage.score)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    retrieval: Retrieval
    candidates: tuple[Candidate, ...]

    @property
    def by_meaning(self) -> list[Candidate]:
        return _by_rank((one.passage.vector_rank, one) for one in self.candidates)

    @property
    def by_words(self) -> list[Candidate]:
        return _by_rank((one.passage.text_rank, one) for one in self.candidates)

    @property
    def fused(self) -> tuple[Candidate, ...]:
        return self.candidates[:SHOWN_RANKS]

    @property
    def milliseconds(self) -> float:
        return sum(step.milliseconds for step in self.retrieval.steps)

    @property
    def reranked(self) -> bool:
        return any(passage.rerank_score is not None for passage in self.retrieval.passages)


def found_of(comparison: Comparison) -> Found:
    kept = {passage.chunk: number for number, passage in enumerate(comparison.retrieval.passages, 1)}
    candidates = tuple(
        Candidate(place=place, passage=passage, start=excerpt(passage.text, 160), kept=kept.get(passage.chunk))
        for place, passage in enumerate(comparison.candidates, 1)
    )
    return Found(retrieval=comparison.retrieval, candidates=candidates)


def _by_rank(ranked: Iterable[tuple[int | None, Candidate]]) -> list[Candidate]:
    there = sorted(((rank, one) for rank, one in ranked if rank is not None), key=lambda pair: pair[0])
    return [one for _, one in there[:SHOWN_RANKS]]


@transaction.atomic
def golden_keep(question: str, documents: Iterable[Document], user: Any) -> dict[GoldenQuery, bool]:
    """Make ``question`` a golden query of the collections that ``documents`` are of, or add them to the one it is.

    Return the queries, each with whether it is new.
    """
    kept: dict[GoldenQuery, bool] = {}
    by_collection: dict[int, list[Document]] = {}
    for document in documents:
        by_collection.setdefault(document.collection_id, []).append(document)
    for collection, answering in by_collection.items():
        asked = {"collection_id": collection, "query": question.strip()}
        known = GoldenQuery.objects.filter(**asked).first()
        golden = known or GoldenQuery(**asked, created_by=user)
        golden._history_user = user  # type: ignore[attr-defined]
        if known is None:
            golden.save()
        golden.documents.add(*answering)
        kept[golden] = known is None
    return kept


# --- the page ---------------------------------------------------------------------------------------------------


class AskPages(admin.ModelAdmin):
    """The page beside the list of collections on which a question is asked."""

    def get_urls(self) -> list[URLPattern]:
        return [path("ask/", self.admin_site.admin_view(self.ask_view), name="knowledge_ask"), *super().get_urls()]

    def ask_view(self, request: HttpRequest) -> HttpResponse:
        """Show what is found for the question that is posted; "do" golden also keeps it as a golden query."""
        if not may_ask(request):
            raise PermissionDenied
        may_see_keys = request.user.has_perm("gateway.view_apikey")
        if request.method != "POST":
            question = request.GET.get("question", "")[:LONGEST_IN_ADDRESS]
            initial = {"question": question, "collections": request.GET.getlist("collection")}
            return self._ask_page(request, AskForm(initial=initial, may_see_keys=may_see_keys), None)
        form = AskForm(request.POST, may_see_keys=may_see_keys)
        if not form.is_valid():
            return self._ask_page(request, form, None)
        if request.POST.get("do") == "golden":
            self._keep_golden(request, form.cleaned_data["question"])
        try:
            comparison = async_to_sync(compared)(form.request(), access=form.access())
        except EndpointError as error:
            self.message_user(request, error.message, messages.ERROR)
            return self._ask_page(request, form, None)
        return self._ask_page(request, form, found_of(comparison))

    def _keep_golden(self, request: HttpRequest, question: str) -> None:
        if not may(request, "add", "goldenquery"):
            raise PermissionDenied
        ids = [int(pk) for pk in request.POST.getlist("document") if pk.isdecimal() and len(pk) < 19]
        documents = list(Document.objects.filter(pk__in=ids, collection__scratch=False))
        if not documents:
            self.message_user(request, "Choose the passages whose documents answer the question.", messages.ERROR)
            return
        for golden, is_new in golden_keep(question, documents, request.user).items():
            number = counted(golden.documents.count(), "document")
            words = f"The question is a golden query of “{golden.collection}” now, answered by {number}."
            if is_new:
                self.log_addition(request, golden, "Asked.")
            else:
                self.log_change(request, golden, "Asked.")
            self.message_user(request, words, messages.SUCCESS)

    def _ask_page(self, request: HttpRequest, form: AskForm, found: Found | None) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": "What does this question retrieve?",
            "opts": self.opts,
            "form": form,
            "found": found,
            "sees_documents": may_see(request, "document"),
            "may_keep": may(request, "add", "goldenquery"),
        }
        return TemplateResponse(request, "admin/knowledge/collection/ask.html", context)
