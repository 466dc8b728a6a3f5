"""The source viewer: what an answer cites, as it was when it was cited, for whoever follows the link.

A link opens without an API key, as browsers have none to show. It carries a signature, so that nobody can make one up
or alter it, and names the revision, so that it shows the text the model was given whatever became of the document. It
also names the key that the answer was given to: what that key may not read any more, its links do not show.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from gateway.cited import Link
from gateway.models import ApiKey
from knowledge.access import Access
from knowledge.models import Chunk, Document, DocumentRevision
from knowledge.packing import Source, overlap

SALT = "gateway.sources"
AROUND = 10
"""Chunks before and after those that are cited; a whole book is no page."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A chunk on the page; ``heading`` is "" where it is that of the piece before."""

    text: str
    heading: str
    page: int | None
    is_cited: bool
    is_first_cited: bool


# --- links ------------------------------------------------------------------------------------------------------


def linked(site: str, key_id: int | None) -> Link:
    """Return what makes the address of a source for the key that asked, None for an anonymous client.

    ``site`` is scheme and host, or "" for an address without them.
    """

    def link(source: Source) -> str:
        passage = source.passage
        return f"{site}/sources/{token_of(passage.document, passage.revision, source.chunks, key_id=key_id)}"

    return link


def token_of(document: int, revision: int, chunks: tuple[int, ...], *, key_id: int | None) -> str:
    return _signer().sign_object([key_id or 0, document, revision, *chunks])


def _signer() -> Signer:
    return Signer(salt=SALT, sep=".")


# --- the page ---------------------------------------------------------------------------------------------------


@require_safe
def source(request: HttpRequest, token: str) -> HttpResponse:
    """GET /sources/{token}"""
    try:
        key_id, document, number, *chunks = _signer().unsign_object(token)
    except (BadSignature, ValueError):
        return _gone(request, "This link is not complete, or it was changed. Open it again from the answer it is in.")
    readable = Document.objects.open_to(_access(key_id)).filter(pk=document)
    revisions = DocumentRevision.objects.select_related("document__collection").filter(document__in=readable)
    revision = revisions.filter(number=number).first()
    pieces = list(_pieces(revision, frozenset(chunks))) if revision else []
    if revision is None or not pieces:
        return _gone(request, "What was cited here has been deleted since, or may not be read any more.")
    found = revision.document
    return _page(
        request,
        200,
        title=revision.title or found.title or found.source,
        collection=found.collection,
        revision=revision,
        is_current=found.revision == number,
        original=found.url if urlsplit(found.url).scheme in ("http", "https") else "",
        pieces=pieces,
        is_trusted=found.collection.trusted,
    )


def _access(key_id: int) -> Access:
    """Return what the key that an answer was given to may see now.

    One that works no more may what every key may, as far as it was not narrowed away from it.
    """
    key = ApiKey.objects.filter(pk=key_id).first()
    if key is None:
        return Access(everything=not settings.REQUIRE_API_KEY)
    return key.access if key.state == "active" else replace(key.access, key_id=None, group="")


def _pieces(revision: DocumentRevision, cited: frozenset[int]) -> Iterator[Piece]:
    """Yield the cited chunks with those around them, what two share once; nothing where none is left."""
    places = [place for place, chunk in enumerate(revision.chunk_ids) if chunk in cited]
    if not places:
        return
    ids = revision.chunk_ids[max(0, places[0] - AROUND) : places[-1] + AROUND + 1]
    rows = Chunk.objects.in_bulk(ids)
    first_cited = next((chunk for chunk in ids if chunk in cited and chunk in rows), None)
    before, heading = "", ""
    for row in (rows[chunk] for chunk in ids if chunk in rows):
        if first_cited is None:
            return
        yield Piece(
            text=row.text[overlap(before, row.text) :].strip("\n"),
            heading=row.heading if row.heading != heading else "",
            page=row.page,
            is_cited=row.pk in cited,
            is_first_cited=row.pk == first_cited,
        )
        before, heading = row.text, row.heading


def _gone(request: HttpRequest, words: str) -> HttpResponse:
    return _page(request, 404, title="Not found", words=words)


def _page(request: HttpRequest, status: int, **context: object) -> HttpResponse:
    response = render(request, "gateway/source.html", context, status=status)
    response["Content-Security-Policy"] = POLICY
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    patch_cache_control(response, private=True, no_store=True)
    return response
