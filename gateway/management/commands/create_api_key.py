from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from gateway.models import ApiKey


class Command(BaseCommand):
    help = "Create an API key and print it, alone on the last line: it is not shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="who or what uses the key")
        parser.add_argument("--group", default="", help="whose it is; rules may look at it")
        parser.add_argument("--days", type=int, help="the key expires after so many days")
        parser.add_argument("--note", default="", help="for your colleagues")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        expires_at = timezone.now() + timedelta(days=days) if days is not None else None
        _, text = ApiKey.objects.issue(
            name=options["name"], group=options["group"].strip(), expires_at=expires_at, note=options["note"]
        )
        self.stdout.write(text)
