import asyncio
import json
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge.blocks import BlockKind
from knowledge.collections import collection_create
from knowledge.files import Found, FoundFile, NothingThere, find
from knowledge.foreground import FAILED, HOLD_SECONDS, Errand, Foreground, Listener
from knowledge.management.display import IngestionDisplay
from knowledge.models import Collection, IngestionJob
from knowledge.parsing import ParseFailed, shared_parsers
from knowledge.receiving import Incoming, document_receive, page_receive, sitemap_receive
from knowledge.revisions import Received
from knowledge.threads import in_thread
from routing.exceptions import EndpointError
from routing.management.prepared import installation_prepare
from routing.pool import close_shared_pool

CANCELLED = 130  # what a shell gives for Ctrl-C
LARGEST = 256 * 1024 * 1024
SAMPLED_FILES, SAMPLED_BYTES, SAMPLED_BLOCKS = 8, 4 * 1024 * 1024, 3


class Command(BaseCommand):
    help = "Read files, folders and pages of the web into a collection; what is there already is left as it is."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("collection", help="its short name; made if there is none")
        parser.add_argument("paths", nargs="*", metavar="path", help="a file, a folder, or an http(s) address")
        parser.add_argument("--sitemap", metavar="URL", help="read every page of a sitemap, feed or site")
        parser.add_argument("--language", default="", help="of the files, such as de; else it is recognised")
        parser.add_argument("--title", default="", help="of a single file; else the one it has")
        parser.add_argument(
            "--metadata", action="append", default=[], type=_pair, metavar="KEY=VALUE", help="what searches filter by"
        )
        parser.add_argument("--again", action="store_true", help="read documents again that have not changed")
        parser.add_argument("--background", action="store_true", help="leave the reading to the worker of 'serve'")
        parser.add_argument("--jobs", type=int, default=4, help="documents at a time (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = find(options["paths"])
        except NothingThere as error:
            raise CommandError(str(error)) from error
        count = len(found.files) + len(found.urls) + bool(options["sitemap"])
        if not count:
            raise CommandError("There is nothing to read: name files, folders or addresses, or a --sitemap.")
        if options["title"] and (count > 1 or not found.files):
            raise CommandError("--title is for a single file.")
        installation_prepare(self.stderr.write)
        if found.skipped:
            self.stdout.write(f"{len(found.skipped)} files that hold no text are left out, such as {found.skipped[0]}")
        try:
            self._ingest(self._collection(options, found), found, options)
        except EndpointError as error:
            raise CommandError(error.message) from error

    def _collection(self, options: dict[str, Any], found: Found) -> Collection:
        slug, language = options["collection"], options["language"]
        if collection := Collection.objects.filter(slug=slug).first():
            return collection
        made = collection_create(slug=slug, language=language, sample=_sample(found.files))
        self.stdout.write(f"Made the collection '{slug}', embedded by {made.embedding_model.name}")
        return made

    def _ingest(self, collection: Collection, found: Found, options: dict[str, Any]) -> None:
        errands = _Errands(collection, options)
        if options["background"]:
            for errand in (*errands.of(found), *filter(None, [errands.sitemap])):
                errand.receive()
            self.stdout.write("They are in the queue; the worker of 'manage.py serve' reads them.")
            return
        display = IngestionDisplay(self.stdout)
        listener = Listener(progress=display.progress, outcome=display.outcome)
        display.total = len(found.files) + len(found.urls)
        foreground = Foreground(listener=listener, concurrency=max(1, options["jobs"]))
        try:
            asyncio.run(_run(foreground, errands, found, display))
        except KeyboardInterrupt:
            display.end()
            raise CommandError("Cancelled; what was done stays.", returncode=CANCELLED) from None
        display.end()
        self.stdout.write(display.summary())
        if display.failures:
            raise CommandError(f"{len(display.failures)} of {display.results.total()} could not be read.")


class _Errands:
    """What is to be taken in, as jobs that this process holds, or that the worker has at once."""

    def __init__(self, collection: Collection, options: dict[str, Any]) -> None:
        self._collection = collection
        self._options = options
        self._metadata = dict(options["metadata"])
        self._batch = uuid4()
        self._hold = 0.0 if options["background"] else HOLD_SECONDS

    def of(self, found: Found) -> Iterator[Errand]:
        for file in found.files:
            yield Errand(name=file.source, receive=partial(self._file, file))
        for url in found.urls:
            yield Errand(name=url, receive=partial(self._page, url))

    @property
    def sitemap(self) -> Errand | None:
        url = self._options["sitemap"]
        return Errand(name=url, receive=partial(self._sitemap, url)) if url else None

    def pages(self) -> list[Errand]:
        """Return the pages that a sitemap led to."""
        jobs = IngestionJob.objects.unfinished().filter(batch=self._batch, kind=IngestionJob.Kind.DOCUMENT)
        return [Errand(name=job.url, receive=partial(_same, job)) for job in jobs.order_by("created_at")]

    def _file(self, file: FoundFile) -> Received:
        if file.path.stat().st_size > LARGEST:
            raise OSError(f"it has more than {LARGEST // 1024 // 1024} MB; split it into smaller files")
        incoming = Incoming(
            source=file.source,
            name=file.path.name,
            data=file.path.read_bytes(),
            title=self._options["title"],
            language=self._options["language"],
            metadata=self._metadata,
        )
        return document_receive(
            collection=self._collection,
            incoming=incoming,
            batch=self._batch,
            again=self._options["again"],
            hold=self._hold,
        )

    def _page(self, url: str) -> IngestionJob:
        return page_receive(
            collection=self._collection, url=url, metadata=self._metadata, batch=self._batch, hold=self._hold
        )

    def _sitemap(self, url: str) -> IngestionJob:
        return sitemap_receive(
            collection=self._collection, url=url, metadata=self._metadata, batch=self._batch, hold=self._hold
        )


async def _run(foreground: Foreground, errands: _Errands, found: Found, display: IngestionDisplay) -> None:
    try:
        await foreground.run(errands.of(found))
        await _run_sitemap(foreground, errands, display)
    finally:
        await close_shared_pool()


async def _run_sitemap(foreground: Foreground, errands: _Errands, display: IngestionDisplay) -> None:
    if errands.sitemap is not None:
        # A sitemap is no document: it counts only if it cannot be read.
        quiet = Listener(
            progress=display.progress, outcome=lambda one: display.outcome(one) if one.result == FAILED else None
        )
        await replace(foreground, listener=quiet).run([errands.sitemap])
        pages = await in_thread(errands.pages)()
        display.total += len(pages)
        await foreground.run(pages)


def _same(job: IngestionJob) -> IngestionJob:
    return job


def _sample(files: Iterable[FoundFile]) -> Iterator[str]:
    """Yield some texts of the first files, by which it is seen which languages a collection will hold."""
    small = (file for file in files if file.path.stat().st_size <= SAMPLED_BYTES)
    for file in islice(small, SAMPLED_FILES):
        try:
            parsed = shared_parsers().parse(file.path.read_bytes(), name=file.path.name)
        except (ParseFailed, OSError):
            continue  # it is told when its turn comes
        texts = (block.text for block in parsed.blocks if block.kind is BlockKind.TEXT)
        yield from islice(texts, SAMPLED_BLOCKS)


def _pair(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE; a value that is a number, true or false counts as that."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"'{text}' is not of the form KEY=VALUE")
    try:
        read = json.loads(value)
    except ValueError:
        return key, value
    return key, read if isinstance(read, bool | int | float) else value
