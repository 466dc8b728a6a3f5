"""Training the classifier, with scikit-learn, which is imported here alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routing.classifier.model import EMBEDDING_SCALE, SIGNS_SCALE, Classifier, Layer, Terms
from routing.classifier.sample import Sample, sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FOLDS = 4
FEWEST_EXAMPLES = 4
"""An expert with fewer examples does not compete."""
REGULARISATION = 4.0  # measured with whole sources left out: 1 to 8 within half a point
SURE_PRECISION = 0.95
"""How often the quick layer must be right, at its threshold, for the thorough one not to be asked."""
TARGET_PRECISION = 0.92
"""How often a decision must be right, at the abstain threshold, on examples of groups that were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt with its expert; examples of one ``group`` are left out together when the training is measured."""

    prompt: str
    expert: str
    group: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """``metrics`` were measured on examples the measured classifier had not seen.

    ``kept`` are the positions of the examples that were learnt from, and ``left_out`` (kept, experts) what was said of
    each of them by a classifier that had not seen it.
    """

    classifier: Classifier
    metrics: dict[str, Any]
    kept: Sequence[int]
    left_out: NDArray[np.float64]


class TooFewExamples(ValueError):
    """There is nothing to tell apart."""


@dataclass(frozen=True, slots=True, eq=False)
class _Matrix:
    """The examples as numbers; ``y`` are positions in ``experts``."""

    words: Any
    characters: Any
    signs: Any
    vectors: NDArray[np.float32] | None
    y: Any
    experts: tuple[str, ...]
    vectorizers: tuple[Any, Any]

    def parts(self, *, thorough: bool) -> Any:
        import scipy.sparse as sp

        parts = [self.words, self.characters, self.signs]
        if thorough:
            parts.append(sp.csr_matrix(self.vectors))
        return sp.hstack(parts, format="csr")


def train(examples: Sequence[Example], vectors: NDArray[np.float32] | None, *, embedder: str = "") -> Trained:
    """Return a classifier of ``examples``; ``vectors`` are their embeddings (n, d), None to do without.

    Raises TooFewExamples. Takes about half a minute for 3,000 examples on one core: one fit for each of four folds
    and a last one on everything, for each of the two layers.
    """
    import numpy as np

    counts = {name: sum(1 for example in examples if example.expert == name) for name in {e.expert for e in examples}}
    kept = [number for number, example in enumerate(examples) if counts[example.expert] >= FEWEST_EXAMPLES]
    examples = [examples[number] for number in kept]
    experts = tuple(sorted({example.expert for example in examples}))
    if len(experts) < 2:
        raise TooFewExamples(
            f"At least two experts need {FEWEST_EXAMPLES} examples each before a classifier can be trained."
        )
    centre = None
    if vectors is not None:
        vectors = vectors[kept]
        centre = vectors.mean(axis=0)
        vectors = vectors - centre
    matrix = _matrix(examples, experts, vectors)
    folds = _folds(examples)
    layers, held_out = [], []
    for thorough in (False, True) if vectors is not None else (False,):
        x = matrix.parts(thorough=thorough)
        scores = _left_out_scores(x, matrix.y, folds, len(experts))
        temperature = _temperature(scores, matrix.y)
        layers.append(_layer(_fit(x, matrix.y), matrix, temperature, centre if thorough else None))
        held_out.append(_softmax(scores / temperature))
    sure = _threshold(held_out[0], matrix.y, SURE_PRECISION)
    final = np.where((held_out[0].max(1) >= sure)[:, None], held_out[0], held_out[-1])
    abstain = _threshold(final, matrix.y, TARGET_PRECISION)
    classifier = Classifier(
        experts=experts,
        quick=layers[0],
        thorough=layers[1] if len(layers) > 1 else None,
        sure=sure,
        abstain=min(abstain, sure),
        embedder=embedder,
    )
    from routing.classifier.measures import measures

    metrics = measures(final, matrix.y, experts, [example.language for example in examples], abstain=abstain)
    metrics["quick_share"] = float((held_out[0].max(1) >= sure).mean())
    return Trained(classifier=classifier, metrics=metrics, kept=kept, left_out=final)


def _matrix(examples: Sequence[Example], experts: tuple[str, ...], vectors: Any) -> _Matrix:
    import numpy as np
    import scipy.sparse as sp
    from sklearn.feature_extraction.text import TfidfVectorizer

    samples: list[Sample] = [sample(example.prompt) for example in examples]
    rows, vectorizers = [], []
    for name, rare in (("words", 3), ("characters", 5)):
        terms = [getattr(one, name) for one in samples]
        vectorizer = TfidfVectorizer(
            analyzer=_as_it_is, sublinear_tf=True, min_df=min(rare, max(1, len(terms) // 100)), dtype=np.float32
        )
        rows.append(vectorizer.fit_transform(terms))
        vectorizers.append(vectorizer)
    signs = np.array([one.signs for one in samples], np.float32) * SIGNS_SCALE
    return _Matrix(
        words=rows[0],
        characters=rows[1],
        signs=sp.csr_matrix(signs),
        vectors=vectors * EMBEDDING_SCALE if vectors is not None else None,
        y=np.array([experts.index(example.expert) for example in examples]),
        experts=experts,
        vectorizers=(vectorizers[0], vectorizers[1]),
    )


def _as_it_is(terms: list[str]) -> list[str]:
    return terms


def _fit(x: Any, y: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=REGULARISATION, max_iter=150, tol=1e-3, class_weight="balanced").fit(x, y)


def _layer(fitted: Any, matrix: _Matrix, temperature: float, centre: Any) -> Layer:
    import numpy as np

    # With two classes scikit-learn keeps the second one's weights alone.
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if len(coefficients) == 1:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.array([0.0, intercept[0]])
    weights = coefficients.T.astype(np.float32)
    ends = np.cumsum([matrix.words.shape[1], matrix.characters.shape[1], matrix.signs.shape[1]])
    words, characters, signs, embedding = np.split(weights, ends)
    terms = [
        Terms(index=dict(vectorizer.vocabulary_), idf=vectorizer.idf_.astype(np.float32), weights=part)
        for vectorizer, part in zip(matrix.vectorizers, (words, characters), strict=True)
    ]
    return Layer(
        words=terms[0],
        characters=terms[1],
        signs=signs,
        intercept=intercept.astype(np.float32),
        temperature=temperature,
        embedding=embedding if centre is not None else None,
        centre=centre.astype(np.float32) if centre is not None else None,
    )


def _folds(examples: Sequence[Example]) -> Any:
    """Return each example's fold: groups stay together where there are enough of them, others are dealt by a hash.

    A group that holds most of an expert's examples is dealt too: without it nobody could know that expert.
    """
    import numpy as np

    experts = Counter(example.expert for example in examples)
    inside = Counter((example.group, example.expert) for example in examples)
    dominating = {group for (group, expert), count in inside.items() if 2 * count > experts[expert]}
    groups = sorted({example.group for example in examples if example.group} - dominating)
    place = {group: number % FOLDS for number, group in enumerate(groups)} if len(groups) >= FOLDS else {}

    def fold(example: Example) -> int:
        dealt = int(hashlib.sha256(example.prompt.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16)
        return place.get(example.group, dealt % FOLDS)

    return np.array([fold(example) for example in examples])


def _left_out_scores(x: Any, y: Any, folds: Any, experts: int) -> Any:
    """Return the scores (n, experts) each example gets from a fit without its fold."""
    import numpy as np

    scores = np.full((len(y), experts), -20.0, np.float64)
    for fold in np.unique(folds):
        out = folds == fold
        seen = np.unique(y[~out])
        if len(seen) < 2:
            continue
        found = _fit(x[~out], y[~out]).decision_function(x[out])
        if found.ndim == 1:
            found = np.stack([np.zeros_like(found), found], axis=1)
        scores[np.ix_(out, seen)] = found
    return scores


def _softmax(scores: Any) -> Any:
    from scipy.special import softmax

    return softmax(scores, axis=1)


def _temperature(scores: Any, y: Any) -> float:
    """Return what the scores are to be divided by for the likeliest probabilities (Guo et al. 2017)."""
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    def loss(temperature: float) -> float:
        scaled = scores / temperature
        return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(y)), y]).mean())

    return float(minimize_scalar(loss, bounds=(0.3, 5.0), method="bounded").x)


def _threshold(probabilities: Any, y: Any, precision: float) -> float:
    """Return the lowest confidence from which on at least ``precision`` of the predictions are right."""
    import numpy as np

    confidence = probabilities.max(1)
    order = np.argsort(-confidence)
    right = np.cumsum(probabilities.argmax(1)[order] == y[order]) / np.arange(1, len(y) + 1)
    good = np.flatnonzero(right >= precision)
    return float(confidence[order][good[-1]]) if len(good) else 1.0
