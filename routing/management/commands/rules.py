import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.models import Expert
from routing.rulebook import check
from routing.rulefile import MAX_BYTES, RuleFileError, rules_export, rules_import
from routing.ruleset import rules_all


class Command(BaseCommand):
    help = "Write the routing rules to a file, read them back, and look for what is wrong with them."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="action")
        export = actions.add_parser("export", help="write every rule as YAML")
        export.add_argument("file", nargs="?", default="-", help="where to; - or nothing for the screen")
        reading = actions.add_parser("import", help="create and update rules from YAML, all of them or none")
        reading.add_argument("file", help="an export; - for standard input")
        reading.add_argument("--replace", action="store_true", help="delete the rules that the file does not have")
        reading.add_argument("--dry-run", action="store_true", help="only say what would change")
        actions.add_parser("check", help="point out rules that conflict, are never tried, or cannot work")

    def handle(self, *args: Any, **options: Any) -> None:
        {"export": self._export, "import": self._import, "check": self._check}[options["action"]](options)

    def _export(self, options: dict[str, Any]) -> None:
        text = rules_export()
        if options["file"] == "-":
            self.stdout.write(text, ending="")
            return
        try:
            Path(options["file"]).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"Cannot write {options['file']}: {error.strerror}.") from error

    def _import(self, options: dict[str, Any]) -> None:
        try:
            result = rules_import(_read(options["file"]), replace=options["replace"], dry_run=options["dry_run"])
        except RuleFileError as error:
            raise CommandError(f"{error.message}\nNothing was changed.") from error
        for what in ("created", "updated", "deleted"):
            for name in getattr(result, what):
                self.stdout.write(f"{what}: {name}")
        self.stdout.write(f"{result}{' (dry run: nothing was changed)' if options['dry_run'] else ''}")

    def _check(self, options: dict[str, Any]) -> None:
        rules = rules_all()
        disabled = Expert.objects.filter(enabled=False).values_list("slug", flat=True)
        findings = check(rules, disabled_experts=frozenset(disabled))
        for finding in findings:
            self.stdout.write(finding.message)
        if findings:
            raise CommandError(f"{len(findings)} to look at, in {len(rules)} rules.")
        self.stdout.write(f"Nothing is wrong with the {len(rules)} rules.")


def _read(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1).decode()
        with Path(name).open("rb") as source:
            return source.read(MAX_BYTES + 1).decode()
    except OSError as error:
        raise CommandError(f"Cannot read {name}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{name} is no text in UTF-8.") from error
