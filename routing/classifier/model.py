"""The trained classifier, as arrays: what it answers, and how it is kept. numpy is imported where it is used.

A multinomial logistic regression over terms (TF-IDF as scikit-learn's TfidfVectorizer with sublinear_tf and l2), signs
and, in its thorough form, an embedding. Training is in training.py; here is nothing but sums.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routing.classifier.sample import Sample
from routing.classifier.signs import names
from routing.exceptions import EndpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FORMAT = 1
SIGNS_SCALE = 0.5
EMBEDDING_SCALE = 2.0


class WeightsDamaged(EndpointError):
    """The stored weights cannot be read, or do not belong to this version of the project."""


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """``index`` gives each term's row in ``weights`` (terms x experts), ``idf`` how much it counts."""

    index: Mapping[str, int]
    idf: Floats
    weights: Floats

    def score(self, terms: Sequence[str]) -> Any:
        """Return what the terms of a prompt say for each expert."""
        import numpy as np

        counts = Counter(row for term in terms if (row := self.index.get(term)) is not None)
        if not counts:
            return np.zeros(self.weights.shape[1], np.float32)
        rows = np.fromiter(counts, np.intp, len(counts))
        values = np.fromiter((1 + math.log(count) for count in counts.values()), np.float32, len(counts))
        values *= self.idf[rows]
        return (values / np.linalg.norm(values)) @ self.weights[rows]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One logistic regression; ``embedding`` and ``centre`` are None where it needs none.

    ``temperature`` divides its scores, so that its probabilities are what they say.
    """

    words: Terms
    characters: Terms
    signs: Floats
    intercept: Floats
    temperature: float = 1.0
    embedding: Floats | None = None
    centre: Floats | None = None

    def probabilities(self, sample: Sample, vector: Any = None) -> Any:
        import numpy as np

        score = self.intercept + self.words.score(sample.words) + self.characters.score(sample.characters)
        score = score + np.asarray(sample.signs, np.float32) * SIGNS_SCALE @ self.signs
        if self.embedding is not None:
            score = score + (vector - self.centre) * EMBEDDING_SCALE @ self.embedding
        score = score / self.temperature
        exponents = np.exp(score - score.max())
        return exponents / exponents.sum()


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """``quick`` needs no embedder and stops the cascade where it is at least ``sure``; below ``abstain`` it is unsure.

    ``experts`` are slugs, in the order of every array of probabilities.
    """

    experts: tuple[str, ...]
    quick: Layer
    thorough: Layer | None
    sure: float
    abstain: float
    embedder: str = ""

    def dumps(self) -> bytes:
        """Return the classifier as bytes: numpy's own format, without pickles."""
        import numpy as np

        arrays: dict[str, Any] = {}
        for name, layer in (("quick", self.quick), ("thorough", self.thorough)):
            if layer is None:
                continue
            for part, terms in (("words", layer.words), ("characters", layer.characters)):
                arrays[f"{name}.{part}.weights"] = terms.weights.astype(np.float16)
            arrays[f"{name}.signs"] = layer.signs.astype(np.float32)
            arrays[f"{name}.intercept"] = layer.intercept.astype(np.float32)
            if layer.embedding is not None:
                arrays[f"{name}.embedding"] = layer.embedding.astype(np.float32)
                arrays[f"{name}.centre"] = layer.centre.astype(np.float32) if layer.centre is not None else None
        for part in ("words", "characters"):
            terms = getattr(self.quick, part)  # both layers read the same terms
            arrays[f"{part}.idf"] = terms.idf.astype(np.float16)
            ordered = sorted(terms.index, key=terms.index.__getitem__)
            arrays[f"{part}.terms"] = np.frombuffer("\n".join(ordered).encode("utf-8", "surrogatepass"), np.uint8)
        head = {
            "format": FORMAT,
            "experts": self.experts,
            "signs": hashlib.sha256("\n".join(names()).encode()).hexdigest(),
            "sure": self.sure,
            "abstain": self.abstain,
            "embedder": self.embedder,
            "temperature": [self.quick.temperature, self.thorough.temperature if self.thorough else 1.0],
        }
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        return file.getvalue()

    @classmethod
    def loads(cls, data: bytes) -> Classifier:
        """Return what ``dumps`` wrote; raises WeightsDamaged."""
        import numpy as np

        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                head = json.loads(arrays["head"].tobytes())
                if head["format"] != FORMAT or head["signs"] != hashlib.sha256("\n".join(names()).encode()).hexdigest():
                    raise WeightsDamaged("The weights were trained by another version of the project; train them anew.")
                indexes = {part: _index(arrays, part) for part in ("words", "characters")}
                quick, thorough = head["temperature"]
                return cls(
                    experts=tuple(head["experts"]),
                    quick=_layer(arrays, indexes, "quick", quick),
                    thorough=_layer(arrays, indexes, "thorough", thorough) if "thorough.signs" in arrays else None,
                    sure=head["sure"],
                    abstain=head["abstain"],
                    embedder=head["embedder"],
                )
        except WeightsDamaged:
            raise
        except Exception as error:  # a damaged file fails in any of a dozen ways
            raise WeightsDamaged(f"The weights cannot be read: {type(error).__name__}: {error}") from error


def _index(arrays: Any, part: str) -> dict[str, int]:
    listed = arrays[f"{part}.terms"].tobytes().decode("utf-8", "surrogatepass").split("\n")
    return {term: row for row, term in enumerate(listed)}


def _layer(arrays: Any, indexes: Mapping[str, Mapping[str, int]], name: str, temperature: float) -> Layer:
    import numpy as np

    def array(part: str) -> Floats:
        found: Floats = arrays[part].astype(np.float32)
        return found

    terms = {}
    for part, index in indexes.items():
        weights, idf = array(f"{name}.{part}.weights"), array(f"{part}.idf")
        if not len(index) == len(weights) == len(idf):
            raise WeightsDamaged("The weights do not fit their terms.")
        terms[part] = Terms(index=index, idf=idf, weights=weights)
    embeds = f"{name}.embedding" in arrays
    layer = Layer(
        words=terms["words"],
        characters=terms["characters"],
        signs=array(f"{name}.signs"),
        intercept=array(f"{name}.intercept"),
        temperature=float(temperature),
        embedding=array(f"{name}.embedding") if embeds else None,
        centre=array(f"{name}.centre") if embeds else None,
    )
    experts = len(layer.intercept)
    shapes = [layer.words.weights, layer.characters.weights, layer.signs]
    if any(part.shape[1] != experts for part in shapes) or len(layer.signs) != len(names()):
        raise WeightsDamaged("The weights do not fit the experts.")
    return layer
