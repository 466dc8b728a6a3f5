"""Versions of the classifier: trained from the examples, measured, activated, taken back."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction

from routing.classifier.measures import scores
from routing.classifier.model import FORMAT, Classifier
from routing.classifier.sample import sample
from routing.classifier.training import Example, TooFewExamples, Trained, train
from routing.classifying import Embedder, shared_embedder
from routing.models import ClassifierVersion, RouteExample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger("routing")

KEPT = 10
"""Versions that are kept beside the active one."""
FEWEST_TO_JUDGE = 30
"""Examples for evaluation that it takes to judge a version by them."""
WORSE = 0.01
"""How much lower a share of right answers counts as worse."""
NOTE = "Starter set: "
"""How the note of a starter example begins; sets are left out as a whole when a training is measured."""
TRAINING_LOCK = 0x6D6F65_01  # any number that nothing else locks


class AnotherTrains(Exception):
    """A training is going on in another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a training: the version, whether it is active now, and a sentence about it."""

    version: ClassifierVersion | None
    activated: bool
    message: str


def fingerprint(rows: Iterable[tuple[str, str]]) -> str:
    """Return what tells two sets of examples (their digest and expert) apart, for this version of the training."""
    digest = hashlib.sha256(f"format {FORMAT}\n".encode())
    for row in sorted(rows):
        digest.update("\t".join(row).encode() + b"\n")
    return digest.hexdigest()


def fingerprint_now() -> str:
    """Return the fingerprint of the examples there are."""
    return fingerprint(RouteExample.objects.training().values_list("digest", "expert__slug"))


def is_stale() -> bool:
    """Tell whether the examples changed since the newest version was trained."""
    newest = ClassifierVersion.objects.order_by("-id").values_list("fingerprint", flat=True).first()
    return newest != fingerprint_now()


def examples_read() -> list[Example]:
    rows = RouteExample.objects.training().order_by("id").values_list("prompt", "expert__slug", "note", "language")
    return [
        Example(prompt=prompt, expert=expert, group=note if note.startswith(NOTE) else "", language=language)
        for prompt, expert, note, language in rows
    ]


def version_train(*, activate: bool = True) -> Outcome:
    """Train a version of the examples there are, keep it, and activate it unless it is worse than the active one.

    Raises AnotherTrains. Takes about 20 s for 3,500 examples, and 6 ms more for each that was never embedded.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [TRAINING_LOCK])
        if not cursor.fetchone()[0]:
            raise AnotherTrains("Another training is going on; wait for it.")
        try:
            return _trained_and_kept(activate=activate)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [TRAINING_LOCK])


def _trained_and_kept(*, activate: bool) -> Outcome:
    mark = fingerprint_now()
    examples = examples_read()
    try:
        trained, note = trained_of(examples, remember=True)
    except TooFewExamples as error:
        return Outcome(version=None, activated=False, message=str(error))
    version = version_keep(trained, fingerprint=mark, examples=len(examples), note=note)
    if not activate:
        return Outcome(version=version, activated=False, message=f"Version {version.pk} was trained and kept.")
    verdict = judged(version, trained.classifier)
    if verdict:
        return Outcome(version=version, activated=False, message=f"Version {version.pk} is not active: {verdict}")
    version_activate(version)
    versions_prune()
    return Outcome(version=version, activated=True, message=f"Version {version.pk} is active.")


def trained_of(examples: Sequence[Example], *, remember: bool) -> tuple[Trained, str]:
    """Return a classifier of ``examples`` and a note; without the embedder it has its quick layer alone."""
    try:
        embedder = shared_embedder()
        vectors = Vectors(embedder).of([example.prompt for example in examples], remember=remember)
    except Exception as error:
        logger.exception("examples could not be embedded; the classifier does without")
        return train(examples, None), f"Trained without embeddings: {error}"
    return train(examples, vectors, embedder=embedder.model_id), ""


def version_keep(trained: Trained, *, fingerprint: str, examples: int, note: str = "") -> ClassifierVersion:
    return weights_version(
        trained.classifier.dumps(),
        fingerprint=fingerprint,
        experts=list(trained.classifier.experts),
        examples=examples,
        metrics=trained.metrics,
        note=note,
    )


def weights_version(weights: bytes, **fields: Any) -> ClassifierVersion:
    """Create a version of ``weights``, which is not active yet."""
    return ClassifierVersion.objects.create(
        weights=weights, weights_sha256=hashlib.sha256(weights).hexdigest(), **fields
    )


