import asyncio
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge.comparing import Paired, paired
from knowledge.golden import Outcome, golden_apply, golden_compare, golden_evaluate, golden_measure
from knowledge.judging import MEASURES
from knowledge.models import Collection, EmbeddingModel, EvaluationRun
from knowledge.switching import filling_of
from routing.exceptions import EndpointError

REASON = "manage.py evaluate_collection"
NOTHING = (
    "The collection has no golden queries that say what answers them. Add some in admin, or make them of questions "
    "asked there."
)


class Command(BaseCommand):
    help = "Measure a collection on its golden queries: as it is searched, and with each way in which it could be."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("collection", help="its short name")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--as-it-is", action="store_true", help="measure it as it is searched, and no other way")
        what.add_argument("--against", metavar="MODEL", help="compare with an embedding model that is filled beside")
        what.add_argument("--apply", action="store_true", help="have it searched in the best way from now on")
        parser.add_argument("--reason", default=REASON, help="what it is measured for; kept with the run")
        parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")

    def handle(self, *args: Any, **options: Any) -> None:
        collection = Collection.objects.lasting().filter(slug=options["collection"]).first()
        if collection is None:
            known = ", ".join(Collection.objects.lasting().values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no collection '{options['collection']}'. There are: {known}.")
        try:
            if options["against"]:
                self._against(collection, options)
            else:
                self._measure(collection, options)
        except EndpointError as error:
            raise CommandError(error.message) from error

    def _measure(self, collection: Collection, options: dict[str, Any]) -> None:
        own = asyncio.run(golden_evaluate(collection, reason=options["reason"]))
        if own is None:
            raise CommandError(NOTHING)
        outcomes = [] if options["as_it_is"] else asyncio.run(golden_measure(collection))
        if options["apply"]:
            golden_apply(collection, outcomes[0].way)
        if options["json"]:
            ways = [one.way.body() | dict(one.measures) | {"missed": list(one.missed)} for one in outcomes]
            self._json({"run": own.pk, "queries": own.queries, "as_it_is": own.measures, "ways": ways})
            return
        if outcomes:
            self._print_ways(outcomes)
        self._print_own(own)
        if options["apply"]:
            self.stdout.write("The collection is searched in the first way now.")

    def _against(self, collection: Collection, options: dict[str, Any]) -> None:
        model = EmbeddingModel.objects.filter(name=options["against"]).first()
        if model is None:
            known = ", ".join(EmbeddingModel.objects.values_list("name", flat=True))
            raise CommandError(f"There is no embedding model '{options['against']}'. There are: {known}.")
        if missing := filling_of(collection, model).missing:
            raise CommandError(
                f"{missing:,} chunks have no vector by '{model}' yet. Have it filled first, on the collection's page "
                "in admin."
            )
        runs = asyncio.run(golden_compare(collection, model, reason=options["reason"]))
        if runs is None:
            raise CommandError(NOTHING)
        found = paired(runs[0].details, runs[1].details)
        if options["json"]:
            self._json(_compared(runs, found))
            return
        self.stdout.write(f"measure     now  {model}  change  95 % interval")
        for one in found.differences:
            self.stdout.write(
                f"{one.name:9} {one.first:6.4f} {one.second:6.4f} {one.change:+7.4f}  {one.low:+.4f} to {one.high:+.4f}"
            )
        self.stdout.write(
            f"Of {found.questions} questions {len(found.better)} got better, {len(found.worse)} got worse."
        )
        for change in found.worse:
            self.stdout.write(f"worse by {-change.change:.2f}: {change.query}")

    def _print_ways(self, outcomes: list[Outcome]) -> None:
        self.stdout.write("mode    fusion      weight   nDCG@10   hit@10 recall@5      MRR   ms")
        for one in outcomes:
            weight = "auto" if one.way.vector_weight is None else f"{one.way.vector_weight:.1f}"
            found = one.measures
            self.stdout.write(
                f"{one.way.mode:7} {one.way.fusion:10} {weight:>7} {found['ndcg_10']:9.4f} {found['hit_10']:8.4f} "
                f"{found['recall_5']:8.4f} {found['mrr']:8.4f} {found['ms_per_query']:4.0f}"
            )
        for query in outcomes[0].missed:
            self.stdout.write(f"not answered even so: {query}")

    def _print_own(self, run: EvaluationRun) -> None:
        told = ", ".join(f"{name.replace('_', '@', 1)} {run.measures[name]:.4f}" for name in MEASURES)
        self.stdout.write(f"as it is searched, on {run.queries} golden queries: {told}")

    def _json(self, body: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(body, ensure_ascii=False))


def _compared(runs: tuple[EvaluationRun, EvaluationRun], found: Paired) -> dict[str, Any]:
    return {
        "runs": [run.pk for run in runs],
        "queries": found.questions,
        "measures": {
            one.name: {"now": one.first, "then": one.second, "interval": [one.low, one.high]}
            for one in found.differences
        },
        "ms_per_query": [run.measures["ms_per_query"] for run in runs],
        "better": [one.query for one in found.better],
        "worse": [one.query for one in found.worse],
    }
