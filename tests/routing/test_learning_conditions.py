"""Conditions that describe prompts, and agree with the rules that are made of them."""

import datetime as dt

import pytest

from routing import features
from routing.features import Asker
from routing.judging import judge
from routing.keywords import Words
from routing.learning.conditions import FENCE, Condition, describing, terms
from tests.requests import chat_request

OTHERS = (
    *(f"Please tell me about {topic}" for topic in ("love", "tea", "rain", "gold", "war", "sleep", "bread", "time")),
    *(f"What is the {thing} of it" for thing in ("name", "price", "end", "size", "use", "age", "root", "sum", "good")),
    *(
        "Écris un poème sur la mer, s'il te plaît",
        "Schreibe mir bitte ein Gedicht",
        "今天天气怎么样",
        "Fix ```x = 1```",
    ),
)
HAIKU = [f"Write a haiku about {topic}" for topic in ("love", "tea", "rain", "gold", "war", "sleep", "bread", "time")]


def best(prompts, others=OTHERS):
    found = describing(prompts, others)
    return found[0].condition if found else None


def fits(condition, prompt):
    rule = condition.rule(id=1, name="r", priority=1, expert="x")
    seen = features.extract(chat_request(messages=[{"role": "user", "content": prompt}]))
    return judge(rule, seen, Asker(), {}, "auto", dt.datetime.now(dt.UTC)).fits


# What is found


def test_a_word_that_the_others_do_not_have():
    found = describing(HAIKU, OTHERS)[0]
    assert found.condition == Condition(keywords=("haiku",))
    assert (found.fits, found.of, found.strays, found.others) == (8, 8, 0, len(OTHERS))
    assert str(found.condition) == "“haiku” in the instruction"


def test_a_phrase_where_no_word_alone_would_do():
    prompts = [f"{start} the sum insured" for start in ("State", "Check", "Raise", "Lower", "Pay", "Name")]
    others = [*OTHERS, "the sum of it", "sum up", "the insured dog", "insured or not"]
    condition = best(prompts, others)
    assert "sum insured" in condition.keywords[0]
    assert not any(fits(condition, other) for other in others)


def test_a_few_words_of_which_each_has_one():
    prompts = [f"{word} {rest}" for word in ("helm", "kubectl", "minikube") for rest in ("up", "down", "why", "how")]
    condition = best(prompts)
    assert set(condition.keywords) == {"helm", "kubectl", "minikube"}


def test_most_of_the_prompts_are_enough_and_half_of_them_is_not():
    mixed = [*HAIKU, "Bake bread", "Sail home"]
    assert best(mixed) == Condition(keywords=("haiku",))
    assert best([*HAIKU[:4], "Bake a cake", "Sail home", "Nine lives", "Go west", "Plant trees"]) is None


def test_words_of_scripts_without_gaps():
    condition = best([f"请写一首{topic}的俳句" for topic in ("海", "茶", "雨", "金", "爱", "雪")])
    assert condition.keywords
    assert fits(condition, "请写一首山的俳句")
    assert not fits(condition, "今天天气怎么样")


def test_a_language_where_nothing_else_is_in_common():
    prompts = (
        "Kerro minulle jotain uutta tästä kaupungista",
        "Miksi taivas on sininen illalla",
        "Haluaisin oppia soittamaan pianoa kotona",
        "Mitä meidän pitäisi syödä tänään lounaaksi",
        "Auttaisitko lapsia heidän läksyissään",
        "Paljonko tuo punainen polkupyörä maksaa",
    )
    condition = best(prompts)
    assert condition == Condition(languages=("fi",))
    assert str(condition) == "the language fi"


def test_fenced_code():
    prompts = [f"{word}\n```\n{word} {number}\n```" for number, word in enumerate(("Why", "Speed", "Look", "Hm", "Oh"))]
    condition = best(prompts, OTHERS[:-1])
    assert (condition.pattern, condition.look_in) == (FENCE, "message")
    assert fits(condition, prompts[0])


# What is not


def test_what_the_others_have_too_describes_nothing():
    assert best([f"Please tell me about {thing}" for thing in ("sea", "moon", "dog", "harvest")]) is None


def test_a_few_prompts_or_others_prove_nothing():
    assert describing(HAIKU[:2], OTHERS) == []
    assert describing(HAIKU[:1] * 20, OTHERS) == [], "the same prompt again is one prompt"
    assert describing(HAIKU, OTHERS[:5]) == []


# What becomes of it


@pytest.mark.parametrize(
    "condition",
    [
        Condition(keywords=("haiku", "sum insured")),
        Condition(look_in="message", pattern=FENCE, languages=("en",)),
        Condition(languages=("fi",)),
    ],
)
def test_it_is_kept_and_read_back(condition):
    assert Condition.of(condition.fields()) == condition


def test_terms_are_what_a_rule_finds():
    text = "Don't “stop”: the C++ code-base of Müller & Söhne is 42 années old."
    for term in terms(Words(text)):
        assert fits(Condition(look_in="message", keywords=(term,)), text), term
    assert "42" not in terms(Words(text)), "numbers alone say nothing"
