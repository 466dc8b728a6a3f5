"""The pages on which somebody changes, splits and merges chunks, beside what the source says."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from knowledge.admin.rights import may
from knowledge.admin.telling import tell_received
from knowledge.authors import Author
from knowledge.curation.edit import Original, originals_of
from knowledge.curation.editing import LONGEST_HEADING, LONGEST_TEXT, chunk_split, chunks_merge, merged
from knowledge.exceptions import TextChanged
from knowledge.models import Chunk, ChunkEdit
from knowledge.revisions import Received
from routing.admin.fields import TextField
from routing.exceptions import EndpointError

SPLIT_HERE = "-----8<-----"
"""The line that says where a text is to become two chunks."""
TEXTS_A_PAGE = 50
_SPLIT = re.compile(r"^[ \t]*-{2,}8<-{2,}[ \t]*$", re.MULTILINE)


class ChangeForm(forms.Form):
    text = TextField(rows=16, max_length=LONGEST_TEXT * 2)
    heading = forms.CharField(
        required=False,
        max_length=LONGEST_HEADING,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="The headings above it, which are embedded with it.",
    )
    reason = forms.CharField(
        required=False,
        max_length=1_000,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Why it is changed; it stands in the document’s history.",
    )

    def texts(self) -> list[str]:
        """Return the text, cut at the lines that say so."""
        return texts_of(self.cleaned_data["text"])


def texts_of(text: str) -> list[str]:
    return [part for part in _SPLIT.split(text) if part.strip()] or [text]


class EditPages(admin.ModelAdmin):
    """The pages beside a chunk's own."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/edit/", view(self.edit_view), name="knowledge_chunk_edit"),
            path("<int:pk>/merge/", view(self.merge_view), name="knowledge_chunk_merge"),
            *super().get_urls(),
        ]

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a chunk's text to be changed, and change it, or split it at the lines that say so."""
        chunk = self._chunk(request, pk)
        initial = {"text": chunk.text, "heading": chunk.heading}
        form = ChangeForm(request.POST or None, initial=initial)

        def change(**by: Any) -> Received:
            return chunk_split(chunk=chunk, texts=form.texts(), heading=form.cleaned_data["heading"], **by)

        return self._changed(request, [chunk], form, change, title="Change a chunk", done="The chunk was changed.")

    def merge_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a chunk and the one after it as one text, and make them one."""
        chunk = self._chunk(request, pk)
        following = Chunk.objects.filter(document=chunk.document_id, state=chunk.state, ordinal=chunk.ordinal + 1)
        chunks = [chunk, *following.select_related("edit", "document")[:1]]
        if len(chunks) < 2:
            self.message_user(request, "No chunk comes after this one.", messages.WARNING)
            return HttpResponseRedirect(text_address(chunk))
        form = ChangeForm(request.POST or None, initial={"text": merged(chunks)})
        del form.fields["heading"]

        def change(**by: Any) -> Received:
            return chunks_merge(chunks=chunks, text=form.cleaned_data["text"], **by)

        return self._changed(
            request, chunks, form, change, title="Merge two chunks", done="The two chunks were made one."
        )

    def _chunk(self, request: HttpRequest, pk: int) -> Chunk:
        chunk: Chunk | None = self.get_object(request, str(pk))
        if chunk is None:
            raise Http404("There is no such chunk.")
        if not may(request, "change", "chunk"):
            raise PermissionDenied
        return chunk

    def _changed(
        self,
        request: HttpRequest,
        chunks: Sequence[Chunk],
        form: ChangeForm,
        change: Callable[..., Received],
        *,
        title: str,
        done: str,
    ) -> HttpResponse:
        """Have ``change`` carry out what the form says, or show the form with what the source says beside it."""
        now = None
        if form.is_valid():
            try:
                received = change(author=Author.of(request.user), reason=form.cleaned_data["reason"])
            except TextChanged as error:
                form.add_error(None, error.message)
                now = error.now
            except EndpointError as error:
                form.add_error("text", error.message)
            else:
                tell_received(self, request, received, done)
                return HttpResponseRedirect(text_address(chunks[0]))
        return self._change_page(request, chunks, form, title=title, now=now)

    def _change_page(
        self, request: HttpRequest, chunks: Sequence[Chunk], form: ChangeForm, **shown: Any
    ) -> HttpResponse:
        chunk = chunks[0]
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "form": form,
            "chunk": chunk,
            "document": chunk.document,
            "split_here": "" if "heading" not in form.fields else SPLIT_HERE,
            "sources": sources_of(chunks),
            "back": text_address(chunk),
            **shown,
        }
        return TemplateResponse(request, "admin/knowledge/chunk/change_text.html", context)


def text_address(chunk: Chunk) -> str:
    """Return where a chunk's place in its document's text is shown."""
    address = reverse("admin:knowledge_document_text", args=[chunk.document_id])
    return f"{address}?page={chunk.ordinal // TEXTS_A_PAGE + 1}#place-{chunk.ordinal}"


def sources_of(chunks: Sequence[Chunk]) -> list[Original]:
    """Return what the source says in the place of chunks."""
    found: list[Original] = []
    seen: set[int] = set()
    for chunk in chunks:
        if chunk.edit is None:
            found.append(Original(text=chunk.text, heading=chunk.heading, page=chunk.page))
        elif chunk.edit.pk not in seen:
            seen.add(chunk.edit.pk)
            found += source_of(chunk.edit)
    return found


def source_of(edit: ChunkEdit) -> tuple[Original, ...]:
    """Return what the source says at an edit's place, as far as it was read."""
    return originals_of(edit.theirs if edit.state == ChunkEdit.State.CONFLICT else edit.originals)
