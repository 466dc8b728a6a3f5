from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.management.keynames import duration, key_beginning
from gateway.models.keys import LONGEST_OVERLAP
from routing.exceptions import EndpointError


class Command(BaseCommand):
    help = (
        "Give an API key a new text and print that, alone on the last line: it is not shown again. The text it had "
        "works on for a while, so that its users can be changed one by one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="how the key begins, as list_api_keys shows it")
        parser.add_argument(
            "--overlap",
            type=duration,
            default=timedelta(hours=24),
            help="how long the former text works, as 30m, 24h or 7d, at most 30d; 0: no longer (default: 24h)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        key, overlap = key_beginning(options["prefix"]), options["overlap"]
        if overlap > LONGEST_OVERLAP:
            raise CommandError(f"--overlap must be at most {LONGEST_OVERLAP.days}d. Give a shorter one.")
        former, older = key.prefix, key.previous_prefix if key.former_until else ""
        try:
            text = key.rotate(overlap)
        except EndpointError as error:
            raise CommandError(error.message) from error
        until = f"until {key.former_until:%Y-%m-%d %H:%M %Z}" if key.former_until else "no longer"
        ended = f" {older}…, the one before that, works no longer." if older else ""
        self.stderr.write(f"The key of {key.name} has a new text; {former}… works {until}.{ended}")
        self.stdout.write(text)
