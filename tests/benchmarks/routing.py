"""How long deciding takes: ``python -m tests.benchmarks.routing [FILE.jsonl]``.

Needs no server: the starter classifier decides in this process, as a worker has it. Prompts are those of FILE
({"prompt"} a line), by default the routing prompts beside the checkout, and else the starter examples.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")
django.setup()

from routing import features  # noqa: E402
from routing.backends.protocol import ChatRequest, Message, Text  # noqa: E402
from routing.catalog import Catalog, Expert  # noqa: E402
from routing.classifier.model import Classifier  # noqa: E402
from routing.classifying import Active, Classifying, shared_embedder  # noqa: E402
from routing.evaluation import answering  # noqa: E402
from routing.router import Router  # noqa: E402
from routing.rules import Rule  # noqa: E402
from routing.shelfrules import RULES  # noqa: E402
from routing.starter import WEIGHTS, starter_examples  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "routing" / "dev.jsonl"
REPEATS = 200
TICK = 0.001


def asked(text: str) -> ChatRequest:
    return ChatRequest(model="auto", messages=(Message(role="user", parts=(Text(text=text),)),))


def prompts() -> list[str]:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    if path.exists():
        return [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    print(f"{path} is not there; the starter examples are decided instead, which the classifier knows")
    return [example.prompt for example in starter_examples()][::10]


def shelf(classifier: Classifier) -> Catalog:
    fields: list[tuple[str, dict[str, Any]]] = [
        (expert, {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
        for expert, given in RULES
        if expert in classifier.experts
    ]
    rules = tuple(Rule(id=number, expert=expert, **given) for number, (expert, given) in enumerate(fields))
    experts = {slug: answering(Expert(slug=slug)) for slug in classifier.experts}
    return Catalog(experts=experts, models={}, rules=rules, default="general")


def show(name: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    print(
        f"{name:44} mean {statistics.fmean(ordered) * 1000:7.3f}  median {statistics.median(ordered) * 1000:7.3f}  "
        f"p95 {ordered[int(0.95 * len(ordered))] * 1000:7.3f}  max {ordered[-1] * 1000:7.3f} ms"
    )


def timed(work: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


async def decisions(router: Router, catalog: Catalog, texts: Sequence[str]) -> list[float]:
    found = []
    for text in texts:
        started = time.perf_counter()
        await router.decide(asked(text), catalog)
        found.append(time.perf_counter() - started)
        await asyncio.sleep(0)  # each request is a task of its own
    return found


async def watched(work: Coroutine[Any, Any, list[float]]) -> tuple[list[float], list[float]]:
    """Return what ``work`` returns, and by how much a task that wants to run every millisecond was late."""
    late: list[float] = []
    task = asyncio.ensure_future(work)
    while not task.done():
        started = time.perf_counter()
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - started - TICK)
    return await task, late


async def main() -> None:
    classifier = Classifier.loads(WEIGHTS.read_bytes())
    catalog = shelf(classifier)

    async def get() -> Active:
        return active

    active = Active(classifier=classifier, version=1)
    classifying = Classifying(get, shared_embedder)
    await classifying.warm()
    texts = prompts()
    long = [((text + "\n") * (4000 // len(text) + 1))[:4000] for text in texts if len(text) > 400]

    print(f"{len(texts)} prompts, {len(long)} made 4,000 characters long; one after the other")
    request = asked(long[0])
    show("features, 4,000 characters", timed(lambda: features.extract(request)))
    rules_only = Router()
    show("rules alone (no classifier), whole decision", await decisions(rules_only, catalog, texts))
    router = Router(classifying=classifying)
    seconds, late = await watched(decisions(router, catalog, texts))
    show("classifier, every prompt once", seconds)
    show("  the event loop meanwhile late by", late)
    show("  the same again, remembered", await decisions(router, catalog, texts))
    seconds, late = await watched(decisions(router, catalog, long))
    show("classifier, 4,000 characters", seconds)
    show("  the event loop meanwhile late by", late)


if __name__ == "__main__":
    asyncio.run(main())
