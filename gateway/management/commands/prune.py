import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway.retention import perishables


class Command(BaseCommand):
    help = (
        "Delete everything that is older than it is kept: decisions, records of usage and their sums, texts, cached "
        "answers and vectors, ended ingestion jobs. The settings that end in _RETENTION_DAYS say how long that is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="tell how much that would be, and delete nothing")
        parser.add_argument("--json", action="store_true", help="one object, of how many rows of each kind")

    def handle(self, *args: Any, **options: Any) -> None:
        told: dict[str, int] = {}
        for kind in perishables():
            told[kind.name] = kind.count() if options["dry_run"] else kind.delete()
            if not options["json"]:
                self.stdout.write(f"{told[kind.name]:>12,}  {kind.name}")
        if options["json"]:
            self.stdout.write(json.dumps(told))
        elif options["dry_run"]:
            self.stdout.write("Nothing was deleted. Run it without --dry-run to delete them.")
