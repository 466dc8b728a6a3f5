"""The page on which documents are added: files, a text, addresses, sitemaps, as many as are wanted at once."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from knowledge.admin.languages import language_code
from knowledge.admin.rights import may
from knowledge.admin.telling import tell_problems
from knowledge.admin.wording import counted
from knowledge.authors import Author
from knowledge.models import Collection, Document, IngestionJob
from knowledge.receiving import Incoming, document_receive, page_receive, sitemap_receive
from knowledge.revisions import Received
from routing.admin.fields import LinesField, ObjectField, TextField
from routing.exceptions import EndpointError

MOST_ADDRESSES = 200
"""Addresses that may be entered at once; a sitemap may name many more."""
Receive = Callable[[], Received | IngestionJob]


class FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files; gives a list of them."""

    widget = FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        given = data if isinstance(data, list | tuple) else [data] if data else []
        # Whether an empty file can be read is the parsers' to say, for each file.
        return [one for one in given if one]


class DocumentsForm(forms.Form):
    collection = forms.ModelChoiceField(Collection.objects.lasting(), empty_label="Choose a collection")
    uploads = FilesField(required=False, label="Files")
    title = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="A text of the same title that is there already is replaced.",
    )
    text = TextField(rows=8, required=False, help_text="Plain or Markdown.")
    addresses = LinesField(
        required=False, widget=forms.Textarea(attrs={"rows": 4, "cols": 100}), help_text="Pages or files, one a line."
    )
    sitemap = forms.URLField(
        required=False,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"class": "vTextField"}),
        help_text="For example https://example.org/sitemap.xml: every page it names is added.",
    )
    language = forms.CharField(
        required=False,
        max_length=8,
        help_text="Of files and the text: a code such as <i>de</i>. Empty: it is recognised.",
    )
    reason = forms.CharField(
        required=False,
        max_length=1_000,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Why files and the text come, for the documents’ history.",
    )
    metadata = ObjectField(
        required=False, help_text='What searches may filter by, for example {"department": "sales", "year": 2026}.'
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = settings.DATA_UPLOAD_MAX_NUMBER_FILES
        self.fields["uploads"].widget.attrs["data-most"] = most
        self.fields["uploads"].help_text = (
            f"Up to {most} at once; <code>manage.py ingest</code> takes whole folders. A file of the same name that is "
            "there already becomes a new revision of it."
        )

    def clean_addresses(self) -> list[str]:
        addresses: list[str] = self.cleaned_data["addresses"]
        if len(addresses) > MOST_ADDRESSES:
            raise ValidationError(f"These are {len(addresses)}; enter at most {MOST_ADDRESSES} at once, or a sitemap.")
        return [_address(address) for address in addresses]

    def clean_language(self) -> str:
        return language_code(self.cleaned_data["language"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        cleaned["text"] = cleaned.get("text", "").strip()
        if cleaned["text"] and not cleaned.get("title", "").strip():
            self.add_error("title", "Give the text a title; it is recognised by it when it comes again.")
        given = ("uploads", "text", "addresses", "sitemap")
        if not self.errors and not any(cleaned[name] for name in given):
            raise ValidationError("Choose files, or enter a text, addresses or a sitemap.")
        return cleaned


def _address(text: str) -> str:
    try:
        return str(forms.URLField(assume_scheme="https").clean(text))
    except ValidationError as error:
        raise ValidationError(f"“{text[:200]}” is no address of a page.") from error


# --- taking in --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Taken:
    """What became of everything that was added: jobs asked for together, documents as they were, and problems."""

    batch: uuid.UUID = field(default_factory=uuid.uuid4)
    jobs: list[IngestionJob] = field(default_factory=list)
    unchanged: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def documents(self) -> list[Document]:
        return [job.document for job in self.jobs if job.document is not None]

    def note(self, came: Received | IngestionJob) -> None:
        job = came if isinstance(came, IngestionJob) else came.job
        if job is None:
            self.unchanged += 1
        else:
            self.jobs.append(job)


def taken_in(found: Mapping[str, Any], author: Author) -> Taken:
    """Take in everything that a DocumentsForm has found, one after the other; what cannot be taken is told."""
    taken = Taken()
    for name, receive in _receipts(found, taken.batch, author):
        try:
            taken.note(receive())
        except EndpointError as error:
            taken.problems.append(f"“{name}”: {error.message}")
    return taken


def _receipts(
    found: Mapping[str, Any], batch: uuid.UUID, author: Author
) -> Iterator[tuple[str, Callable[[], Received | IngestionJob]]]:
    """Yield a name for each thing that was added, and what takes it in."""
    receive = partial(document_receive, collection=found["collection"], batch=batch)
    fetch = partial(page_receive, collection=found["collection"], metadata=found["metadata"], batch=batch)
    follow = partial(sitemap_receive, collection=found["collection"], metadata=found["metadata"], batch=batch)
    for upload in found["uploads"]:
        yield upload.name, partial(receive, incoming=_file(upload, found, author))
    if found["text"]:
        yield found["title"], partial(receive, incoming=_text(found, author))
    for address in found["addresses"]:
        yield address, partial(fetch, url=address)
    if found["sitemap"]:
        yield found["sitemap"], partial(follow, url=found["sitemap"])


def _file(upload: UploadedFile, found: Mapping[str, Any], author: Author) -> Incoming:
    name = upload.name or "unnamed"
    return Incoming(
        source=name,
        name=name,
        data=upload.read(),
        mime=upload.content_type or "",
        language=found["language"],
        metadata=found["metadata"],
        author=author,
        reason=found["reason"],
    )


def _text(found: Mapping[str, Any], author: Author) -> Incoming:
    title = found["title"].strip()
    return Incoming(
        source=title,
        name=f"{title}.md",
        data=found["text"].encode(),
        mime="text/markdown",
        title=title,
        language=found["language"],
        metadata=found["metadata"],
        origin=Document.Origin.TEXT,
        author=author,
        reason=found["reason"],
    )


# --- the page ---------------------------------------------------------------------------------------------------


class UploadPages(admin.ModelAdmin):
    """The page that stands where Django has the form of a new row."""

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Take in what is posted and go to the page that shows how far it is."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            form = DocumentsForm(initial={"collection": request.GET.get("collection", "")})
            return self._upload_page(request, form)
        form = DocumentsForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._upload_page(request, form)
        taken = taken_in(form.cleaned_data, Author.of(request.user))
        if taken.documents:
            LogEntry.objects.log_actions(request.user.pk, taken.documents, ADDITION, "Brought.")  # type: ignore[arg-type]
        self._tell(request, taken)
        if not (taken.jobs or taken.unchanged):
            return self._upload_page(request, form)
        if taken.jobs:
            # Of what was being read already the job has another batch.
            return HttpResponseRedirect(reverse("admin:knowledge_batch", args=[taken.jobs[0].batch]))
        listing = reverse("admin:knowledge_document_changelist")
        return HttpResponseRedirect(f"{listing}?collection__id__exact={form.cleaned_data['collection'].pk}")

    def _tell(self, request: HttpRequest, taken: Taken) -> None:
        if taken.unchanged:
            words = f"{counted(taken.unchanged, 'document')} had not changed; nothing is to be done."
            self.message_user(request, words, messages.SUCCESS)
        tell_problems(self, request, taken.problems)

    def _upload_page(self, request: HttpRequest, form: DocumentsForm) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": "Add documents",
            "opts": self.opts,
            "form": form,
            "no_collection": not Collection.objects.lasting().exists(),
            "may_add_collection": may(request, "add", "collection"),
        }
        return TemplateResponse(request, "admin/knowledge/document/upload.html", context)
