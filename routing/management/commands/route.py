import asyncio
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.backends.protocol import ChatRequest, Message, Text
from routing.catalog import AUTO, Catalog, catalog
from routing.classifying import shared_classifying
from routing.decision import Decision
from routing.evaluation import supposing
from routing.exceptions import EndpointError
from routing.features import Asker
from routing.management.prepared import installation_prepare
from routing.program.active import active as active_program
from routing.program.deciding import deciding_apart
from routing.router import Router


class Command(BaseCommand):
    help = "Tell which expert would answer a text, and why, without asking it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("text", help="what a user would send")
        parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
        parser.add_argument("--model", default=AUTO, help="a profile, expert or model (default: %(default)s)")
        parser.add_argument("--key", default="", help="as if asked with the API key of this name")
        parser.add_argument("--group", default="", help="as if asked with an API key of this group")

    def handle(self, *args: Any, **options: Any) -> None:
        installation_prepare(self.stderr.write)
        known, note = supposing(catalog.get())
        request = ChatRequest(
            model=options["model"], messages=(Message(role="user", parts=(Text(text=options["text"]),)),)
        )
        active_program.get()  # read here, where the database may be asked
        asker = Asker(key=options["key"], group=options["group"])
        try:
            decision = asyncio.run(_decided(request, known, asker))
        except EndpointError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps({**decision.body(), "note": note}, ensure_ascii=False))
            return
        self._explain(decision, note)

    def _explain(self, decision: Decision, note: str) -> None:
        self.stdout.write(self.style.SUCCESS(f"{decision.expert.slug}") + f"  ({decision.route}) {decision.why}")
        for candidate in decision.candidates:
            self.stdout.write(f"  {candidate.probability:6.1%}  {candidate.expert}")
        for verdict in decision.outcome.verdicts:
            self.stdout.write(f"  rule {'+' if verdict.fits else '-'} {verdict.rule.name}: {verdict.reason}")
        for slug, reason in decision.filtered:
            self.stdout.write(f"  not {slug}: {reason}")
        for reason in decision.skipped:
            self.stdout.write(self.style.WARNING(f"  skipped {reason}"))
        for stage in decision.stages:
            self.stdout.write(f"  {stage.milliseconds:7.2f} ms  {stage.name}: {stage.result}")
        if note:
            self.stdout.write(note)


async def _decided(request: ChatRequest, known: Catalog, asker: Asker) -> Decision:
    """Decide with everything loaded first, DSPy included where a program is active."""
    async with deciding_apart() as deciding:
        return await Router(classifying=shared_classifying(), deciding=deciding).decide(request, known, asker=asker)
