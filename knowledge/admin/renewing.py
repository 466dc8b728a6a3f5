"""The page on which a collection's documents are read again."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from knowledge.admin.rereading import read_again, to_batch
from knowledge.admin.rights import may
from knowledge.models import (
    Collection,
    Document,
    DocumentRevision,
    DocumentStatus,
)


def outdated(collection: Collection) -> "QuerySet[Document]":
    """Return the documents whose chunks were made with other settings than the collection has now."""
    return Document.objects.outdated(collection)


def _readable(collection: Collection) -> "QuerySet[Document]":
    """Return the documents of which there is something to read."""
    return Document.objects.filter(
        Exists(DocumentRevision.objects.filter(document=OuterRef("pk"))), collection=collection
    )


WHICH = {
    "outdated": ("Those made with other settings", outdated),
    "failed": ("Those that failed", lambda collection: _readable(collection).filter(status=DocumentStatus.FAILED)),
    "all": ("All", _readable),
}


class WhichForm(forms.Form):
    which = forms.ChoiceField(label="Documents", widget=forms.RadioSelect)

    def __init__(self, *args: Any, counts: dict[str, int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        which = self.fields["which"]
        assert isinstance(which, forms.ChoiceField)
        which.choices = [(name, f"{WHICH[name][0]} ({number:,})") for name, number in counts.items()]
        which.initial = next((name for name, number in counts.items() if number), "all")


class RenewPages(admin.ModelAdmin):
    """The pages beside a collection's form."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/reingest/", view(self.reingest_view), name="knowledge_collection_reingest"),
            *super().get_urls(),
        ]

    def reingest_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask which documents are to be read again, with how many they are, and have it done."""
        collection = self._collection(request, pk)
        if not may(request, "change", "document"):
            raise PermissionDenied
        counts = {name: documents(collection).count() for name, (_, documents) in WHICH.items()}
        form = WhichForm(request.POST or None, counts=counts)
        if not form.is_valid():
            title = f"Read documents of {collection} again"
            shown = {"title": title, "step": "Read again", "submit": "Read these again"}
            return self._page(request, collection, "reingest", form=form, nothing=not counts["all"], **shown)
        batch = read_again(self, request, WHICH[form.cleaned_data["which"]][1](collection))
        if batch is not None:
            self.log_change(request, collection, "Had documents read again.")
        return to_batch(request, batch, otherwise=self._own(pk))

    def _collection(self, request: HttpRequest, pk: int) -> Collection:
        collection = self.get_object(request, str(pk))
        if collection is None:
            raise Http404("There is no such collection.")
        if not self.has_view_or_change_permission(request, collection):
            raise PermissionDenied
        return collection  # type: ignore[no-any-return]

    def _page(self, request: HttpRequest, collection: Collection, what: str, **shown: Any) -> HttpResponse:
        context = self.admin_site.each_context(request) | {"opts": self.opts, "collection": collection} | shown
        return TemplateResponse(request, f"admin/knowledge/collection/{what}.html", context)

    def _own(self, pk: int) -> str:
        return reverse("admin:knowledge_collection_change", args=[pk])
