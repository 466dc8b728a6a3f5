"""OpenAI's Files API: what was uploaded, whoever may read it, and its end.

A document that came to a collection in another way answers to its id as well, and is listed in its vector store alone.
"""

import datetime as dt
import mimetypes
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.errors import BodyTooLarge, NotFound, UnsupportedMediaType
from gateway.fields import Fields, invalid
from gateway.ragapi.access import document_at
from gateway.ragapi.documents import download
from gateway.ragapi.serializers import checked_text
from gateway.vectorstores.access import Kept, check_deletable, file_at, open_files
from gateway.vectorstores.ids import uid_of
from gateway.vectorstores.paging import page
from gateway.vectorstores.resource import StoreResource
from knowledge.access import Access, Level
from knowledge.documents import document_delete
from knowledge.models import Document, DocumentRevision, DocumentStatus, StoredFile
from knowledge.models.documents import FILE_START
from knowledge.storedfiles import file_delete, file_store
from routing.exceptions import BadRequest

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
MOST_LISTED = 10_000
LONGEST_NAME = 500
SOONEST, LATEST = 3600, 30 * 86_400
"""Seconds after which a file may expire."""
STATES: Mapping[str, str] = {DocumentStatus.READY: "processed", DocumentStatus.FAILED: "error"}


class AnyKind(DefaultContentNegotiation):
    """Answers whatever kind is asked for: of a file there is one, and errors are JSON."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class Files(StoreResource):
    """GET and POST /v1/files"""

    paging = ("limit", "order", "after")
    parser_classes = [MultiPartParser]

    def get(self, request: Request) -> Response:
        access, query = self.access, self.query("purpose")
        rows = open_files(access)
        if purpose := query.get("purpose"):
            rows = rows.filter(purpose=purpose)
        return self.answer(
            page(
                rows,
                query,
                find=lambda text: _find(access, text),
                shown=lambda found: [file_object(one) for one in found],
                usual=MOST_LISTED,
                most=MOST_LISTED,
            )
        )

    def post(self, request: Request) -> Response:
        upload, fields = self._form(request)
        purpose = fields.text("purpose")
        if purpose not in PURPOSES:
            raise invalid("purpose", f"'purpose' must be one of {', '.join(PURPOSES)}.")
        expires_at = _expiry(fields, purpose)
        if unread := [name for name in fields.unseen() if name.startswith("expires_after")]:
            raise invalid(unread[0], "'expires_after' has 'anchor' and 'seconds', and nothing else.")
        file = file_store(
            name=checked_text(upload.name or "", "file", LONGEST_NAME),
            purpose=purpose,
            data=upload.read(),
            access=self.access,
            expires_at=expires_at,
        )
        return self.answer(file_object(file), fields)

    def _form(self, request: Request) -> tuple[UploadedFile, Fields]:
        if not (request.content_type or "").startswith("multipart/form-data"):
            raise UnsupportedMediaType("Send the file as a form (multipart/form-data), with 'file' and 'purpose'.")
        try:
            texts, uploads = request.POST.dict(), request.FILES
        except ParseError as error:
            raise BadRequest(f"The form cannot be read: {error.detail}") from error
        if strange := next((name for name in uploads if name != "file"), None):
            raise invalid(strange, f"Send the file as 'file', not as '{strange[:100]}'.")
        if len(sent := uploads.getlist("file")) != 1:
            raise invalid("file", f"Send one file as 'file'; the form holds {len(sent) or 'none'}.")
        upload = sent[0]
        if not upload.size:
            raise invalid("file", "The file is empty. Send one that holds something.")
        if upload.size > settings.MAX_BODY_BYTES:
            raise BodyTooLarge
        return upload, Fields(texts)


class OneFile(StoreResource):
    """GET and DELETE /v1/files/{id}"""

    def get(self, request: Request, file_id: str) -> Response:
        return self.answer(file_object(file_at(self.access, file_id)))

    def delete(self, request: Request, file_id: str) -> Response:
        """Delete a file with everything made of it, in all collections."""
        found = file_at(self.access, file_id)
        if isinstance(found, StoredFile):
            check_deletable(self.access, found)
            file_delete(file=found)
        else:
            document_delete(document=document_at(self.access, found.pk, Level.WRITE))
        return Response({"id": found.public_id, "object": "file", "deleted": True})


class FileContent(StoreResource):
    """GET /v1/files/{id}/content: the bytes that were uploaded"""

    content_negotiation_class = AnyKind

    def get(self, request: Request, file_id: str) -> HttpResponse:
        found = file_at(self.access, file_id)
        if isinstance(found, StoredFile):
            return download(found.content, name=found.name, mime=mimetypes.guess_type(found.name)[0] or "")
        revision = _revision(found)
        if revision is None:
            raise NotFound(f"Nothing of {found.public_id} is there yet. Its vector store says how far it is.")
        return download(revision.content, name=revision.name, mime=revision.declared_mime or found.mime)


def file_object(found: Kept) -> dict[str, Any]:
    """Return what answers to a file's id as a file."""
    return _uploaded(found) if isinstance(found, StoredFile) else _document(found)


def _uploaded(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.public_id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at.timestamp()),
        "expires_at": int(file.expires_at.timestamp()) if file.expires_at else None,
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def _document(document: Document) -> dict[str, Any]:
    revision = _revision(document)
    return {
        "id": document.public_id,
        "object": "file",
        "bytes": revision.content.size if revision else 0,
        "created_at": int(document.created_at.timestamp()),
        "expires_at": None,
        "filename": revision.name if revision else document.source,
        "purpose": "assistants",
        "status": STATES.get(document.status, "uploaded"),
        "status_details": document.error or None,
    }


def _revision(document: Document) -> DocumentRevision | None:
    """Return the revision that is found, or else the last."""
    rows = document.revisions.select_related("content").defer("content__data").order_by("-number")
    return rows.filter(number=document.revision).first() or rows.first()


def _find(access: Access, text: str) -> StoredFile | None:
    uid = uid_of(text, FILE_START)
    if uid is None:
        raise ValueError(f"{text} is no file's id")
    return open_files(access).filter(uid=uid).first()


def _expiry(fields: Fields, purpose: str) -> dt.datetime | None:
    """Return when a file expires: as the form says, as OpenAI has it for batches, else never. Raises BadRequest."""
    anchor, text = fields.text("expires_after[anchor]"), fields.text("expires_after[seconds]")
    if anchor is None and text is None:
        return timezone.now() + dt.timedelta(seconds=LATEST) if purpose == "batch" else None
    if anchor != "created_at":
        raise invalid("expires_after[anchor]", "'expires_after[anchor]' must be created_at.")
    if not text or not text.isascii() or not text.isdigit() or not SOONEST <= int(text[:9]) <= LATEST:
        raise invalid(
            "expires_after[seconds]",
            f"'expires_after[seconds]' must be a whole number from {SOONEST:,} to {LATEST:,}.",
        )
    return timezone.now() + dt.timedelta(seconds=int(text))
