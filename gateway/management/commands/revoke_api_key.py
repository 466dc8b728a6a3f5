from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway.management.keynames import key_beginning


class Command(BaseCommand):
    help = "Have an API key refused from now on, in every process, for good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="how the key begins, as list_api_keys shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        key = key_beginning(options["prefix"])
        was = key.state
        key.revoke()
        self.stdout.write(f"The key of {key} was revoked before." if was == "revoked" else f"The key {key} is revoked.")
