import logging
from typing import Any

from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandParser

from moe_site.serve import Supervisor

logger = logging.getLogger("moe_site")


class Command(BaseCommand):
    help = "Start everything: the database and models where none is configured, and the endpoint itself."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port, 0 for any free one (default: %(default)s)")
        parser.add_argument("--workers", type=int, default=1, help="processes that answer (default: %(default)s)")

    def check(self, **options: Any) -> None:  # type: ignore[override]
        """Tell warnings in the log, as this command goes on; raises SystemCheckError as others do."""
        found = run_checks(databases=options.get("databases"))
        if any(one.is_serious() and not one.is_silenced() for one in found):
            super().check(**options)
        for one in found:
            if not one.is_silenced():
                logger.log(one.level, "%s (%s) %s", one.msg, one.id, one.hint or "")

    def handle(self, *args: Any, **options: Any) -> None:
        supervisor = Supervisor(
            host=options["host"], port=options["port"], workers=max(1, options["workers"]), write=self._say
        )
        supervisor.run()

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
