import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.learning.proposing import AnotherProposes, changes_propose
from routing.models import Proposal


class Command(BaseCommand):
    help = "Propose rules or examples that corrections speak for, with what they would change. Applies nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
        parser.add_argument("--if-free", action="store_true", help="do nothing while another process is at it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            outcome = changes_propose()
        except AnotherProposes as error:
            if not options["if_free"]:
                raise CommandError(str(error)) from error
            self.stdout.write(str(error))
            return
        for message in outcome.messages:
            self.stdout.write(message)
        waiting = Proposal.objects.filter(status=Proposal.Status.OPEN).count()
        if options["json"]:
            proposals = [_described(proposal) for proposal in outcome.proposals]
            found = {"proposals": proposals, "messages": outcome.messages, "open": waiting}
            self.stdout.write(json.dumps(found, ensure_ascii=False))
        elif not outcome.messages:
            self.stdout.write(
                f"There are no further corrections to propose anything of. Proposals that wait: {waiting}."
            )


def _described(proposal: Proposal) -> dict[str, Any]:
    return {
        "id": proposal.pk,
        "kind": proposal.kind,
        "summary": proposal.summary,
        "was": proposal.was,
        "expert": proposal.expert.slug,
        "content": proposal.content,
        "effect": proposal.effect,
    }
