import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.catalog import AUTO, Catalog, catalog
from routing.classifier.training import Example
from routing.classifying import Classifying
from routing.evaluation import (
    BadExamples,
    Labelled,
    Timed,
    competing,
    decide_all,
    evaluate,
    labelled_read,
    report_on,
    trained_classifying,
)
from routing.management.prepared import installation_prepare
from routing.program.active import active as active_program
from routing.program.deciding import Deciding, deciding_apart
from routing.versions import examples_read

T = TypeVar("T")


class Command(BaseCommand):
    help = "Measure the whole router on prompts whose expert is known."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help='lines of {"prompt": …, "label": expert\'s slug}')
        parser.add_argument("--train", type=Path, help="more examples, learnt for this run only")
        parser.add_argument(
            "--leave-out-sources",
            action="store_true",
            help="measure on FILE itself: learn from it without one source after the other (its part before a colon)",
        )
        parser.add_argument("--profile", default=AUTO, help="the profile that is asked (default: %(default)s)")
        parser.add_argument("--limit", type=int, default=0, help="use only so many lines, spread evenly")
        parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")

    def handle(self, *args: Any, **options: Any) -> None:
        installation_prepare(self.stderr.write)
        try:
            report = self._report(options)
        except BadExamples as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(report, ensure_ascii=False))
        else:
            self._print(report)

    def _report(self, options: dict[str, Any]) -> dict[str, Any]:
        rows = labelled_read(options["file"])
        if 0 < options["limit"] < len(rows):
            rows = rows[:: -(-len(rows) // options["limit"])]
        known = competing(catalog.get(), {row.expert for row in rows})
        own = examples_read()
        if options["leave_out_sources"]:
            return self._leave_out(rows, known, own, options["profile"])
        more = labelled_read(options["train"]) if options["train"] else []
        classifying: Classifying | None = None
        if more:
            self.stderr.write(f"Learning from {len(own)} examples of our own and {len(more)} more …")
            classifying = trained_classifying([*own, *_examples(more, known.experts)])
        how = {"classifying": classifying, "profile": options["profile"]}
        return _with_program(lambda deciding: evaluate(rows, known, deciding=deciding, **how))

    def _leave_out(self, rows: list[Labelled], known: Any, own: list[Example], profile: str) -> dict[str, Any]:
        """Return one report on everything, each source decided by a classifier that never saw it."""
        decided: list[Any] = []
        for source in sorted({_group(row) for row in rows}):
            inside = [row for row in rows if _group(row) == source]
            rest = [row for row in rows if _group(row) != source]
            self.stderr.write(f"Without {source or 'a source'}: {len(inside)} prompts …")
            decided += zip(
                (replace(row, source=_group(row)) for row in inside),
                self._decided(inside, known, trained_classifying([*own, *_examples(rest, known.experts)]), profile),
                strict=True,
            )
        return report_on([row for row, _ in decided], [found for _, found in decided])

    def _decided(self, rows: list[Labelled], known: Catalog, classifying: Classifying, profile: str) -> list[Timed]:
        return _with_program(
            lambda deciding: decide_all(rows, known, classifying=classifying, deciding=deciding, profile=profile)
        )

    def _print(self, report: dict[str, Any]) -> None:
        say = self.stdout.write
        low, high = report["accuracy_interval"]
        say(
            f"{report['count']} prompts: {report['accuracy']:.1%} right ({low:.1%} to {high:.1%}), macro F1 "
            f"{report['macro_f1']:.3f}, top two {report['top_two']:.1%}"
        )
        covered = report["coverage"]
        say(
            f"sure of {covered['decided']:.1%}, and right in {covered['right']:.1%} of those; "
            f"expected calibration error {report['calibration']['expected_error']:.3f}"
        )
        say(
            f"{report['ms_per_decision']:.2f} ms a decision (median {report['ms_median']:.2f}, "
            f"p95 {report['ms_p95']:.2f})"
        )
        for title in ("stages", "languages", "sources"):
            if title in report:
                say(f"\n{title}")
                for name, one in report[title].items():
                    say(f"  {one['accuracy']:6.1%} of {one['count']:5}  {name}")
        say("\nexperts: precision, recall, F1")
        for name, one in report["experts"].items():
            say(f"  {one['precision']:6.1%} {one['recall']:6.1%} {one['f1']:.3f} of {one['count']:5}  {name}")
        confusion = report["confusion"]
        say("\nconfusion: rows are who should answer, columns who was chosen")
        width = max(map(len, confusion["predicted"])) + 1
        say(" " * width + " ".join(f"{name[:7]:>7}" for name in confusion["predicted"]))
        for name, counts in zip(confusion["labels"], confusion["counts"], strict=True):
            say(f"{name:{width}}" + " ".join(f"{count:7}" for count in counts))
        for reason, count in report["skipped"].items():
            say(self.style.WARNING(f"skipped {count} times: {reason}"))


def _with_program(work: Callable[[Deciding], Awaitable[T]]) -> T:
    """Return what ``work`` does with the active program, which is asked as in production."""
    active_program.get()  # read here, where the database may be asked

    async def done() -> T:
        async with deciding_apart() as deciding:
            return await work(deciding)

    return asyncio.run(done())


def _examples(rows: list[Labelled], experts: Any) -> list[Example]:
    return [
        Example(prompt=row.prompt, expert=row.expert, group=_group(row), language=row.language)
        for row in rows
        if row.expert in experts
    ]


def _group(row: Labelled) -> str:
    return row.source.split(":")[0]
