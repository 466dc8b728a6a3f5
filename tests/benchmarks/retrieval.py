"""What a search costs as a knowledge base grows: ``python -m tests.benchmarks.retrieval [--sizes 1000,…] [--json F]``.

Fills a database of its own with chunks: texts are drawn by Zipf's law, vectors around many centres. One collection
of 1 % lies among one of all the rest. Measured are the legs and hybrid search without the question's embedding, and
the recall of the index against comparing every vector: on the made vectors, and on real ones (sentences of the
retrieval collections beside the checkout, where they are) that are thinned or thickened to the same number.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")
os.environ.setdefault("EMBEDDED_MODELS", "off")
django.setup()

import numpy as np  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from knowledge import wording  # noqa: E402
from knowledge.embedding import MINILM, ModelSpec  # noqa: E402
from knowledge.models import Collection, EmbeddingModel  # noqa: E402
from knowledge.passages import Fusion, Mode  # noqa: E402
from knowledge.ranking import Plan, ranked  # noqa: E402
from knowledge.scope import Scope  # noqa: E402
from knowledge.vectors import EXACT_UP_TO, index_create, index_drop, nearest  # noqa: E402
from knowledge.wording import worded_like  # noqa: E402
from tests.benchmarks.plot import plotted  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "retrieval"
SIZES = (1_000, 5_000, 10_000, 50_000, 100_000)
VOCABULARY = 200_000
TERMS = 130  # of a chunk
ASKED = 9  # of a question
QUERIES = 100
CENTRES = 2_000
WIDTH = 384
SEED = 5


class Texts:
    """Chunks and questions whose words are as unevenly common as those of any language."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(SEED)
        weights = 1 / np.arange(1, VOCABULARY + 1) ** 1.05
        self._cumulated = np.cumsum(weights / weights.sum())
        self._numbers = self._random.permutation(np.arange(-(2**31), 2**31, 2**32 // VOCABULARY)[:VOCABULARY])

    def words(self, count: int) -> Any:
        return self._numbers[np.searchsorted(self._cumulated, self._random.random(count))]


def made_vectors(count: int) -> Any:
    random = np.random.default_rng(SEED + 1)
    centres = random.standard_normal((CENTRES, WIDTH))
    return unit(centres[random.integers(0, CENTRES, count)] + 0.8 * random.standard_normal((count, WIDTH)))


def real_vectors(count: int) -> Any:
    """Return vectors of real sentences, again and again with noise until there are enough, and of real questions last.

    None without data.
    """
    if not DATA.exists():
        return None
    from knowledge.chunking import _sentences
    from routing.backends.local import local_embedder

    texts = [json.loads(line)["text"] for path in sorted(DATA.glob("*/corpus.jsonl")) for line in path.open()]
    asked = [json.loads(line)["text"] for path in sorted(DATA.glob("*/queries.jsonl")) for line in path.open()]
    questions = asked[:: len(asked) // QUERIES][:QUERIES]
    most = count - QUERIES
    sentences = list(dict.fromkeys(one for text in texts for one in _sentences(text) if len(one) > 30))[:most]
    found, last = (np.array(local_embedder().embed(some), dtype=np.float32) for some in (sentences, questions))
    random = np.random.default_rng(SEED + 2)
    missing = most - len(found)
    extra = found[random.integers(0, len(found), missing)] + 0.03 * random.standard_normal((missing, WIDTH))
    return unit(np.concatenate([found, extra, last]))


def unit(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# --- filling ----------------------------------------------------------------------------------------------------


def copied(table: str, columns: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def fill(size: int, texts: Texts, vectors: Any, model: EmbeddingModel) -> tuple[Collection, Collection]:
    """Replace what is there by ``size`` chunks, each hundredth of them in a collection of its own."""
    index_drop(model)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE knowledge_collection CASCADE")
    large, small = (
        Collection.objects.create(slug=slug, name=slug, embedding_model=model, languages=["en"])
        for slug in ("large", "small")
    )
    with transaction.atomic():
        owner = [small.pk if number % 100 == 50 else large.pk for number in range(size)]
        documents = {}
        for collection in (large, small):
            document = collection.documents.create(source="all", title="all", revision=1, status="ready")
            documents[collection.pk] = document.pk
        ids = range(1, size + 1)
        copied(
            "knowledge_chunk",
            "id, collection_id, document_id, revision, ordinal, state, enabled, text, heading, tokens, language, hash",
            (
                (one, where, documents[where], 1, one, "live", True, f"Chunk {one}.", "", TERMS, "en", str(one))
                for one, where in zip(ids, owner, strict=True)
            ),
        )
        copied(
            "knowledge_embedding",
            "chunk_id, embedding_model_id, collection_id, findable, vector",
            (
                (one, model.pk, where, True, "[" + ",".join(f"{value:.5f}" for value in vectors[one - 1]) + "]")
                for one, where in zip(ids, owner, strict=True)
            ),
        )
        copied("knowledge_posting", "collection_id, term, chunk_id, frequency, length", postings(owner, texts))
    for collection in (large, small):
        held = owner.count(collection.pk)
        collection.chunk_count, collection.term_count = held, held * TERMS
        collection.save()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE knowledge_posting, knowledge_embedding, knowledge_chunk")
    return large, small


def postings(owner: list[int], texts: Texts) -> Iterator[tuple[int, int, int, int, int]]:
    for one, where in enumerate(owner, 1):
        numbers, counts = np.unique(texts.words(TERMS), return_counts=True)
        for term, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            yield where, term, one, count, TERMS


# --- measuring --------------------------------------------------------------------------------------------------


def timed(run: Callable[[int], object], times: int = QUERIES) -> tuple[float, float]:
    """Return the median and the 95th percentile in milliseconds, after a few runs that do not count."""
    for number in range(5):
        run(number)
    spent = []
    for number in range(times):
        began = time.perf_counter()
        run(number)
        spent.append((time.perf_counter() - began) * 1000)
    return statistics.median(spent), sorted(spent)[int(times * 0.95) - 1]


def scope_of(collection: Collection, spec: ModelSpec) -> Scope:
    return Scope(
        collections={collection.pk: collection.slug},
        models={spec: (collection.pk,)},
        held={collection.pk: collection.chunk_count},
        terms=collection.term_count,
        languages=frozenset({"en"}),
    )


def measured(collection: Collection, spec: ModelSpec, texts: Texts, asked: Any) -> dict[str, Any]:
    scope = scope_of(collection, spec)
    # Questions are asked by numbers of terms: a word's own number is looked up in place of its hash.
    questions = [texts.words(ASKED).tolist() for _ in range(QUERIES)]

    def words(number: int) -> object:
        with transaction.atomic(), asking(questions[number % QUERIES]):
            return worded_like(
                {"": ("",)},
                collections=[collection.pk],
                chunks=scope.chunks,
                terms=scope.terms,
                limit=100,
            )

    def meaning(number: int) -> list[tuple[int, float]]:
        with transaction.atomic():
            return nearest(spec, asked[number], collections=[collection.pk], candidates=scope.chunks, limit=100)

    def hybrid(number: int) -> object:
        plan = Plan(
            mode=Mode.HYBRID,
            fusion=Fusion.NORMALISED,
            vector_weight=0.5,
            limit=10,
            wordings={"": ("",)},
            vectors={spec: asked[number % QUERIES].tolist()},
        )
        with asking(questions[number % QUERIES]):
            return ranked(scope, plan)

    figures = {name: timed(run) for name, run in (("words", words), ("meaning", meaning), ("hybrid", hybrid))}
    recalls, fewest = recall(collection, spec, asked)
    return figures | {"recall_10": recalls, "fewest_of_100": fewest}


@contextmanager
def asking(terms: list[int]) -> Iterator[None]:
    """Have the text leg look up given terms."""
    asked = dict.fromkeys(terms, 1.0)
    before = wording.asked_terms
    wording.asked_terms = lambda wordings: asked
    try:
        yield
    finally:
        wording.asked_terms = before


def recall(collection: Collection, spec: ModelSpec, asked: Any) -> tuple[float, int]:
    """Return recall@10 against comparing all vectors, and the fewest rows that 100 wished for brought."""
    exact = replace(spec, indexed=False)

    def chunks(model: ModelSpec, vector: Any, limit: int) -> list[int]:
        held = collection.chunk_count
        with transaction.atomic():
            rows = nearest(model, vector, collections=[collection.pk], candidates=held, limit=limit)
        return [chunk for chunk, _ in rows]

    shares, fewest = [], 10**9
    for vector in asked[:QUERIES]:
        found, right = chunks(spec, vector, 100), chunks(exact, vector, 10)
        fewest = min(fewest, len(found))
        shares.append(len({*found[:10]} & {*right}) / len(right))
    return statistics.mean(shares), fewest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--vectors", choices=("made", "real"), help="only these")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--plot", type=Path, help="where a plot of hybrid search goes, as SVG")
    arguments = parser.parse_args()
    call_command("migrate", verbosity=0)
    model = EmbeddingModel.objects.get(name=MINILM)
    sizes = [int(size) for size in arguments.sizes.split(",")]
    rows = []
    for kind, make in (("made", made_vectors), ("real", real_vectors)):
        if arguments.vectors not in (None, kind):
            continue
        vectors = make(max(sizes) + QUERIES)
        if vectors is None:
            print(f"{DATA} is not there: recall on real vectors is left out")
            continue
        for size in sizes if kind == "made" else sizes[-1:]:
            began = time.perf_counter()
            texts = Texts()
            # The last ones are the questions: drawn like the rest, and not among them.
            large, small = fill(size, texts, vectors[:size], model)
            filled, began = time.perf_counter() - began, time.perf_counter()
            if size > EXACT_UP_TO // 2:
                index_create(model)
            built = time.perf_counter() - began
            spec = ModelSpec.of(model)
            for collection in (large, small):
                figures = measured(collection, spec, texts, vectors[-QUERIES:])
                row = {"vectors": kind, "chunks": size, "collection": collection.slug, "held": collection.chunk_count}
                rows.append(row | figures | {"filled_seconds": filled, "index_seconds": built})
                print(line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    if arguments.plot:
        arguments.plot.write_text(plot(rows), encoding="utf-8")


def plot(rows: list[dict[str, Any]]) -> str:
    made = [row for row in rows if row["vectors"] == "made"]
    lines = {
        f"{name}, {label}": [(row["chunks"], row["hybrid"][place]) for row in made if row["collection"] == slug]
        for slug, name in (("large", "99 %"), ("small", "1 %"))
        for place, label in ((0, "median"), (1, "p95"))
    }
    return plotted("Hybrid search of a collection of 99 % and of 1 %", "chunks in the database", "ms", lines)


def line(row: dict[str, Any]) -> str:
    times = "  ".join(f"{name} {row[name][0]:6.1f} {row[name][1]:6.1f}" for name in ("words", "meaning", "hybrid"))
    return (
        f"{row['vectors']} {row['chunks']:>7,} chunks  {row['collection']:5} {row['held']:>7,}  {times} ms (p50 p95)  "
        f"recall@10 {row['recall_10']:.3f}  fewest of 100: {row['fewest_of_100']}  index {row['index_seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
