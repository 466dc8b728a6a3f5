"""What an installation starts with: examples written for this project, and a classifier trained with nothing else.

``examples.jsonl`` holds a prompt, its expert's slug, its language and the set it was written in, a line each.
``weights.npz`` is made of them by ``manage.py train_classifier --starter``; a test holds the two together.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction

from routing.models import ClassifierVersion, Expert, RouteExample
from routing.models.examples import prompt_digest
from routing.versions import NOTE, fingerprint_now, version_activate, weights_version

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples.jsonl"
WEIGHTS = HERE / "weights.npz"
METRICS = HERE / "metrics.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StarterExample:
    prompt: str
    expert: str
    language: str
    set: str


def starter_examples() -> Iterator[StarterExample]:
    with EXAMPLES.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield StarterExample(prompt=row["prompt"], expert=row["expert"], language=row["lang"], set=row["set"])


@transaction.atomic
def starter_seed() -> int:
    """Create the starter examples and activate their classifier, once; return how many examples were made.

    Only where nothing was ever learnt: what an administrator removed does not come back.
    """
    if RouteExample.objects.exists() or ClassifierVersion.objects.exists():
        return 0
    experts = dict(Expert.objects.values_list("slug", "id"))
    rows = [
        RouteExample(
            prompt=example.prompt,
            digest=prompt_digest(example.prompt),
            expert_id=experts[example.expert],
            language=example.language,
            source=RouteExample.Source.STARTER,
            note=f"{NOTE}{example.set}",
        )
        for example in starter_examples()
        if example.expert in experts
    ]
    made = len(RouteExample.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True))
    if made:
        _activate_shipped()
    return made


def _activate_shipped() -> None:
    """Keep the shipped classifier as the first version, unless the experts are others than it was trained for."""
    metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    mark = fingerprint_now()
    if metrics["fingerprint"] == mark:
        version_activate(
            weights_version(
                WEIGHTS.read_bytes(),
                fingerprint=mark,
                experts=metrics["experts"],
                examples=metrics["examples"],
                metrics=metrics["metrics"],
                note="Came with the project; trained with the starter examples alone.",
            )
        )
