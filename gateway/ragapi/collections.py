"""Collections as a resource: what is kept in them, how it is cut and how it is searched."""

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Case, Count, IntegerField, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.auth import Caller
from gateway.errors import Conflict, PermissionDenied
from gateway.library import access_of
from gateway.ragapi.access import check_creatable, collection_at, open_collections
from gateway.ragapi.paging import listing
from gateway.ragapi.resource import Resource
from gateway.ragapi.serializers import ConstantField, LanguageField, StrictSerializer
from knowledge.access import Access, Level
from knowledge.collections import collection_create, collection_delete
from knowledge.documents import document_reingest
from knowledge.exceptions import DocumentNotFound
from knowledge.models import Collection, Document, EmbeddingModel, Grant, IngestionJob
from knowledge.switching import collection_embed_with, collection_fill, collection_give_up, filling_of

LEVELS: Mapping[int, str] = {0: "nothing", Level.READ: "read", Level.WRITE: "write", Level.MANAGE: "manage"}


class LevelField(serializers.ChoiceField):
    """What somebody may do, in a word."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=[(word, word) for word in LEVELS.values()], **options)

    def to_internal_value(self, data: Any) -> Any:
        word = super().to_internal_value(data)
        return next(level for level, one in LEVELS.items() if one == word)

    def to_representation(self, value: Any) -> str:
        return LEVELS[value]


class EmbeddingModelField(serializers.SlugRelatedField[EmbeddingModel]):
    """An embedding model by its name."""

    default_error_messages = {
        "does_not_exist": "There is no embedding model '{value}'. GET /v1/rag/embedding-models lists those there are.",
        "invalid": "Must be the name of an embedding model.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="name", queryset=EmbeddingModel.objects.all(), **options)


class CollectionSerializer(StrictSerializer[Collection]):
    id = serializers.ReadOnlyField(source="slug")
    object = ConstantField("rag.collection")
    access = serializers.SerializerMethodField(help_text="What the caller may do.")
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    language = LanguageField(required=False)
    everyone = LevelField(required=False)
    embedding_model = EmbeddingModelField(required=False)
    previous_embedding_model = serializers.CharField(
        source="previous_model.name", default=None, read_only=True, allow_null=True
    )
    next_embedding_model = serializers.CharField(
        source="next_model.name", default=None, read_only=True, allow_null=True
    )
    document_count = serializers.IntegerField(read_only=True)

    class Meta:
        model = Collection
        fields = [
            "id",
            "object",
            "slug",
            "name",
            "description",
            "language",
            "trusted",
            "access",
            "everyone",
            "embedding_model",
            "previous_embedding_model",
            "next_embedding_model",
            "chunk_tokens",
            "chunk_overlap",
            "embed_headings",
            "mode",
            "fusion",
            "vector_weight",
            "threshold",
            "neighbours",
            "gate",
            "document_count",
            "chunk_count",
            "created_at",
        ]
        read_only_fields = ["chunk_count", "created_at"]
        # Whether the slug is taken is for the use case to say: taken names may be of collections nobody may know of.
        extra_kwargs = {"slug": {"validators": [], "max_length": 100}}

    def get_access(self, row: Collection) -> str:
        return LEVELS[row.caller_level]  # type: ignore[attr-defined]  # annotated by described()

    def to_representation(self, instance: Collection) -> dict[str, Any]:
        shown = super().to_representation(instance)
        if shown["access"] != LEVELS[Level.MANAGE]:
            del shown["everyone"]
        return shown

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        def final(name: str) -> Any:
            known = self.instance or Collection()
            return attrs.get(name, getattr(known, name))

        if final("chunk_overlap") * 2 > final("chunk_tokens"):
            raise serializers.ValidationError({"chunk_overlap": "At most half of a chunk may be repeated."})
        return attrs


class ChangeSerializer(CollectionSerializer):
    """What can still be changed: by its slug clients and citations know a collection."""

    next_embedding_model = EmbeddingModelField(  # type: ignore[assignment]  # DRF replaces fields as it likes
        source="next_model", required=False, allow_null=True, help_text="Filled beside; null gives it up."
    )

    class Meta(CollectionSerializer.Meta):
        read_only_fields = [*CollectionSerializer.Meta.read_only_fields, "slug"]


class Collections(Resource):
    """GET and POST /v1/rag/collections"""

    def get(self, request: Request) -> Response:
        return listing(described(self.access), self.query(), order="slug", cursor="slug", shown=_shown)

    def post(self, request: Request) -> Response:
        asked = CollectionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        fields = dict(asked.validated_data)
        slug = fields.pop("slug")
        check_creatable(self.access, slug)
        if Collection.objects.filter(slug=slug).exists():
            raise Conflict(f"The name '{slug}' is taken. Choose another one.", param="slug", code="collection_exists")
        with transaction.atomic():
            keep_manager(collection_create(slug=slug, **fields), self.caller)
        return Response(collection_object(self.access, slug), status=status.HTTP_201_CREATED)


class OneCollection(Resource):
    """GET, PATCH and DELETE /v1/rag/collections/{slug}"""

    def get(self, request: Request, slug: str) -> Response:
        row = collection_at(self.access, slug)
        told = {"outdated_documents": outdated(row).count(), "filling": _filling(row)}
        return Response(collection_object(self.access, row.slug) | told)

    def patch(self, request: Request, slug: str) -> Response:
        """Change settings; another embedding model is used once it has embedded everything there is.

        That is at once for ``next_embedding_model``, which is filled beside, and for the previous one.

        With ``?reingest=true``, documents that were cut by other settings are cut anew.
        """
        access = self.access
        reingest = self.flag("reingest")
        row = collection_at(access, slug, Level.MANAGE)
        changed = ChangeSerializer(row, data=request.data, partial=True)
        changed.is_valid(raise_exception=True)
        _check_trust(row, changed.validated_data)
        model = changed.validated_data.pop("embedding_model", row.embedding_model)
        beside = changed.validated_data.pop("next_model", row.next_model)
        if reingest or model != row.embedding_model or beside not in (None, row.next_model):
            self.check_budgets()
        with transaction.atomic():
            changed.save()
            keep_manager(row, self.caller)
        embedding = collection_embed_with(collection=row, model=model) if model != row.embedding_model else None
        filling = _filled_beside(row, beside) if beside != row.next_model else None
        told = {
            "outdated_documents": outdated(row).count(),
            "reingest": _reingested(row) if reingest else None,
            "embedding_job": str(embedding.pk) if embedding else None,
            "filling_job": str(filling.pk) if filling else None,
        }
        return Response(collection_object(access, row.slug) | told)

    def delete(self, request: Request, slug: str) -> Response:
        row = collection_at(self.access, slug, Level.MANAGE)
        collection_delete(collection=row)
        return Response({"id": row.slug, "object": "rag.collection.deleted", "deleted": True})


def described(access: Access) -> QuerySet[Collection]:
    """Return the collections that may be read, with what is told of them."""
    documents = Document.objects.filter(collection=OuterRef("pk")).order_by().values("collection")
    counted = documents.annotate(number=Count("pk")).values("number")
    levels = [
        When(pk__in=Collection.objects.open_to(access, level).values("pk"), then=Value(level.value))
        for level in (Level.MANAGE, Level.WRITE)
    ]
    return (
        open_collections(access)
        .select_related("embedding_model", "previous_model", "next_model")
        .annotate(
            document_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0),
            caller_level=Case(*levels, default=Value(Level.READ.value), output_field=IntegerField()),
        )
    )


def outdated(collection: Collection) -> QuerySet[Document]:
    """Return the documents whose chunks were made by other settings than the collection has now."""
    return Document.objects.outdated(collection)


def collection_object(access: Access, slug: str) -> dict[str, Any]:
    return _shown(described(access).get(slug=slug))


def _shown(row: Collection) -> dict[str, Any]:
    return dict(CollectionSerializer(row).data)


def _check_trust(row: Collection, wished: Mapping[str, Any]) -> None:
    """Refuse to take others' texts for the administrator's own: whoever wrote them could say so."""
    if wished.get("trusted") and not row.trusted:
        raise PermissionDenied(
            "That the texts of a collection are trusted is for an administrator to say, on the collection's page in "
            "admin."
        )


def _filled_beside(row: Collection, model: EmbeddingModel | None) -> IngestionJob | None:
    """Have a model filled beside a collection's own, or None, for which the one there is given up."""
    if model is not None:
        return collection_fill(collection=row, model=model)
    assert row.next_model is not None, "it changes"
    collection_give_up(collection=row, model=row.next_model)
    return None


def _filling(row: Collection) -> dict[str, Any] | None:
    """Return how far the model is that is filled beside."""
    if row.next_model is None:
        return None
    found = filling_of(row, row.next_model)
    job = str(found.job.pk) if found.job else None
    return {"embedding_model": row.next_model.name, "done": found.done, "total": found.total, "job": job}


def keep_manager(collection: Collection, caller: Caller) -> None:
    """See to it that whoever restricts a collection does not lock itself out."""
    access = access_of(caller)
    if Collection.objects.open_to(access, Level.MANAGE).filter(pk=collection.pk).exists():
        return
    Grant.objects.update_or_create(collection=collection, key_id=caller.key_id, defaults={"level": Level.MANAGE.value})


def _reingested(collection: Collection) -> dict[str, Any]:
    """Have outdated documents cut anew and return the batch they are in."""
    batch, jobs = uuid.uuid4(), 0
    for document in outdated(collection).iterator():
        with contextlib.suppress(DocumentNotFound):  # deleted meanwhile
            document_reingest(document=document, batch=batch)
            jobs += 1
    return {"batch": str(batch), "jobs": jobs}
