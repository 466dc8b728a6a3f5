from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge.archive import Imported, collection_import, import_plan
from routing.exceptions import EndpointError
from routing.management.prepared import installation_prepare


class Command(BaseCommand):
    help = "Make a collection of a file that export_collection has written; what is there is never overwritten."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE.zip")
        parser.add_argument("--slug", default="", help="its short name here; else the one it had")
        parser.add_argument("--dry-run", action="store_true", help="look through the file, and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        installation_prepare(self.stderr.write)
        try:
            with Path(options["file"]).open("rb") as file:
                if options["dry_run"]:
                    self._tell(import_plan(file=file, slug=options["slug"]), "would be made")
                else:
                    self._tell(collection_import(file=file, slug=options["slug"]), "is made")
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from error
        except EndpointError as error:
            raise CommandError(error.message) from error

    def _tell(self, imported: Imported, what: str) -> None:
        counts = (
            f"{imported.documents:,} documents, {imported.chunks:,} chunks, {imported.golden_queries:,} golden queries"
        )
        self.stdout.write(f"The collection '{imported.slug}' {what}: {counts}.")
        for note in imported.notes:
            self.stdout.write(note)
