import asyncio
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from knowledge.evaluation import BadTestCollection, Measured, collection_read, evaluate
from knowledge.models import EmbeddingModel
from knowledge.passages import Fusion, Mode
from routing.exceptions import EndpointError
from routing.management.prepared import installation_prepare


class Command(BaseCommand):
    help = "Measure search on a test collection in BEIR's layout; it is read into a collection that is gone afterwards."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="with corpus.jsonl, queries.jsonl and qrels.tsv")
        parser.add_argument("--embedding-model", help="its name (default: the one that suits the language)")
        parser.add_argument("--language", default="", help="of the collection, such as de (default: as recognised)")
        parser.add_argument("--mode", choices=[mode.value for mode in Mode], default=Mode.HYBRID.value)
        parser.add_argument("--fusion", choices=[one.value for one in Fusion], default=Fusion.NORMALISED.value)
        parser.add_argument("--vector-weight", type=float, help="the share of meaning, 0 to 1")
        parser.add_argument("--chunk-tokens", type=int, help="length of a chunk")
        parser.add_argument("--limit", type=int, default=0, help="ask only so many questions, spread evenly")
        parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")

    def handle(self, *args: Any, **options: Any) -> None:
        installation_prepare(self.stderr.write)
        try:
            collection = collection_read(options["folder"])
            measured = asyncio.run(
                evaluate(collection, say=self.stderr.write, limit=options["limit"], **_settings(options))
            )
        except (BadTestCollection, EndpointError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(measured.body(), ensure_ascii=False))
        else:
            self._print(measured)

    def _print(self, measured: Measured) -> None:
        for name, value in measured.body().items():
            if name != "failures":
                self.stdout.write(f"{name:18} {', '.join(value) if isinstance(value, tuple) else value}")
        for line in measured.failures:
            self.stdout.write(f"could not be read: {line}")


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    given = {name: options[name] for name in ("language", "mode", "fusion", "vector_weight", "chunk_tokens")}
    settings = {name: value for name, value in given.items() if value is not None}
    if name := options["embedding_model"]:
        model = EmbeddingModel.objects.filter(name=name).first()
        if model is None:
            known = ", ".join(EmbeddingModel.objects.values_list("name", flat=True))
            raise CommandError(f"There is no embedding model '{name}'. Known are: {known}.")
        settings["embedding_model"] = model
    return settings
