"""Pages of the web as documents: what is known of one before it is fetched, and what its answer makes of it."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from knowledge.contents import content_store, sha256_of
from knowledge.jobs import Run, document_settle, job_finish, step
from knowledge.models import Document, IngestionJob
from knowledge.revisions import UNCHANGED, document_supersede, is_settled, revision_add
from knowledge.web import Page, identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a page's server gave to recognise it by when it was read last."""

    etag: str = ""
    last_modified: str = ""


def page_known(document_id: int) -> Known:
    document = Document.objects.filter(pk=document_id, revisions__isnull=False).first()
    return Known(etag=document.etag, last_modified=document.last_modified) if document else Known()


def page_settle(run: Run, page: Page | None) -> int | None:
    """Store a page as its document's next revision and return that one's id; no page is one that is as it was.

    Return None, with the job ended, if there is nothing to be read. Raises Gone.
    """
    with step(run):
        document = IngestionJob.objects.select_related("document__collection").get(pk=run.job_id).document
        assert document is not None, "a page that is fetched is one"
        newest = document.revisions.order_by("-number").first()
        if page is None:
            # What is as it was may be what could not be read then, or was not by today's settings.
            assert newest is not None, "only a page that was stored can be as it was"
            content = _Content(sha256=newest.content_id, name=newest.name, mime=newest.declared_mime)
        else:
            content = _Content(sha256=sha256_of(page.content), name=page_name(page), mime=page_mime(page))
            _remember(document, page)
        if is_settled(document, sha256=content.sha256, name=content.name):
            job_finish(run, UNCHANGED)
            document_settle(document.pk, error="" if document.revision else document.error)
            return None
        document_supersede(document, keep=run.job_id)
        if page is not None:
            content_store(page.content, content.sha256)
        revision = revision_add(document, sha256=content.sha256, name=content.name, mime=content.mime)
        IngestionJob.objects.filter(pk=run.job_id).update(revision=revision)
        return revision.pk


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    sha256: str
    name: str
    mime: str


def _remember(document: Document, page: Page) -> None:
    # They belong to the address that answered; asked of one that led there, they would say nothing.
    own = identity(page.url) == document.source
    document.etag = page.etag[:300] if own and len(page.etag) <= 300 else ""
    document.last_modified = page.last_modified[:100] if own else ""
    document.save(update_fields=["etag", "last_modified"])


def page_name(page: Page) -> str:
    """Return what a page is called as a file."""
    parts = urlsplit(page.url)
    # The front page of example.org is no file of the kind "org".
    return (unquote(parts.path.rstrip("/").rpartition("/")[2]) or (parts.hostname or "").replace(".", "-"))[:500]


def page_mime(page: Page) -> str:
    return f"{page.media_type}; charset={page.charset}" if page.charset else page.media_type
