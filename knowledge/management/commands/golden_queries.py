from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge.goldenfile import BadGoldenQueries, golden_import, golden_lines, golden_read
from knowledge.models import Collection


class Command(BaseCommand):
    help = "Print a collection's golden queries as JSON lines, or take them from a file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("collection", help="its short name")
        parser.add_argument("--import", dest="file", metavar="FILE.jsonl", help="add what the file says")

    def handle(self, *args: Any, **options: Any) -> None:
        collection = Collection.objects.lasting().filter(slug=options["collection"]).first()
        if collection is None:
            known = ", ".join(Collection.objects.lasting().values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no collection '{options['collection']}'. There are: {known}.")
        if options["file"]:
            self._import(collection, Path(options["file"]))
        else:
            for line in golden_lines(collection):
                self.stdout.write(line, ending="")

    def _import(self, collection: Collection, path: Path) -> None:
        try:
            found = golden_import(collection, golden_read(path.read_text(encoding="utf-8-sig").split("\n")))
        except (OSError, UnicodeDecodeError, BadGoldenQueries) as error:
            raise CommandError(f"{path}: {error}") from error
        self.stdout.write(f"{found.created} new, {found.updated} changed, {found.unchanged} as they were.")
        for source in found.unknown:
            self.stdout.write(f"there is no document '{source}' in the collection")
