"""Collections made and deleted."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from knowledge.access import Access, Level
from knowledge.contents import contents_forget
from knowledge.documents import job_cancel
from knowledge.embedding import MINILM, MULTILINGUAL
from knowledge.exceptions import CollectionNotFound
from knowledge.models import Collection, Document, EmbeddingModel, IngestionJob, StoredContent
from knowledge.models.collections import STORE_ID
from routing.exceptions import BadRequest
from routing.language import language_of

SAMPLES = 25
ENGLISH_SHARE = 0.8
"""From this share of English texts on a collection gets the model that knows English alone, and is the better at it."""
_SLUG = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9_]{0,99}")


def collection_create(
    *,
    slug: str,
    name: str = "",
    description: str = "",
    language: str = "",
    sample: Iterable[str] = (),
    **settings: Any,
) -> Collection:
    """Make a collection; ``settings`` are further fields of it.

    Without an ``embedding_model`` among them it gets the one that suits ``language``, or else the languages of
    ``sample``, texts it is to hold. Raises BadRequest for a name that is taken or cannot be one, and for settings
    that make no sense.
    """
    slug_check(slug)
    likely = language or _language_of(sample)
    settings.setdefault("embedding_model", embedding_model_for(likely))
    collection = Collection(
        slug=slug,
        name=name or slug,
        description=description,
        language=language,
        languages=[likely] if likely else [],
        **settings,
    )
    try:
        collection.full_clean(validate_unique=False)
        with transaction.atomic():
            collection.save(force_insert=True)
    except ValidationError as error:
        raise BadRequest(" ".join(error.messages)) from error
    except IntegrityError as error:
        raise BadRequest(f"There is a collection '{slug}' already. Choose another name.", param="slug") from error
    return collection


def slug_check(slug: str) -> None:
    """Raise BadRequest for what cannot be the name of a collection."""
    if not _SLUG.fullmatch(slug) or STORE_ID.fullmatch(slug):
        raise BadRequest(
            f"A collection cannot be called '{slug[:100]}'. Use up to 100 letters, digits, '-' and '_'.", param="slug"
        )


def collection_get_or_create(*, slug: str, access: Access, sample: Iterable[str] = ()) -> Collection:
    """Return the collection that documents are to go into, made with default settings if there is none.

    Raises CollectionNotFound for one that ``access`` may not add to, or may not make, and BadRequest for what cannot be
    a name.
    """
    for _ in range(2):  # it may be made by somebody else in between
        if (found := Collection.objects.named([slug]).first()) or STORE_ID.fullmatch(slug):
            if found and Collection.objects.open_to(access, Level.WRITE).filter(pk=found.pk).exists():
                return found
            raise _not_open(slug)
        if not access.permits(slug, Level.MANAGE):
            raise _not_open(slug)
        try:
            return collection_create(slug=slug, sample=sample)
        except BadRequest:
            if not Collection.objects.filter(slug=slug).exists():
                raise
    raise CollectionNotFound(f"The collection '{slug}' was deleted meanwhile.", param="collection")


def _not_open(slug: str) -> CollectionNotFound:
    return CollectionNotFound(
        f"There is no collection '{slug}' that you may add documents to. Ask for the right, or choose another name.",
        param="collection",
    )


def collection_delete(*, collection: Collection) -> None:
    """Delete a collection with everything in it, and the jobs that were to add to it."""
    for job in IngestionJob.objects.unfinished().filter(collection=collection):
        job_cancel(job=job)
    for _ in range(2):
        try:
            return _delete(collection)
        except IntegrityError:  # a document came in between; it is gone with the next try
            continue
    return _delete(collection)


def embedding_model_for(language: str) -> EmbeddingModel:
    """Return which model of this process suits ``language``, an ISO 639-1 code, "" if it is not known.

    Raises BadRequest if an administrator deleted it and there is no other that knows the language.
    """
    usual = MINILM if language == "en" else MULTILINGUAL
    found = (
        EmbeddingModel.objects.filter(name=usual).first()
        or EmbeddingModel.objects.filter(languages=[]).first()
        or (EmbeddingModel.objects.that_know(language).first() if language else None)
    )
    if found is None:
        raise BadRequest("There is no embedding model for the collection. Add one in the admin, or name one.")
    return found


def _language_of(sample: Iterable[str]) -> str:
    languages = Counter(map(language_of, islice(sample, SAMPLES)))
    del languages[""]
    if not languages:
        return ""
    if languages["en"] >= ENGLISH_SHARE * languages.total():
        return "en"
    return next(language for language, _ in languages.most_common() if language != "en")


def _delete(collection: Collection) -> None:
    with transaction.atomic():
        documents = Document.objects.filter(collection=collection)
        list(documents.select_for_update().order_by("pk").values_list("pk"))
        contents = list(
            StoredContent.objects.filter(revisions__document__collection=collection)
            .distinct()
            .values_list("pk", flat=True)
        )
        with connection.cursor() as cursor:
            # The same the ORM would do, without reading every chunk into memory first.
            for statement in (
                "DELETE FROM knowledge_posting WHERE collection_id = %s",
                "DELETE FROM knowledge_embedding WHERE collection_id = %s",
                "DELETE FROM knowledge_chunk WHERE collection_id = %s",
            ):
                cursor.execute(statement, [collection.pk])
        Collection.objects.filter(pk=collection.pk).delete()
        contents_forget(contents)
