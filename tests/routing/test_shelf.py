"""Which installed model gets which place on the standard shelf."""

import pytest

from routing.models import InstalledModel
from routing.shelf import SHELF, best_model

PLACES = {place.slug: place for place in SHELF}


def installed(*models: str) -> list[InstalledModel]:
    """Return models written as "name parameters capability capability…"; "?" stands for what is not told."""
    rows = []
    for model in models:
        name, size, *capabilities = model.split()
        rows.append(
            InstalledModel(
                name=name,
                parameter_size="" if size == "?" else size,
                capabilities=capabilities or None,
            )
        )
    return rows


def best(slug: str, *models: str) -> str | None:
    model = best_model(PLACES[slug], installed(*models))
    return model.name if model else None


@pytest.mark.parametrize("slug", [slug for slug in PLACES if slug != "vision"])
def test_one_general_model_takes_every_place_but_the_special_ones(slug):
    assert best(slug, "llama3.2:3b 3.2B completion tools") == "llama3.2:3b"


def test_nothing_installed_takes_no_place():
    assert [best(slug) for slug in PLACES] == [None] * len(PLACES)


@pytest.mark.parametrize(
    ("slug", "special"),
    [
        ("code", "qwen2.5-coder:7b"),
        ("code", "codellama:7b"),
        ("code", "codestral:22b"),
        ("code", "starcoder2:3b"),
        ("code", "devstral:24b"),
        ("code", "deepseek-coder-v2:16b"),
        ("code", "Qwen/Qwen2.5-Coder-7B-Instruct"),
        ("math", "qwen2-math:7b"),
        ("math", "mathstral:7b"),
        ("translation", "aya:8b"),
        ("translation", "aya-expanse:8b"),
        ("reasoning", "deepseek-r1:8b"),
        ("reasoning", "qwq:32b"),
        ("reasoning", "phi4-reasoning:14b"),
        ("reasoning", "gpt-oss:20b"),
        ("vision", "llava:7b"),
        ("vision", "llama3.2-vision:11b"),
        ("vision", "qwen3-vl:8b"),
        ("vision", "moondream:1.8b"),
    ],
)
def test_a_model_made_for_a_place_takes_it_from_a_larger_one_and_no_other(slug, special):
    models = (f"{special} 7B", "llama3.3:70b 70B completion tools")
    assert best(slug, *models) == special
    assert best("general", *models) == "llama3.3:70b"
    assert best("writing", *models) == "llama3.3:70b"


@pytest.mark.parametrize("name", ["nomic-encyclopedia", "barcelona", "playa:7b", "starling-lm:7b", "mistral:7b"])
def test_a_name_that_only_looks_alike_is_general(name):
    assert best("general", f"{name} 7B", "tinyllama:1.1b 1.1B") == name
    assert best("vision", f"{name} 7B") is None


@pytest.mark.parametrize(
    ("slug", "models", "chosen"),
    [
        ("code", ["small-coder 1.5B", "large-coder 32B"], "large-coder"),
        ("code", ["small-coder 500M", "large-coder 1.5B"], "large-coder"),
        ("general", ["a 3B", "b 7.6B", "c 494M"], "b"),
        ("general", ["a 1T", "b 999B"], "a"),
        ("general", ["a 7b", "b 8 "], "a"),
        ("general", ["a 7B", "b 7B"], "b"),
        ("general", ["b 7B", "a 7B"], "b"),
        ("general", ["only-coder 7B"], "only-coder"),
        ("general", ["coder 7B", "deepseek-r1 70B"], "deepseek-r1"),
    ],
    ids=str,
)
def test_the_largest_wins(slug, models, chosen):
    assert best(slug, *models) == chosen


def test_the_file_counts_where_the_server_tells_no_parameters():
    small, large = InstalledModel(name="z", size_bytes=400), InstalledModel(name="a", size_bytes=900)
    unknown = InstalledModel(name="zz")
    assert best_model(PLACES["general"], [small, large, unknown]) is large
    assert best_model(PLACES["general"], [unknown]) is unknown


@pytest.mark.parametrize(
    ("slug", "models", "chosen"),
    [
        ("vision", ["gemma3:12b 12B completion vision", "llama3.3:70b 70B completion"], "gemma3:12b"),
        ("vision", ["llava:7b 7B completion"], None),
        ("vision", ["llava:7b 7B completion", "gemma3:4b 4B completion vision"], "gemma3:4b"),
        ("vision", ["llava:7b 7B completion vision", "gemma3:27b 27B completion vision"], "llava:7b"),
        ("vision", ["llama3.3:70b 70B"], None),
        ("reasoning", ["qwen3:8b 8B completion thinking", "llama3.3:70b 70B completion"], "qwen3:8b"),
        ("reasoning", ["deepseek-r1:8b 8B completion", "llama3.3:70b 70B completion"], "llama3.3:70b"),
        ("reasoning", ["deepseek-r1:8b 8B ", "qwen3:32b 32B completion thinking"], "deepseek-r1:8b"),
    ],
    ids=str,
)
def test_what_a_model_tells_of_itself_counts_more_than_its_name(slug, models, chosen):
    assert best(slug, *models) == chosen