def judged(version: ClassifierVersion, classifier: Classifier) -> str:
    """Return why ``version`` is worse than the active one, "" when it is not.

    Both answer the examples that are kept for evaluation; where there are few, what each got right of the examples it
    was not trained with, measured when it was trained, is compared.
    """
    current = ClassifierVersion.objects.filter(active=True).exclude(pk=version.pk).first()
    if current is None:
        return ""
    try:
        old = Classifier.loads(bytes(current.weights))
    except Exception:
        return ""  # anything is better than one that cannot be read
    rows = list(RouteExample.objects.evaluation().values_list("prompt", "expert__slug"))
    if len(rows) >= FEWEST_TO_JUDGE:
        before, after = accuracy_on(old, rows), accuracy_on(classifier, rows)
        on = f"the {len(rows)} examples for evaluation"
        version.metrics["evaluation"] = {"count": len(rows), "accuracy": after, "active": before}
        version.save(update_fields=["metrics"])
    else:
        before, after = (float(one.metrics.get("accuracy", 0.0)) for one in (current, version))
        on = "examples that were left out"
    if after < before - WORSE:
        return f"it answers {after:.1%} of {on} rightly, and version {current.pk} {before:.1%}"
    return ""


def accuracy_on(classifier: Classifier, rows: Sequence[tuple[str, str]]) -> float:
    """Return the share of ``rows`` (prompt, expert) that ``classifier`` gets right."""
    found = probabilities_of(classifier, [prompt for prompt, _ in rows])
    chosen = [classifier.experts[int(one.argmax())] for one in found]
    return float(scores([expert for _, expert in rows], chosen)["accuracy"])


def probabilities_of(classifier: Classifier, prompts: Sequence[str]) -> list[Any]:
    """Return what ``classifier`` says of each of ``prompts``, as it would of a request."""
    vectors = None
    if classifier.thorough is not None and prompts:
        vectors = Vectors(shared_embedder()).of(prompts, remember=False)
    found = []
    for number, prompt in enumerate(prompts):
        seen = sample(prompt)
        said = classifier.quick.probabilities(seen)
        if classifier.thorough is not None and vectors is not None and said.max() < classifier.sure:
            said = classifier.thorough.probabilities(seen, vectors[number])
        found.append(said)
    return found


@transaction.atomic
def version_activate(version: ClassifierVersion) -> None:
    """Make ``version`` the one that decides, in every process within a second. Raises WeightsDamaged."""
    Classifier.loads(bytes(version.weights))
    ClassifierVersion.objects.filter(active=True).exclude(pk=version.pk).update(active=False)
    version.active = True
    version.save(update_fields=["active"])


def version_deactivate() -> None:
    """Let rules and the default expert decide alone."""
    for version in ClassifierVersion.objects.filter(active=True):
        version.active = False
        version.save(update_fields=["active"])


def versions_prune() -> None:
    old = ClassifierVersion.objects.filter(active=False).order_by("-id").values_list("pk", flat=True)[KEPT:]
    ClassifierVersion.objects.filter(pk__in=list(old)).delete()


class Vectors:
    """Embeddings of prompts, kept in a file of the data directory so that a training embeds only what is new."""

    def __init__(self, embedder: Embedder, path: Path | None = None) -> None:
        self._embedder = embedder
        self._path = path or settings.MOE_DATA_DIR / "models" / f"examples-{embedder.model_id}.npz"

    def of(self, prompts: Sequence[str], *, remember: bool) -> NDArray[np.float32]:
        """Return the embeddings (n, d) of ``prompts``; ``remember`` keeps exactly these for the next time."""
        import numpy as np

        texts = [sample_text(prompt) for prompt in prompts]
        known = self._read()
        new = 0
        for text in texts:
            key = _key(text)
            if key not in known:
                known[key] = np.asarray(self._embedder.embed(text), np.float32)
                new += 1
        if remember and new:
            self._write({key: known[key] for key in dict.fromkeys(map(_key, texts))})
        return np.array([known[_key(text)] for text in texts], np.float32)

    def _read(self) -> dict[str, Any]:
        import numpy as np

        try:
            with np.load(self._path, allow_pickle=False) as arrays:
                return dict(zip(arrays["keys"].tolist(), arrays["vectors"].astype(np.float32), strict=True))
        except FileNotFoundError:
            return {}
        except Exception:
            logger.exception("the kept embeddings cannot be read; they are made again")
            return {}

    def _write(self, vectors: dict[str, Any]) -> None:
        import numpy as np

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(".part.npz")
            np.savez(part, keys=np.array(list(vectors)), vectors=np.array(list(vectors.values()), np.float16))
            part.replace(self._path)
        except OSError:
            logger.exception("the embeddings could not be kept; the next training makes them again")


def sample_text(prompt: str) -> str:
    from routing.classifier.reading import read
    from routing.classifier.sample import embedded_text

    return embedded_text(read(prompt))


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
