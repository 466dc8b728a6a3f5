from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.conformance import markdown


class Command(BaseCommand):
    help = "Write docs/conformance.md: what becomes of every parameter of chat completions and of responses."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is not current")

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / "docs" / "conformance.md"
        text = markdown()
        current = path.is_file() and path.read_text(encoding="utf-8") == text
        if options["check"] and not current:
            raise CommandError("docs/conformance.md is not current. Run: manage.py conformance")
        if not current:
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"Wrote {path.relative_to(settings.BASE_DIR)}.")
