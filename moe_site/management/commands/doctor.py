import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from moe_site.doctor.finding import Finding, Level
from moe_site.logs import redacted
from routing.backends import codec

WIDTH = 26


class Command(BaseCommand):
    help = "Look at everything this installation needs, and say what to do. Exits with 1 when something is wrong."
    requires_system_checks = ()  # it reports them itself, instead of stopping at the first error

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="where 'serve' listens (default: %(default)s)")
        parser.add_argument("--json", action="store_true", help="write one JSON object, on the last line")
        parser.add_argument(
            "--fix-nothing",
            action="store_true",
            help="only look; without it, files of ours that others can read are closed",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from moe_site.doctor.examination import examined

        found = examined(port=options["port"], fix=not options["fix_nothing"])
        errors, warnings = (sum(one.level is level for one in found) for level in (Level.ERROR, Level.WARNING))
        if options["json"]:
            told = {
                "ok": not errors,
                "errors": errors,
                "warnings": warnings,
                "findings": [asdict(one) for one in found],
            }
            self.stdout.write(redacted(codec.dumps(told).decode()))
        else:
            for finding in found:
                self._write(finding)
            self.stdout.write(f"\n{_counted(errors, 'error')}, {_counted(warnings, 'warning')}.")
        self.stdout.flush()
        if errors:
            sys.exit(1)

    def _write(self, finding: Finding) -> None:
        style = {Level.OK: self.style.SUCCESS, Level.WARNING: self.style.WARNING, Level.ERROR: self.style.ERROR}
        level = style[finding.level](f"{finding.level:<8}")
        told = f" ({finding.id})" if finding.id else ""
        self.stdout.write(redacted(f"{level} {finding.about:<{WIDTH}} {finding.message}{told}"))
        if finding.advice:
            self.stdout.write(redacted(f"{'':9}{'':{WIDTH}} → {finding.advice}"))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
