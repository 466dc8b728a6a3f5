from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from knowledge.flagging import flags_renew_all
from knowledge.models import Chunk, Collection


class Command(BaseCommand):
    help = (
        "Look at all chunks again for what speaks to a model rather than to people, as is done when they are written. "
        "Do it once for chunks that are older than that. Takes about 20 seconds for each hundred thousand chunks."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--collection", default="", help="Only of this collection, by its slug.")

    def handle(self, *args: Any, **options: Any) -> None:
        collection = None
        if slug := options["collection"]:
            collection = Collection.objects.filter(slug=slug).first()
            if collection is None:
                raise CommandError(f"There is no collection '{slug}'.")
        changed = flags_renew_all(collection.pk if collection else None)
        rows = Chunk.objects.flagged()
        flagged = rows.filter(collection=collection).count() if collection else rows.count()
        self.stdout.write(
            f"{changed:,} chunks show something else than before; {flagged:,} that are found are flagged."
        )
