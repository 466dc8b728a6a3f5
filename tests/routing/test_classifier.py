"""The classifier: what it learns, what it answers, how it is kept."""

import hashlib

import numpy as np
import pytest

from routing.classifier import measures, training
from routing.classifier.lexicon import GROUPS, group_counts
from routing.classifier.model import Classifier, WeightsDamaged
from routing.classifier.sample import sample
from routing.classifier.signs import names, vector
from routing.classifier.training import Example, TooFewExamples, train
from routing.starter import METRICS, WEIGHTS, starter_examples

TOPICS = ("the sea", "our dog", "a broken clock", "the harvest", "two trains", "my garden", "the moon", "a wedding")


def examples(per_topic: int = 1) -> list[Example]:
    return [
        Example(prompt=form.format(topic), expert=expert)
        for topic in TOPICS
        for expert, form in (
            ("writing", "Write a short poem about {}"),
            ("translation", "Translate into French: {} is lovely"),
            ("code", "def f(x): return x  # fix this python function for {}"),
        )
    ] * per_topic


def vectors_of(rows: list[Example]) -> np.ndarray:
    """Return an embedding that tells the experts apart, as a good embedder would."""
    place = {"writing": 0, "translation": 1, "code": 2}
    found = np.full((len(rows), 4), 0.1, np.float32)
    for number, row in enumerate(rows):
        found[number, place[row.expert]] = 1.0
    return found


@pytest.fixture(scope="module")
def trained():
    rows = examples()
    return train(rows, vectors_of(rows), embedder="test")


def chosen(classifier: Classifier, prompt: str) -> str:
    return classifier.experts[int(classifier.quick.probabilities(sample(prompt)).argmax())]


def test_it_learns_what_it_is_shown(trained):
    assert chosen(trained.classifier, "Write a short poem about the rain") == "writing"
    assert chosen(trained.classifier, "Translate into French: the rain is lovely") == "translation"
    assert trained.metrics["accuracy"] > 0.9
    assert trained.metrics["count"] == len(examples())


def test_probabilities_are_probabilities(trained):
    seen = sample("Something else entirely, about bread")
    quick = trained.classifier.quick.probabilities(seen)
    thorough = trained.classifier.thorough.probabilities(seen, np.full(4, 0.2, np.float32))
    for found in (quick, thorough):
        assert found.shape == (3,)
        assert np.isclose(found.sum(), 1, atol=1e-5)
        assert (found >= 0).all()


def test_terms_count_as_scikit_learn_counts_them(trained):
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes seconds, also of those who only collect tests

    terms = trained.classifier.quick.words
    vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True, vocabulary=dict(terms.index))
    vectorizer.idf_ = terms.idf
    words = sample("Write a poem, a short poem, about the sea and the sea").words
    expected = vectorizer.transform([words]) @ terms.weights
    assert np.allclose(terms.score(words), expected[0], atol=1e-5)


def test_what_is_stored_answers_the_same(trained):
    again = Classifier.loads(trained.classifier.dumps())
    seen = sample("Write a short poem about the sea")
    assert again.experts == trained.classifier.experts
    assert np.allclose(
        again.quick.probabilities(seen), trained.classifier.quick.probabilities(seen), atol=0.005
    )  # the weights are kept as half floats


def test_training_twice_gives_the_same(trained):
    rows = examples()
    again = train(rows, vectors_of(rows), embedder="test")
    assert again.metrics == trained.metrics
    assert np.array_equal(again.classifier.quick.signs, trained.classifier.quick.signs)


@pytest.mark.parametrize("damage", [lambda data: data[:-200], lambda _: b"", lambda _: b"\0" * 500])
def test_damaged_weights_are_told(trained, damage):
    with pytest.raises(WeightsDamaged):
        Classifier.loads(damage(trained.classifier.dumps()))


def test_weights_of_other_signs_are_refused(trained, monkeypatch):
    data = trained.classifier.dumps()
    monkeypatch.setattr("routing.classifier.model.names", lambda: ("another",))
    with pytest.raises(WeightsDamaged, match="another version"):
        Classifier.loads(data)


