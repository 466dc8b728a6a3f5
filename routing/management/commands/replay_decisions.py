import asyncio
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from routing import catalog as catalogs
from routing import classifying as classifiers
from routing.classifying import Active, Classifying
from routing.evaluation import classifying_of
from routing.management.prepared import installation_prepare
from routing.models import ClassifierVersion, RouterProgram
from routing.program.active import Program, program_of
from routing.replaying import USUAL_LIMIT, Kept, Past, Settings, compared, decisions_kept, replay
from routing.rulefile import MAX_BYTES, RuleFileError, rules_supposed

NONE = "none"
SHOWN_CHARACTERS, SHOWN = 70, 3


class Command(BaseCommand):
    help = "Run recent decisions, whose prompts were kept, through other settings and show what would change."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--limit", type=int, default=USUAL_LIMIT, help="so many, the newest (default: %(default)s)")
        parser.add_argument("--days", type=float, help="only those of so many days")
        parser.add_argument("--profile", default="", help="only those of one profile")
        parser.add_argument(
            "--rules", type=Path, metavar="FILE", help="with these rules, as `rules export` writes them"
        )
        parser.add_argument("--classifier", metavar="ID", help="with this version of the classifier; none: without")
        parser.add_argument("--program", metavar="ID", help="with this version of the program; none: without")
        parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")

    def handle(self, *args: Any, **options: Any) -> None:
        installation_prepare(self.stderr.write)
        if options["limit"] < 1:
            raise CommandError("--limit must be at least 1.")
        since = None if options["days"] is None else timezone.now() - dt.timedelta(days=options["days"])
        settings = _settings(options)
        if options["profile"] and options["profile"] not in settings.catalog.profiles:
            there = ", ".join(settings.catalog.profiles)
            raise CommandError(f"There is no profile {options['profile']}. There are: {there}.")
        past = decisions_kept(limit=options["limit"], since=since, profile=options["profile"])
        if not past.decisions:
            raise CommandError(_nothing(past))
        chosen = asyncio.run(replay(past.decisions, settings))
        report = compared(past.decisions, chosen, settings.catalog)
        report |= {"left_out": dict(past.left_out), "learnt": past.learnt}
        if options["json"]:
            self.stdout.write(json.dumps(report, ensure_ascii=False))
        else:
            self._print(report, past.decisions)

    def _print(self, report: Mapping[str, Any], decisions: Sequence[Kept]) -> None:
        say, prompts = self.stdout.write, {one.id: one.prompt for one in decisions}
        say(f"Of {report['decisions']} decisions replayed, {report['changed']} would go to another expert.")
        for reason, count in report["left_out"].items():
            say(f"  left out: {count} {reason}")
        for reason, count in report["skipped"].items():
            say(self.style.WARNING(f"  skipped {count} times: {reason}"))
        for move in report["moves"]:
            known = f"  (known: {move['right']} better, {move['wrong']} worse)" if move["right"] + move["wrong"] else ""
            say(f"\n{move['count']:6}  {move['from']} → {move['to']}{known}")
            for decision in move["decisions"][:SHOWN]:
                say(f"          {_line(prompts[decision])}")
        say("\nstages            " + "".join(f"{name:>12}" for name in report["routes"]))
        for route in sorted({name for counts in report["routes"].values() for name in counts}):
            say(f"  {route:16}" + "".join(f"{counts.get(route, 0):12}" for counts in report["routes"].values()))
        self._print_accuracy(report)

    def _print_accuracy(self, report: Mapping[str, Any]) -> None:
        say = self.stdout.write
        say(f"\n{report['labelled']} have a known expert, {report['unlabelled']} have none.")
        if not report["labelled"]:
            say("Correct some in the list of decisions, or by POST /v1/feedback, to see which settings are right.")
            return
        if report["learnt"]:
            say(f"{report['learnt']} of the prompts are examples that the classifier is trained with.")
        for name, one in report["accuracy"].items():
            named = f" ({one['expert']})" if one.get("expert") else ""
            interval = " ({:.1%} to {:.1%})".format(*one["interval"]) if "interval" in one else ""
            say(f"  {one['accuracy']:6.1%}  {name.replace('_', ' ')}{named}{interval}")
        low, high = report["paired"]["interval"]
        say(f"  candidate against the log: {report['paired']['difference']:+.1%} ({low:+.1%} to {high:+.1%})")


def _settings(options: Mapping[str, Any]) -> Settings:
    catalog = catalogs.load()
    if options["rules"]:
        catalog = replace(catalog, rules=_rules(options["rules"]))
    return Settings(
        catalog=catalog, classifying=_classifying(options["classifier"]), program=_program(options["program"])
    )


def _rules(path: Path) -> Any:
    try:
        with path.open("rb") as source:
            return rules_supposed(source.read(MAX_BYTES + 1).decode())
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is no text in UTF-8.") from error
    except RuleFileError as error:
        raise CommandError(error.message) from error


def _classifying(named: str | None) -> Classifying | None:
    if named == NONE:
        return None
    if named is None:
        return classifying_of(classifiers.load())
    from routing.classifier.model import Classifier, WeightsDamaged

    version = _row(ClassifierVersion, named, "classifier")
    try:
        return classifying_of(Active(classifier=Classifier.loads(bytes(version.weights)), version=version.pk))
    except WeightsDamaged as error:
        raise CommandError(f"{version} cannot be read: {error}") from error


def _program(named: str | None) -> Program | None:
    if named == NONE:
        return None
    if named is None:
        active = RouterProgram.objects.filter(active=True).select_related("runs_on").first()
        return program_of(active) if active else None
    program: RouterProgram = _row(RouterProgram, named, "program")
    return program_of(program)


def _row(kind: Any, named: str, what: str) -> Any:
    found = kind.objects.filter(pk=int(named)).first() if named.isdecimal() else None
    if found is None:
        there = ", ".join(map(str, kind.objects.order_by("pk").values_list("pk", flat=True))) or "none"
        raise CommandError(f"There is no {what} version {named}. There are: {there}; or say {NONE}.")
    return found


def _nothing(past: Past) -> str:
    left_out = "; ".join(f"{count} {reason}" for reason, count in past.left_out.items())
    return (
        "There is no decision that can be replayed: prompts are kept only where a profile says so (Profiles, What is "
        f"kept).{f' Left out: {left_out}.' if left_out else ''}"
    )


def _line(text: str) -> str:
    line = " ".join(text[: 4 * SHOWN_CHARACTERS].split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"
