import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.timezone import localtime
from rest_framework.utils.encoders import JSONEncoder

from gateway.keyring.serializers import KeySerializer
from gateway.models import ApiKey

COLUMNS = ("begins with", "state", "name", "group", "owner", "expires", "last used")


class Command(BaseCommand):
    help = "List API keys: how they begin, whose they are, and when they were used last."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="everything that is known of each, one a line")

    def handle(self, *args: Any, **options: Any) -> None:
        keys = ApiKey.objects.select_related("use", "owner")
        if options["json"]:
            for key in keys:
                self.stdout.write(json.dumps(KeySerializer(key).data, cls=JSONEncoder, ensure_ascii=False))
            return
        rows = [COLUMNS, *map(_cells, keys)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cells(key: ApiKey) -> tuple[str, ...]:
    use = getattr(key, "use", None)
    return (
        f"{key.prefix}…",
        key.state,
        key.name,
        key.group or "-",
        str(key.owner or "-"),
        f"{localtime(key.expires_at):%Y-%m-%d}" if key.expires_at else "never",
        f"{localtime(use.last_used_at):%Y-%m-%d %H:%M}" if use else "-",
    )
