"""Ingestion by API: take in what came, and wait as long as the client wants to."""

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from channels.db import database_sync_to_async
from django.db.models import Q

from gateway.models import ApiKey
from gateway.ragapi.access import collection_at
from gateway.ragapi.incoming import IngestRequest, Item
from gateway.ragapi.reporting import Report, Taken, report
from knowledge.access import Access, Level
from knowledge.authors import Author
from knowledge.collections import collection_get_or_create
from knowledge.exceptions import CollectionNotFound
from knowledge.models import Collection, IngestionJob
from knowledge.models.collections import STORE_ID
from knowledge.receiving import document_receive, page_receive, sitemap_receive
from routing.exceptions import EndpointError

SOONEST, LATEST = 0.05, 1.0
"""Seconds between two looks at the jobs; each look waits twice as long as the one before."""
SAMPLES, SAMPLE = 5, 2_000
"""Texts, and characters of each, by which the language of a new collection is recognised."""

# A thread of its own for each: what waits for a lock is in nobody else's way.
_in_thread = partial(database_sync_to_async, thread_sensitive=False)


async def ingest(request: IngestRequest, *, access: Access) -> Report:
    """Take in everything that ``request`` holds; one that fails is reported and does not stop the others.

    Raises CollectionNotFound and PermissionDenied before anything is taken in.
    """
    batch = uuid.uuid4()
    collections = await _collections(request, access)
    author = await _author(access)
    taken = [await _received(item, collections[item.collection], batch, author) for item in request.items]
    taken += [await _page(url, number, request, collections, batch) for number, url in enumerate(request.urls)]
    if request.sitemap:
        taken.append(await _sitemap(request, collections, batch))
    jobs = [one.job for one in taken if one.job]
    if request.wait and jobs:
        await _wait_for(jobs, batch, request.wait)
    told: Report = await _in_thread(report)(taken, batch)
    return told


async def _wait_for(jobs: Sequence[uuid.UUID], batch: uuid.UUID, seconds: float) -> None:
    """Wait until the jobs and what they started are finished, no longer than ``seconds``; holds no connection."""
    pause = SOONEST
    try:
        async with asyncio.timeout(seconds):
            while await _unfinished(jobs, batch):
                await asyncio.sleep(pause)
                pause = min(LATEST, pause * 2)
    except TimeoutError:
        pass


# --- steps in the database --------------------------------------------------------------------------------------


@_in_thread
def _collections(request: IngestRequest, access: Access) -> Mapping[str, Collection]:
    """Return the collections that are written to, made where they are missing."""
    slugs = dict.fromkeys(item.collection for item in request.items)
    if request.urls or request.sitemap:
        slugs[request.collection] = None
    found = {slug: _known(access, slug) for slug in slugs}  # all of them are looked at before one is made
    for slug, row in found.items():
        if row is None:
            with suppress(CollectionNotFound):  # somebody else makes it at this moment
                collection_get_or_create(slug=slug, access=access, sample=_sample(request.items, slug))
            found[slug] = collection_at(access, slug, Level.WRITE)
    return {slug: row for slug, row in found.items() if row is not None}


def _known(access: Access, slug: str) -> Collection | None:
    try:
        return collection_at(access, slug, Level.WRITE)
    except CollectionNotFound:
        is_free = not Collection.objects.named([slug]).exists() and not STORE_ID.fullmatch(slug)
        if is_free and access.permits(slug, Level.MANAGE):
            return None
    return collection_at(access, slug, Level.WRITE)  # somebody made it meanwhile, or to this caller it is not there


def _sample(items: Iterable[Item], slug: str) -> list[str]:
    own = [item.incoming.data for item in items if item.collection == slug]
    return [text for data in own[:SAMPLES] if (text := as_text(data))]


def as_text(data: bytes) -> str:
    """Return the beginning of what looks like a text, "" of anything else."""
    beginning = data[: SAMPLE * 4]
    return "" if b"\0" in beginning or beginning.startswith(b"%PDF") else beginning.decode("utf-8", "ignore")[:SAMPLE]


@_in_thread
def _author(access: Access) -> Author:
    """Return who asks by the name of their key."""
    name = ApiKey.objects.filter(pk=access.key_id).values_list("name", flat=True).first() if access.key_id else ""
    return Author(name=name or "")


@_in_thread
def _received(item: Item, collection: Collection, batch: uuid.UUID, author: Author) -> Taken:
    taken = partial(Taken, place=item.place, source=item.incoming.source, collection=item.collection)
    try:
        incoming = replace(item.incoming, author=author)
        received = document_receive(collection=collection, incoming=incoming, batch=batch)
    except EndpointError as error:
        return taken(error=error)
    job = received.job.pk if received.job else None
    return taken(document=received.document.pk, job=job, result=received.result)


@_in_thread
def _page(
    url: str, number: int, request: IngestRequest, collections: Mapping[str, Collection], batch: uuid.UUID
) -> Taken:
    taken = partial(Taken, place=f"urls[{number}]", source=url, collection=request.collection)
    try:
        job = page_receive(collection=collections[request.collection], url=url, metadata=request.metadata, batch=batch)
    except EndpointError as error:
        return taken(error=error)
    return taken(document=job.document_id, job=job.pk)


@_in_thread
def _sitemap(request: IngestRequest, collections: Mapping[str, Collection], batch: uuid.UUID) -> Taken:
    taken = partial(Taken, place="sitemap", source=request.sitemap, collection=request.collection)
    collection = collections[request.collection]
    try:
        job = sitemap_receive(collection=collection, url=request.sitemap, metadata=request.metadata, batch=batch)
    except EndpointError as error:
        return taken(error=error)
    return taken(job=job.pk)


@_in_thread
def _unfinished(jobs: Sequence[uuid.UUID], batch: uuid.UUID) -> bool:
    return IngestionJob.objects.unfinished().filter(Q(batch=batch) | Q(pk__in=jobs)).exists()
