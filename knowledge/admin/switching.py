"""The page on which a collection gets another embedding model: filled beside, compared, switched to, taken back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from knowledge.admin.evaluations import NOTHING, TITLES, compare_address
from knowledge.admin.progress import job_cell
from knowledge.admin.renewing import RenewPages
from knowledge.admin.rereading import to_batch
from knowledge.comparing import paired
from knowledge.golden import golden_compare, golden_comparison
from knowledge.models import Collection, EmbeddingModel, GoldenQuery, IngestionJob
from knowledge.switching import (
    Filling,
    collection_embed_with,
    collection_fill,
    collection_give_up,
    collection_roll_back,
    collection_switch,
    filling_of,
)
from routing.exceptions import EndpointError

FILL, AT_ONCE = "fill", "switch"
HOW = (
    (FILL, "Fill it beside, to be compared and switched to afterwards"),
    (AT_ONCE, "Fill it, and switch to it as soon as every chunk has its vector"),
)


class EmbedForm(forms.Form):
    model = forms.ModelChoiceField(EmbeddingModel.objects.none(), empty_label="Choose a model")
    how = forms.ChoiceField(label="Then", choices=HOW, initial=FILL, widget=forms.RadioSelect)

    def __init__(self, *args: Any, collection: Collection, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model = self.fields["model"]
        assert isinstance(model, forms.ModelChoiceField)
        model.queryset = EmbeddingModel.objects.exclude(pk=collection.embedding_model_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A model that is kept beside the collection's own; ``is_next`` says whether it may be switched to, or back to.

    ``comparison`` is what the page shows of the latest one, if the two were compared.
    """

    filling: Filling
    is_next: bool
    job: SafeString | str
    comparison: Mapping[str, Any] | None


class EmbedPages(RenewPages):
    """The page beside a collection's form on which its embedding model is changed."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.embed_view)
        return [path("<int:pk>/embed/", view, name="knowledge_collection_embed"), *super().get_urls()]

    def embed_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show which models a collection has vectors by; a POST does what its button says."""
        collection = self._collection(request, pk)
        if not self.has_change_permission(request, collection):
            raise PermissionDenied
        do = request.POST.get("do", "")
        form = EmbedForm(request.POST if request.method == "POST" and do not in _DOES else None, collection=collection)
        if request.method == "POST":
            try:
                if do in _DOES:
                    return _DOES[do](self, request, collection)
                if form.is_valid():
                    return self._fill(request, collection, form)
            except EndpointError as error:
                self.message_user(request, error.message, messages.ERROR)
                return HttpResponseRedirect(self._embed_page(pk))
        shown = {"title": f"Embedding model of {collection}", "step": "Embedding model", "submit": "Fill"}
        nothing = not form.fields["model"].queryset.exists()  # type: ignore[attr-defined]
        beside = _beside(collection)
        golden = GoldenQuery.objects.filter(collection=collection).count()
        return self._page(
            request, collection, "embed", form=form, nothing=nothing, beside=beside, golden=golden, **shown
        )

    def _fill(self, request: HttpRequest, collection: Collection, form: EmbedForm) -> HttpResponse:
        model = form.cleaned_data["model"]
        if form.cleaned_data["how"] == AT_ONCE:
            job = collection_embed_with(collection=collection, model=model)
            self.log_change(request, collection, f"Had it embedded with {model}.")
            return self._under_way(request, collection, model, job)
        collection_fill(collection=collection, model=model)
        self.log_change(request, collection, f"Had {model} filled beside.")
        words = f"“{collection}” is searched as before while {model} is filled beside it."
        self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(self._embed_page(collection.pk))

    def _compare(self, request: HttpRequest, collection: Collection) -> HttpResponse:
        model = self._named(request)
        if not filling_of(collection, model).is_complete:
            self.message_user(request, f"Not every chunk has a vector by {model} yet.", messages.ERROR)
            return HttpResponseRedirect(self._embed_page(collection.pk))
        runs = async_to_sync(golden_compare)(collection, model, reason=f"{collection.embedding_model} against {model}")
        if runs is None:
            self.message_user(request, NOTHING, messages.WARNING)
        return HttpResponseRedirect(self._embed_page(collection.pk))

    def _switch(self, request: HttpRequest, collection: Collection) -> HttpResponse:
        now = collection_switch(collection=collection)
        self.log_change(request, collection, f"Switched it to {now.embedding_model}.")
        return self._told(request, now)

    def _back(self, request: HttpRequest, collection: Collection) -> HttpResponse:
        model = collection.previous_model
        job = collection_roll_back(collection=collection)
        self.log_change(request, collection, f"Went back to {model}.")
        return self._under_way(request, collection, model, job)

    def _give_up(self, request: HttpRequest, collection: Collection) -> HttpResponse:
        model = self._named(request)
        collection_give_up(collection=collection, model=model)
        self.log_change(request, collection, f"Gave up the vectors by {model}.")
        self.message_user(request, f"The vectors by {model} are being deleted.", messages.SUCCESS)
        return HttpResponseRedirect(self._embed_page(collection.pk))

    def _under_way(
        self, request: HttpRequest, collection: Collection, model: EmbeddingModel | None, job: IngestionJob | None
    ) -> HttpResponse:
        if job is None:
            return self._told(request, Collection.objects.select_related("embedding_model").get(pk=collection.pk))
        words = f"“{collection}” is being embedded with {model}; until that is done it is searched as before."
        self.message_user(request, words, messages.SUCCESS)
        return to_batch(request, job.batch, otherwise=self._embed_page(collection.pk))

    def _told(self, request: HttpRequest, now: Collection) -> HttpResponse:
        self.message_user(request, f"“{now}” is searched by {now.embedding_model} now.", messages.SUCCESS)
        return HttpResponseRedirect(self._embed_page(now.pk))

    def _named(self, request: HttpRequest) -> EmbeddingModel:
        named = request.POST.get("named", "")
        model = EmbeddingModel.objects.filter(pk=named).first() if named.isdecimal() and len(named) < 19 else None
        if model is None:
            raise PermissionDenied
        return model

    def _embed_page(self, pk: int) -> str:
        return reverse("admin:knowledge_collection_embed", args=[pk])


_DOES = {
    "compare": EmbedPages._compare,
    "switch": EmbedPages._switch,
    "back": EmbedPages._back,
    "give_up": EmbedPages._give_up,
}


def _beside(collection: Collection) -> list[Beside]:
    kept = [(collection.next_model, True), (collection.previous_model, False)]
    return [_shown(collection, model, is_next) for model, is_next in kept if model is not None]


def _shown(collection: Collection, model: EmbeddingModel, is_next: bool) -> Beside:
    filling = filling_of(collection, model)
    return Beside(
        filling=filling,
        is_next=is_next,
        job=job_cell(filling.job) if filling.job else "",
        comparison=_comparison(collection, model),
    )


def _comparison(collection: Collection, model: EmbeddingModel) -> Mapping[str, Any] | None:
    runs = golden_comparison(collection, model)
    if runs is None:
        return None
    first, second = runs
    found = paired(first.details, second.details)
    differences = [(TITLES[one.name], one) for one in found.differences]
    address = compare_address(first.pk, second.pk)
    return {"first": first, "second": second, "found": found, "differences": differences, "address": address}
