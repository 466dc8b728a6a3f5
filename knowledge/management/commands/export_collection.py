from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge.archive import collection_export_to
from knowledge.models import Collection


class Command(BaseCommand):
    help = "Write a collection into one file: documents with their history, edits, vectors and golden queries."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("collection", help="its short name")
        parser.add_argument("file", metavar="FILE.zip", help="where to; nothing that is there is overwritten")

    def handle(self, *args: Any, **options: Any) -> None:
        slug, path = options["collection"], Path(options["file"])
        collection = Collection.objects.lasting().filter(slug=slug).first()
        if collection is None:
            known = ", ".join(Collection.objects.lasting().values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no collection '{slug}'. There are: {known}.")
        if path.exists():
            raise CommandError(f"{path} is there already. Choose another name, or remove it.")
        try:
            manifest = collection_export_to(collection=collection, path=path)
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error}") from error
        counts = ", ".join(f"{manifest.rows(name):,} {name}" for name in ("documents", "revisions", "chunks", "edits"))
        self.stdout.write(f"{counts} in {path.stat().st_size:,} bytes.")
