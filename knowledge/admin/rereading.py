"""Documents read again as one batch, from their list or from their collection's page."""

from collections.abc import Iterable
from uuid import UUID, uuid4

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from knowledge.admin.rights import may_see
from knowledge.admin.telling import tell_problems
from knowledge.admin.wording import counted
from knowledge.authors import Author
from knowledge.documents import document_reingest
from knowledge.models import Document
from routing.exceptions import EndpointError


def read_again(page: admin.ModelAdmin, request: HttpRequest, documents: Iterable[Document]) -> UUID | None:
    """Have ``documents`` read again and tell how many; return the batch of their jobs, None if there are none."""
    batch, done, problems = uuid4(), 0, []
    for document in documents:
        try:
            document_reingest(document=document, batch=batch, author=Author.of(request.user), reason="Read again.")
            done += 1
        except EndpointError as error:
            problems.append(f"“{document}”: {error.message}")
    tell_problems(page, request, problems)
    if done:
        page.message_user(request, f"{counted(done, 'document')} will be read again.", messages.SUCCESS)
    elif not problems:
        page.message_user(request, "There was nothing to read again.", messages.WARNING)
    return batch if done else None


def to_batch(request: HttpRequest, batch: UUID | None, *, otherwise: str) -> HttpResponse:
    """Go to the page that shows how far a batch is, or to ``otherwise`` for who may not see jobs, or has none."""
    if batch is None or not may_see(request, "ingestionjob"):
        return HttpResponseRedirect(otherwise)
    return HttpResponseRedirect(reverse("admin:knowledge_batch", args=[batch]))
