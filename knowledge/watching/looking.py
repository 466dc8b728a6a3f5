"""One look at a source: what is new or changed is received, what is gone is marked, and how it went is written down."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.utils import timezone

from knowledge.authors import Author
from knowledge.equipment import Equipment
from knowledge.models import Document, WatchedSource
from knowledge.receiving import Incoming, document_receive
from knowledge.threads import in_thread
from knowledge.watching.findings import Changes, ItemFailed, Known, Listing, SourceFailed, changes, loss
from knowledge.watching.folders import Folder
from knowledge.watching.pages import Pages
from knowledge.watching.patterns import Pattern
from knowledge.watching.places import RepositoryAddress, allowed_folder, source_check
from knowledge.watching.repositories import Repository
from routing.backends.fetch import Allowed, FetchFailed, checked_addresses
from routing.exceptions import EndpointError
from routing.outages import is_outage

logger = logging.getLogger("knowledge")

LOOK_SECONDS = 1_500.0
"""How long one look goes on reading documents; the next one goes on with the others."""
SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a look went: ``counts`` by what became of documents, ``notes`` in whole sentences, ``seen`` for the next.

    ``error`` says why it was no good look; where nothing was done for it, ``seen`` is None.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seen: Mapping[str, str] | None = None
    error: str = ""

    @property
    def sentence(self) -> str:
        told = [f"{number:,} {what}" for what, number in self.counts.items() if number]
        first = f"{', '.join(told)}." if told else "Nothing had changed."
        return " ".join((first, *self.notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a look would find now, and why it would not believe that so much is gone."""

    changes: Changes
    notes: tuple[str, ...]
    loss: str


class Place(Protocol):
    """Where the documents of a source are; the methods raise SourceFailed and ItemFailed."""

    @property
    def reason(self) -> str: ...

    async def listing(self) -> Listing: ...

    async def bring(self, source: str) -> Incoming | None: ...


async def look(source: WatchedSource, *, equipment: Equipment) -> Look:
    """Look at a source, receive what is new or changed, and mark what is gone.

    What is wrong with the source is told by the Look. Raises what the database raises if that is not there.
    """
    try:
        place = await _place_of(source, equipment)
        listing = await place.listing()
        known = await in_thread(_known)(source)
        found = changes(listing, known)
        if (sentence := loss(len(found.gone), known)) and not source.accepts_loss:
            raise SourceFailed(sentence)
        return await _Reading(source, place, listing, known).run(found)
    except SourceFailed as error:
        return Look(error=str(error))
    except EndpointError as error:  # the collection expired, or is gone
        return Look(error=error.message)
    except Exception as error:
        if is_outage(error):
            raise
        logger.error("looking at a source went wrong inside source=%s", source.pk, exc_info=error)
        return Look(error=f"It went wrong inside ({type(error).__name__}); the server's log says more.")


async def preview(source: WatchedSource, *, equipment: Equipment) -> Preview:
    """Return what a look would find, and read none of it. Raises SourceFailed."""
    place = await _place_of(source, equipment)
    listing = await place.listing()
    known = await in_thread(_known)(source)
    found = changes(listing, known)
    return Preview(changes=found, notes=listing.notes, loss=loss(len(found.gone), known))


class _Reading:
    """The documents of one look, one after the other."""

    def __init__(self, source: WatchedSource, place: Place, listing: Listing, known: Known) -> None:
        self._source = source
        self._place = place
        self._listing = listing
        self._known = known
        self._counts: Counter[str] = Counter(created=0, updated=0, gone=0, back=0)
        self._problems: list[str] = []
        self._gone: list[str] = []
        self._seen = {item: stamp for item, stamp in known.seen.items() if item in listing.stamps}

    async def run(self, found: Changes) -> Look:
        ends, unread = time.monotonic() + LOOK_SECONDS, set(found.to_read)
        for item in found.to_read:
            if time.monotonic() > ends:
                break
            try:
                await self._read(item)
            except ItemFailed as error:
                self._failed(item, error)
            else:
                self._seen[item] = self._listing.stamps[item]
                unread.discard(item)
        back = [item for item in found.back if item not in unread]
        left = len(unread) - len(self._problems) - len(self._gone)
        gone = {*found.gone, *(item for item in self._gone if self._known.documents.get(item) is False)}
        doubt = "" if self._source.accepts_loss else loss(len(gone), self._known)
        if doubt:
            gone = set(found.gone)
        await in_thread(_mark)(self._source, gone, back)
        self._counts["gone"], self._counts["back"] = len(gone), len(back)
        notes = (*self._listing.notes, *self._notes(left))
        return Look(counts=self._told(), notes=notes, seen=self._seen, error=doubt)

    async def _read(self, item: str) -> None:
        incoming = await self._place.bring(item)
        if incoming is None:
            return
        author = Author(name=self._source.location)
        ready = replace(incoming, author=author, reason=self._place.reason, watch=self._source.pk)
        self._counts[await in_thread(_receive)(self._source, ready)] += 1

    def _failed(self, item: str, error: ItemFailed) -> None:
        if error.gone and item in self._known.documents:
            self._gone.append(item)
            self._seen.pop(item, None)
        else:
            self._problems.append(f"“{item}”: {error}")

    def _told(self) -> Mapping[str, int]:
        return {
            "new": self._counts["created"],
            "changed": self._counts["updated"],
            "not there any more": self._counts["gone"],
            "there again": self._counts["back"],
        }

    def _notes(self, left: int) -> Iterable[str]:
        if left:
            yield f"The time was up; {left:,} more are looked at the next time."
        for problem in self._problems[:SHOWN_PROBLEMS]:
            yield problem if problem.endswith(".") else f"{problem}."
        if len(self._problems) > SHOWN_PROBLEMS:
            yield f"… and {len(self._problems) - SHOWN_PROBLEMS:,} more could not be read."


