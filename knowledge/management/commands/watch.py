import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge.equipment import shared_equipment
from knowledge.models import WatchedSource
from knowledge.watching import Look, preview
from knowledge.watching.findings import SourceFailed
from knowledge.watching.looking import Preview
from knowledge.watching.schedule import Claim, claim, look_claimed

SHOWN = 20


class Command(BaseCommand):
    help = "List the watched sources, or look at one now; the worker of 'serve' reads what was found."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", nargs="?", type=int, help="of a source; without it, all are listed")
        parser.add_argument("--dry-run", action="store_true", help="tell what a look would find, and read nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["id"] is None:
            self._list()
            return
        source = WatchedSource.objects.select_related("collection").filter(pk=options["id"]).first()
        if source is None:
            raise CommandError(f"There is no watched source {options['id']}. Without a number, this lists all.")
        if options["dry_run"]:
            self._preview(source)
        elif (held := claim(source)) is None:
            raise CommandError("Somebody looks at it just now. Try again in a minute.")
        else:
            found = asyncio.run(_look(held))
            if found.error:
                raise CommandError(found.error)
            self.stdout.write(found.sentence)

    def _list(self) -> None:
        sources = WatchedSource.objects.select_related("collection")
        if not sources:
            self.stdout.write("No source is watched. Add one in admin (Watched sources).")
        for source in sources:
            state = "off" if not source.enabled else source.error or source.outcome or "not looked at yet"
            self.stdout.write(f"{source.pk}  {source.kind}  {source.location}  → {source.collection.slug}: {state}")

    def _preview(self, source: WatchedSource) -> None:
        try:
            found = asyncio.run(_preview(source))
        except SourceFailed as error:
            raise CommandError(str(error)) from error
        for name in ("new", "changed", "perhaps", "gone", "back"):
            items = getattr(found.changes, name)
            self.stdout.write(f"{name}: {len(items):,}")
            for item in items[:SHOWN]:
                self.stdout.write(f"  {item}")
        for note in filter(None, (*found.notes, found.loss)):
            self.stdout.write(note)


async def _look(held: Claim) -> Look:
    return await look_claimed(held, equipment=shared_equipment())


async def _preview(source: WatchedSource) -> Preview:
    return await preview(source, equipment=shared_equipment())
