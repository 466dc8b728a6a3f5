import json
import os
import signal
import threading
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.catalog import catalog
from routing.management.prepared import installation_prepare
from routing.models import Expert, RouterProgram
from routing.program.measuring import points, verdict
from routing.program.plan import CannotOptimize, Plan, runner_of
from routing.program.runs import AnotherCompiles, Progress, run_failed, runs_settle, the_only_run
from routing.program.versions import (
    NotShownToHelp,
    StateDamaged,
    gains,
    program_activate,
    program_deactivate,
    programs_prune,
    reason_against,
)


class Command(BaseCommand):
    help = (
        "Compile a program that decides where the classifier is unsure, on the examples there are, and measure it on "
        "others. Also lists, activates and deactivates its versions."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        optimizers = RouterProgram.Optimizer.values
        parser.add_argument("--optimizer", choices=optimizers, default="bootstrap", help="default: %(default)s")
        parser.add_argument("--expert", default="", help="whose model runs the program (default: the default expert)")
        parser.add_argument("--teacher", default="", help="the expert that writes instructions (default: the same)")
        parser.add_argument("--examples", type=int, default=100, help="to compile with (default: %(default)s)")
        parser.add_argument("--held-out", type=int, default=100, help="to measure with (default: %(default)s)")
        parser.add_argument("--minutes", type=float, default=30.0, help="for everything (default: %(default)g)")
        parser.add_argument("--time-limit", type=float, help="seconds a request waits for it (default: 1.5)")
        parser.add_argument("--accept-from", default="auto", help="least confidence, 0 to 1 (default: %(default)s)")
        parser.add_argument("--activate", action="store_true", help="switch it on if it is shown to help")
        parser.add_argument("--force", action="store_true", help="switch it on whatever was measured")
        parser.add_argument("--note", default="", help="a note on the version")
        parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
        parser.add_argument("--list", action="store_true", help="list the versions")
        parser.add_argument("--activate-version", type=int, metavar="ID", help="switch an existing version on")
        parser.add_argument("--deactivate", action="store_true", help="ask no program")
        parser.add_argument("--program", type=int, metavar="ID", help="compile a version that exists already")
        parser.add_argument("--held-by-stdin", action="store_true", help="end when standard input does")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["held_by_stdin"]:
            threading.Thread(target=_leave_with_parent, daemon=True).start()
        if options["list"]:
            self._list(as_json=options["json"])
        elif options["deactivate"]:
            program_deactivate()
            self.stdout.write("No program is asked; the classifier's best guess answers where it is unsure.")
        elif options["activate_version"] is not None:
            self._activate(_version(options["activate_version"]), force=options["force"])
        else:
            self._optimize(options)

    # --- versions

    def _list(self, *, as_json: bool) -> None:
        runs_settle()
        versions = list(RouterProgram.objects.select_related("runs_on").order_by("id"))
        if as_json:
            self.stdout.write(json.dumps([_facts(version) for version in versions], ensure_ascii=False))
            return
        for version in versions:
            found = gains(version)
            self.stdout.write(
                f"{'*' if version.active else ' '} {version.pk:4}  {version.created_at:%Y-%m-%d %H:%M}  "
                f"{version.get_status_display()}, {version.optimizer} on {version.runs_on or 'nobody'}"
                f"{': ' + str(found[0]) if found else ''}"
            )
        if not versions:
            self.stdout.write("There is no program yet; manage.py optimize_router compiles one.")

    def _activate(self, version: RouterProgram, *, force: bool) -> None:
        try:
            program_activate(version, force=force)
        except NotShownToHelp as error:
            raise CommandError(f"{error} --force switches it on all the same.") from error
        except StateDamaged as error:
            raise CommandError(str(error)) from error
        self.stdout.write(self.style.SUCCESS(f"{version} is active."))

    # --- compiling

    def _optimize(self, options: dict[str, Any]) -> None:
        from routing.program.optimizing import program_optimize  # loads DSPy

        plan = _plan(options)
        installation_prepare(self.stderr.write)
        version = None
        try:
            with the_only_run():
                known = catalog.reload()
                if options["program"] is None:
                    runner = runner_of(known, options["expert"])
                    version = _created(options, Expert.objects.get(slug=runner.slug))
                else:
                    version = _version(options["program"])
                program_optimize(version, plan, known, Progress(version, self._say))
        except (CannotOptimize, AnotherCompiles) as error:
            self._failed(version, options, str(error))
            raise CommandError(str(error)) from error
        except BaseException as error:
            self._failed(version, options, f"{type(error).__name__}: {error}")
            raise
        self._report(version)
        facts = _facts(version)  # before it is on, and compared with what was
        if options["activate"]:
            self._activate_if_shown(version, force=options["force"])
        programs_prune()
        if options["json"]:
            self.stdout.write(json.dumps(facts | {"active": version.active}, ensure_ascii=False))

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _failed(self, version: RouterProgram | None, options: dict[str, Any], why: str) -> None:
        if version is None and options["program"] is not None:
            version = RouterProgram.objects.filter(pk=options["program"]).first()
        if version is not None and version.status == RouterProgram.Status.RUNNING:
            run_failed(version, why)

    def _activate_if_shown(self, version: RouterProgram, *, force: bool) -> None:
        if (reason := reason_against(version)) and not force:
            self.stdout.write(self.style.WARNING(f"It was not switched on. {reason}"))
            return
        self._activate(version, force=force)

    def _report(self, version: RouterProgram) -> None:
        metrics = version.metrics
        self.stdout.write(f"\n{version}, on {metrics['count']} held-out examples the classifier is unsure of:\n")
        rows = {
            "the classifier alone": metrics["classifier"],
            "the program alone, without a limit of time": metrics["program"],
            f"both, as in production (within {version.time_limit:g} s)": metrics["stage"],
        }
        for name, numbers in rows.items():
            low, high = numbers["accuracy_interval"]
            self.stdout.write(f"  {numbers['accuracy']:6.1%}  ({low:.1%} to {high:.1%})  {name}")
        shares = metrics["shares"]
        self.stdout.write(
            f"  {metrics['ms_median']:.0f} ms at the median, {metrics['ms_p95']:.0f} ms at most for 95 % "
            f"({metrics['unhurried_ms_median']:.0f} ms at the median without a limit); "
            f"{shares['in_time']:.0%} in time, {shares['abstained']:.0%} abstained, {shares['failed']:.0%} failed, "
            f"{shares['accepted']:.0%} taken (from a confidence of {version.accept_from:.2f} on); "
            f"{metrics['prompt_tokens']:.0f} + {metrics['completion_tokens']:.0f} tokens"
        )
        for gain in gains(version):
            self.stdout.write(f"  {points(gain.numbers)} compared with {gain.over}: {verdict(gain.numbers)}")
        self.stdout.write("Worth switching on." if not reason_against(version) else "Not worth switching on.")


def _created(options: dict[str, Any], runs_on: Expert) -> RouterProgram:
    limit = {} if options["time_limit"] is None else {"time_limit": options["time_limit"]}
    version = RouterProgram(optimizer=options["optimizer"], runs_on=runs_on, note=options["note"], **limit)
    try:
        version.clean_fields()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    version.save()
    return version


def _plan(options: dict[str, Any]) -> Plan:
    if min(options["examples"], options["held_out"], options["minutes"]) <= 0:
        raise CommandError("--examples, --held-out and --minutes take numbers above zero.")
    return Plan(
        examples=options["examples"],
        held_out=options["held_out"],
        minutes=options["minutes"],
        teacher=options["teacher"],
        accept_from=_share(options["accept_from"]),
    )


def _version(pk: int) -> RouterProgram:
    version = RouterProgram.objects.filter(pk=pk).select_related("runs_on").first()
    if version is None:
        raise CommandError(f"There is no program {pk}. manage.py optimize_router --list shows those there are.")
    return version


def _share(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise CommandError("--accept-from takes a number from 0 to 1, or auto.")
    return share


def _facts(version: RouterProgram) -> dict[str, Any]:
    hidden = ("outcomes", "beside")
    return {
        "program": version.pk,
        "status": version.status,
        "active": version.active,
        "optimizer": version.optimizer,
        "runs_on": version.runs_on.slug if version.runs_on else None,
        "time_limit": version.time_limit,
        "accept_from": version.accept_from,
        "examples": version.examples,
        "demos": len(version.demos),
        "gains": [{"over": gain.over, **gain.numbers} for gain in gains(version)],
        "against": reason_against(version),
        "metrics": {name: value for name, value in version.metrics.items() if name not in hidden},
    }


def _leave_with_parent() -> None:
    """End when the process that started this one is gone: its end of our standard input closes however it ended."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
