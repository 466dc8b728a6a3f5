"""Collections as files: what is exported by one installation is imported by another."""

import shutil
import tempfile
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpResponseBase
from rest_framework import status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.errors import BodyTooLarge, Conflict, UnsupportedMediaType
from gateway.ragapi.access import check_creatable, collection_at
from gateway.ragapi.collections import OneCollection, collection_object, keep_manager
from gateway.ragapi.resource import Resource
from knowledge.access import Level
from knowledge.archive import collection_import
from knowledge.archive.download import archive_download
from knowledge.models import Collection

ZIP = "application/zip"


class AnyKind(DefaultContentNegotiation):
    """Answers whatever kind is asked for: of an archive there is one, and errors are JSON."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class Export(Resource):
    """GET /v1/rag/collections/{slug}/archive"""

    content_negotiation_class = AnyKind

    def get(self, request: Request, slug: str) -> HttpResponseBase:
        return archive_download(collection_at(self.access, slug, Level.MANAGE))


class Import(OneCollection):
    """POST /v1/rag/collections/import, at an address that may be a collection's too"""

    def post(self, request: Request, slug: str) -> Response:
        """Make a collection of an archive, called as it was or ``?slug=``; whoever imports it may manage it."""
        wanted = self._only(("slug",)).get("slug", "")
        if (request.content_type or "").partition(";")[0] != ZIP:
            raise UnsupportedMediaType("Send the archive as the body, with Content-Type: application/zip.")
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.MAX_BODY_BYTES:
            raise BodyTooLarge
        if wanted:
            check_creatable(self.access, wanted)
        if wanted and Collection.objects.filter(slug=wanted).exists():
            raise Conflict(f"The name '{wanted}' is taken. Choose another one.", param="slug", code="collection_exists")
        self.check_budgets()
        with tempfile.TemporaryFile(dir=settings.MOE_DATA_DIR) as file, transaction.atomic():
            shutil.copyfileobj(request.stream, file)
            file.flush()  # on a full disk it would else be read as an archive that is no whole one
            imported = collection_import(file=file, slug=wanted, as_administrator=False)
            assert imported.collection is not None, "only a plan has none"
            check_creatable(self.access, imported.slug)
            keep_manager(imported.collection, self.caller)
            # Looked up before it is there for good: nobody is to be told of a failure, and then that the name is taken.
            told = collection_object(self.access, imported.slug) | {"notes": list(imported.notes)}
        return Response(told, status=status.HTTP_201_CREATED)
