import asyncio
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge.golden import Outcome, golden_apply, golden_measure
from knowledge.models import Collection
from routing.exceptions import EndpointError


class Command(BaseCommand):
    help = "Measure a collection on its golden queries, with each way in which it could be searched."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("collection", help="its short name")
        parser.add_argument("--apply", action="store_true", help="have it searched in the best way from now on")
        parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")

    def handle(self, *args: Any, **options: Any) -> None:
        collection = Collection.objects.lasting().filter(slug=options["collection"]).first()
        if collection is None:
            known = ", ".join(Collection.objects.lasting().values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no collection '{options['collection']}'. There are: {known}.")
        try:
            outcomes = asyncio.run(golden_measure(collection))
        except EndpointError as error:
            raise CommandError(error.message) from error
        if not outcomes:
            raise CommandError(
                "The collection has no golden queries that say what answers them. Add some in admin, or make them of "
                "questions asked there."
            )
        if options["apply"]:
            golden_apply(collection, outcomes[0].way)
        if options["json"]:
            rows = [one.way.body() | one.measures() | {"missed": list(one.missed)} for one in outcomes]
            self.stdout.write(json.dumps({"ways": rows}, ensure_ascii=False))
        else:
            self._print(outcomes, applied=options["apply"])

    def _print(self, outcomes: list[Outcome], *, applied: bool) -> None:
        self.stdout.write("mode    fusion      weight   nDCG@10   hit@10      MRR   ms")
        for one in outcomes:
            weight = "auto" if one.way.vector_weight is None else f"{one.way.vector_weight:.1f}"
            self.stdout.write(
                f"{one.way.mode:7} {one.way.fusion:10} {weight:>7} {one.ndcg_10:9.4f} {one.hit_10:8.4f} "
                f"{one.mrr:8.4f} {one.ms_per_query:4.0f}"
            )
        for query in outcomes[0].missed:
            self.stdout.write(f"not answered even so: {query}")
        if applied:
            self.stdout.write("The collection is searched in the first way now.")
