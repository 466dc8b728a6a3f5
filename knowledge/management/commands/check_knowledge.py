from typing import Any

from django.core.management.base import BaseCommand, CommandError

from knowledge.consistency import inconsistencies


class Command(BaseCommand):
    help = "Look whether documents, chunks, vectors and postings agree. Takes seconds for each hundred thousand chunks."

    def handle(self, *args: Any, **options: Any) -> None:
        found = inconsistencies()
        for sentence in found:
            self.stdout.write(sentence)
        if found:
            raise CommandError("The knowledge base is not consistent. Please report it with the lines above.")
        self.stdout.write(self.style.SUCCESS("The knowledge base is consistent."))
