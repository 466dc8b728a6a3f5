import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.classifier.training import Example, train
from routing.classifying import shared_embedder
from routing.models.examples import prompt_digest
from routing.starter import METRICS, WEIGHTS, starter_examples
from routing.versions import NOTE, AnotherTrains, Vectors, fingerprint, is_stale, version_train


class Command(BaseCommand):
    help = "Train the classifier from the examples, and activate it unless it is worse than the active one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--if-stale", action="store_true", help="only when examples changed since the last time")
        parser.add_argument("--no-activate", action="store_true", help="keep the version without making it decide")
        parser.add_argument(
            "--starter",
            action="store_true",
            help="for developers: make the weights that ship, from the starter examples",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["starter"]:
            self._starter()
            return
        if options["if_stale"] and not is_stale():
            self.stdout.write("No example changed since the last training.")
            return
        try:
            outcome = version_train(activate=not options["no_activate"])
        except AnotherTrains as error:
            if not options["if_stale"]:
                raise CommandError(str(error)) from error
            self.stdout.write(str(error))
            return
        self.stdout.write(outcome.message)

    def _starter(self) -> None:
        starters = list(starter_examples())
        examples = [
            Example(prompt=one.prompt, expert=one.expert, group=f"{NOTE}{one.set}", language=one.language)
            for one in starters
        ]
        embedder = shared_embedder()
        vectors = Vectors(embedder).of([example.prompt for example in examples], remember=True)
        trained = train(examples, vectors, embedder=embedder.model_id)
        Path(WEIGHTS).write_bytes(trained.classifier.dumps())
        facts = {
            "fingerprint": fingerprint((prompt_digest(one.prompt), one.expert) for one in starters),
            "experts": list(trained.classifier.experts),
            "examples": len(examples),
            "metrics": trained.metrics,
        }
        Path(METRICS).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        metrics = trained.metrics
        self.stdout.write(
            f"{len(examples)} examples, {metrics['accuracy']:.1%} of those left out right, "
            f"{WEIGHTS.stat().st_size // 1024} KB in {WEIGHTS}"
        )
