"""Rows of a knowledge base as they are once documents were read, without reading any; and what pages say in words."""

import hashlib
import html
import re

from django.contrib.auth.models import Permission, User

from knowledge.embedding import MINILM
from knowledge.models import (
    Chunk,
    ChunkState,
    Collection,
    Document,
    DocumentRevision,
    DocumentStatus,
    Embedding,
    EmbeddingModel,
    EmbeddingSource,
    IngestionJob,
    RevisionState,
    StoredContent,
)
from knowledge.postings import chunk_terms, collection_tally, postings_write


def model_of(name=MINILM, **fields):
    defaults = {
        "source": EmbeddingSource.IN_PROCESS,
        "dimensions": 384,
        "max_tokens": 254,
        "languages": ["en"],
        "floor": 0.1,
        "ceiling": 0.6,
    }
    return EmbeddingModel.objects.get_or_create(name=name, defaults=defaults | fields)[0]


def collection_of(slug="handbook", **fields):
    fields.setdefault("embedding_model", model_of())
    return Collection.objects.create(slug=slug, **{"name": slug.title()} | fields)


def content_of(data):
    row, _ = StoredContent.objects.get_or_create(
        sha256=hashlib.sha256(data).hexdigest(), defaults={"data": data, "size": len(data)}
    )
    return row


def document_of(collection, source="leave.md", texts=("Everyone has thirty days of leave.",), vectors=None, **fields):
    """Make a document that is found: its live revision, its chunks (``vectors`` are theirs) and their postings."""
    fields = {"title": source.rpartition(".")[0].title(), "status": DocumentStatus.READY, "language": "en"} | fields
    document = Document.objects.create(collection=collection, source=source, revision=1, **fields)
    chunks = Chunk.objects.bulk_create(
        Chunk(
            collection=collection,
            document=document,
            revision=1,
            ordinal=ordinal,
            state=ChunkState.LIVE,
            text=text,
            heading="Chapter 1",
            page=ordinal + 1,
            tokens=len(text.split()),
            language="en",
            hash=hashlib.sha256(text.encode()).hexdigest(),
        )
        for ordinal, text in enumerate(texts)
    )
    DocumentRevision.objects.create(
        document=document,
        number=1,
        content=content_of("\n\n".join(texts).encode()),
        name=source,
        state=RevisionState.LIVE,
        recipe=collection.recipe,
        chunk_ids=[chunk.pk for chunk in chunks],
    )
    terms = {
        chunk.pk: chunk_terms(title=document.title, heading=chunk.heading, text=chunk.text, language="en")
        for chunk in chunks
    }
    collection_tally(collection.pk, postings_write(collection.pk, terms))
    Embedding.objects.bulk_create(
        Embedding(
            chunk=chunk,
            embedding_model=collection.embedding_model,
            collection=collection,
            findable=True,
            vector=vectors[chunk.ordinal] if vectors else [1.0] + [0.0] * 383,
        )
        for chunk in chunks
    )
    Collection.objects.filter(pk=collection.pk).update(languages=["en"])
    collection.refresh_from_db()
    return document


def job_of(collection, document=None, **fields):
    return IngestionJob.objects.create(collection=collection, document=document, **fields)


def signed_in(client, *permissions):
    user = User.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def words_of(response):
    """Return what a person reads on a page."""
    page = re.sub(r"(?s)<(style|script).*?</\1>", " ", response.content.decode())
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))