def test_two_experts_are_enough():
    rows = [row for row in examples() if row.expert != "code"]
    assert chosen(train(rows, None).classifier, "Translate into French: bread") == "translation"


def test_an_expert_with_too_few_examples_does_not_compete():
    rows = [*examples(), Example(prompt="A single one", expert="lonely")]
    assert "lonely" not in train(rows, None).classifier.experts


def test_nothing_to_tell_apart_is_said():
    with pytest.raises(TooFewExamples, match="two experts"):
        train([Example(prompt="Only this", expert="code")] * 5, None)


def test_a_group_that_holds_an_expert_is_not_left_out_as_a_whole():
    rows = [Example(prompt=f"{one.prompt} {one.expert}", expert=one.expert, group=one.expert) for one in examples()]
    folds = training._folds(rows)
    for expert in ("writing", "translation", "code"):
        assert len({fold for row, fold in zip(rows, folds, strict=True) if row.expert == expert}) > 1


# Signs


@pytest.mark.parametrize(
    ("prompt", "group"),
    [
        ("Translate this", "translate"),
        ("Übersetze das bitte", "translate"),
        ("把这句话翻译成英文", "translate"),
        ("переведи на английский", "translate"),
        ("Résume ce texte", "summarize"),
        ("总结一下", "summarize"),
        ("要約してください", "summarize"),
        ("Extrahiere alle Namen", "extract"),
        ("اكتب قصيدة", "write"),
        ("시를 써줘", "write"),
        ("warum ist das so", "reason"),
        ("为什么天空是蓝色的", "reason"),
    ],
)
def test_the_lexicon_knows_words_of_many_languages(prompt, group):
    from routing.classifier.lexicon import folded

    counts = dict(zip(GROUPS, group_counts(folded(prompt)), strict=True))
    assert counts[group] > 0


@pytest.mark.parametrize(
    "prompt", ["", " ", "\n\n", "…", '""', "\ud83d", "\0", "a" * 50_000, "```", "你" * 20_000, "?" * 500]
)
def test_any_text_gives_the_same_number_of_signs(prompt):
    found = sample(prompt)
    assert len(found.signs) == len(names())
    assert all(np.isfinite(found.signs))


def test_signs_have_names_of_their_own():
    assert len(set(names())) == len(names())
    from routing.classifier.reading import read

    assert len(vector("Hello", read("Hello"), ("en", ""))) == len(names())


# Measures


def test_intervals_hold_the_share():
    low, high = measures.wilson(80, 100)
    assert low < 0.8 < high
    assert (round(low, 3), round(high, 3)) == (0.711, 0.867)  # Wilson's own, to three places
    assert measures.wilson(0, 0) == (0.0, 1.0)


def test_scores_of_a_known_table():
    found = measures.scores(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    assert found["accuracy"] == 0.75
    assert found["experts"]["a"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "count": 2}
    assert found["confusion"]["counts"] == [[1, 1], [0, 2]]


def test_calibration_of_the_overconfident():
    found = measures.calibration([0.95] * 10, [True] * 5 + [False] * 5)
    assert found["expected_error"] == pytest.approx(0.45)


# What ships


def test_the_starter_examples_are_enough_for_every_expert():
    counts: dict[str, int] = {}
    languages = set()
    for example in starter_examples():
        counts[example.expert] = counts.get(example.expert, 0) + 1
        languages.add(example.language)
    assert min(counts.values()) >= 60
    assert {"code", "math", "reasoning", "writing", "translation", "summarization", "extraction", "general"} <= set(
        counts
    )
    assert len(languages) > 15


def test_no_starter_prompt_stands_twice():
    digests = [hashlib.sha256(example.prompt.casefold().encode()).hexdigest() for example in starter_examples()]
    assert len(digests) == len(set(digests))


def test_the_shipped_weights_belong_to_the_starter_examples():
    import json

    from routing.models.examples import prompt_digest
    from routing.versions import fingerprint

    facts = json.loads(METRICS.read_text(encoding="utf-8"))
    assert facts["fingerprint"] == fingerprint((prompt_digest(one.prompt), one.expert) for one in starter_examples())
    assert list(Classifier.loads(WEIGHTS.read_bytes()).experts) == facts["experts"]