# --- where it is --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _InThread:
    """A place that blocks, asked in threads."""

    place: Folder | Repository

    @property
    def reason(self) -> str:
        return self.place.reason

    async def listing(self) -> Listing:
        try:
            return await asyncio.to_thread(self.place.listing)
        except asyncio.CancelledError:
            self.place.stop()
            raise

    async def bring(self, source: str) -> Incoming | None:
        return await asyncio.to_thread(self.place.bring, source)


@dataclass(frozen=True, slots=True)
class _OnTheWeb:
    place: Pages
    marks: Callable[[str], Awaitable[tuple[str, str]]]

    @property
    def reason(self) -> str:
        return self.place.reason

    async def listing(self) -> Listing:
        return await self.place.listing()

    async def bring(self, source: str) -> Incoming | None:
        etag, last_modified = await self.marks(source)
        return await self.place.bring(source, etag=etag, last_modified=last_modified)


async def _place_of(source: WatchedSource, equipment: Equipment) -> Place:
    """Return where a source is; raises SourceFailed for what may not be looked at."""
    source_check(kind=source.kind, location=source.location, branch=source.branch)
    pattern = Pattern.parse(source.pattern)
    match WatchedSource.Kind(source.kind):
        case WatchedSource.Kind.FOLDER:
            return _InThread(Folder(allowed_folder(source.location), pattern))
        case WatchedSource.Kind.GIT:
            return _InThread(await _repository(source, pattern))
        case kind:
            is_feed = kind == WatchedSource.Kind.FEED
            pages = Pages(equipment.web, source.location, pattern=pattern, is_feed=is_feed)
            return _OnTheWeb(pages, lambda item: in_thread(_marks)(source, item))


def clones_folder() -> Path:
    """Return where repositories are kept between looks."""
    return Path(settings.MOE_DATA_DIR) / "watched"


async def _repository(source: WatchedSource, pattern: Pattern) -> Repository:
    address = RepositoryAddress.parse(source.location)
    addresses = []
    if address.folder is None:
        try:
            found = await checked_addresses(address.host, allowed=Allowed.parse(settings.FETCH_ALLOWED_HOSTS))
        except FetchFailed as error:
            raise SourceFailed(f"The repository cannot be fetched: {error}.") from error
        addresses = [str(one) for one in found]
    return Repository(
        address,
        branch=source.branch,
        pattern=pattern,
        folder=clones_folder() / str(source.pk),
        addresses=addresses,
    )


# --- steps in the database ----------------------------------------------------------------------------------------


def _known(source: WatchedSource) -> Known:
    rows = Document.objects.filter(watch=source).order_by("pk").values_list("source", "missing_since")
    return Known(seen=source.seen, documents={item: since is not None for item, since in rows})


def _marks(source: WatchedSource, item: str) -> tuple[str, str]:
    """Return what a page's server gave to recognise it by; nothing where there is no content it would be of."""
    rows = Document.objects.filter(collection=source.collection_id, source=item, revisions__isnull=False)
    return rows.values_list("etag", "last_modified").first() or ("", "")


def _receive(source: WatchedSource, incoming: Incoming) -> str:
    """Receive a document and return what became of it. Raises ItemFailed."""
    others = Document.objects.filter(collection=source.collection_id, source=incoming.source, watch__isnull=False)
    if other := others.exclude(watch=source).select_related("watch").first():
        raise ItemFailed(f"it comes from {other.watch} already, under the same name")
    try:
        return document_receive(collection=source.collection, incoming=incoming).result
    except EndpointError as error:
        if error.code in ("collection_expired", "collection_not_found"):
            raise
        raise ItemFailed(error.message) from error


def _mark(source: WatchedSource, gone: Iterable[str], back: Iterable[str]) -> None:
    """Note which documents are not in their source any more, or are again; each by itself, so that none waits."""
    mine = Document.objects.filter(watch=source)
    now = timezone.now()
    for item in gone:
        mine.filter(source=item, missing_since=None).update(missing_since=now)
    for item in back:
        mine.filter(source=item).update(missing_since=None)
