import datetime as dt
from typing import Any

import pytest

from routing.applying import apply_to
from routing.backends.protocol import ChatRequest
from routing.features import Asker, Features
from routing.judging import judge, judge_all
from routing.keywords import wildcard_fits
from routing.rules import Rule
from tests.requests import chat_request

SUNDAY_NOON = dt.datetime(2026, 11, 22, 12, 0)
CATASTROPHE = "a" * 5000 + "!"


def rule(*keywords: str, number: int = 1, **fields: Any) -> Rule:
    named: dict[str, Any] = {"name": f"rule {number}", "priority": number, "expert": f"expert-{number}"}
    return Rule(id=number, keywords=keywords, **(named | fields))


def seen(text: str = "", **fields: Any) -> Features:
    return Features(**({"text": text, "instruction": text, "conversation": text} | fields))


def verdict(tried: Rule, text: str = "", *, asker=None, metadata=None, profile="auto", now=SUNDAY_NOON, **fields):
    return judge(tried, seen(text, **fields), asker or Asker(), metadata or {}, profile, now)


def outcome(*rules: Rule, text: str = "", **options):
    return judge_all(rules, seen(text), Asker(), {}, "auto", SUNDAY_NOON, **options)


def reasons(result) -> list[str]:
    return [one.reason for one in result.verdicts]


def found(keyword: str, text: str) -> str | None:
    """Return what a rule with ``keyword`` finds in ``text``."""
    reason = verdict(rule(keyword), text).reason
    return reason.removeprefix("found “").removesuffix("”") if reason.startswith("found “") else None


# Words


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("python", "python"),
        ("python", "Is Python fun?"),
        ("PYTHON", "is python fun"),
        ("python", "python, please"),
        ("python", "in (python)"),
        ("python", "use python"),
        ("python", "python-based"),
        ("python", "a\npython\nscript"),
        ("sql", "SQL: select"),
        ("2024", "in 2024?"),
        ("def", "def main():"),
        ("straße", "In der STRAßE"),
        ("übersetze", "Übersetze das"),
        ("переведи", "ПЕРЕВЕДИ это"),
        ("résumé", "Ein Résumé."),
        ("snake_case", "in snake_case."),
        ("σοφός", "ΣΟΦΌΣ ΆΝΘΡΩΠΟΣ"),
        ("istanbul", "İSTANBUL"),
        ("diyarbakır", "Diyarbakir"),
        ("5 µm", "5 Μm wide"),
        ("cafe\u0301", "Un café"),
        ("café", "un cafe\u0301"),
        ("अनुवाद", "इसका अनुवाद करो"),
    ],
)
def test_a_keyword_fits_a_whole_word_in_any_case(keyword, text):
    assert found(keyword, text)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("java", "JavaScript"),
        ("git", "digital"),
        ("git", "legit"),
        ("git", "gitter"),
        ("sql", "nosql2"),
        ("def", "undefined"),
        ("def", "def_x"),
        ("2024", "20245"),
        ("rust", "trustworthy"),
        ("über", "Überall"),
        ("art", "Ärztin, Größeart"),
        ("art", "smart art1 art_2 artä"),
        ("python", ""),
        ("python", "   "),
    ],
)
def test_a_keyword_does_not_fit_inside_a_word(keyword, text):
    assert found(keyword, text) is None


@pytest.mark.parametrize(
    ("keyword", "text", "fits"),
    [
        ("unit test", "write a unit test", True),
        ("unit test", "write a Unit   Test", True),
        ("unit test", "write a unit\n\ttest", True),
        ("unit test", "write a unit\u00a0test", True),
        ("unit  test", "write a unit test", True),
        ("  unit test ", "unit test", True),
        ("unit test", "unittest", False),
        ("unit test", "unit of test", False),
        ("unit test", "unit tests", False),
        ("unit test", "opportunit test", False),
        ("unit test", "unit, test", False),
    ],
)
def test_the_words_of_a_phrase_may_stand_apart_by_any_white_space(keyword, text, fits):
    assert bool(found(keyword, text)) is fits


# Signs


@pytest.mark.parametrize(
    ("keyword", "text", "fits"),
    [
        ("c++", "Teach me C++", True),
        ("c++", "c++", True),
        ("c++", "C++17 and C++.", True),
        ("c++", "in c++?", True),
        ("c++", "vitamin c", False),
        ("c++", "abc++", False),
        ("c++", "ccc", False),
        ("c#", "a C# class", True),
        ("c#", "c#", True),
        ("c#", "abc# ", False),
        (".net", ".NET", True),
        (".net", "use .net core", True),
        (".net", "ASP.NET", True),
        (".net", "internet", False),
        (".net", "a net", False),
        (".net", ".nets", False),
        ("tl;dr", "TL;DR please", True),
        ("e-mail", "an e-mail", True),
        ("node.js", "nodeXjs", False),
        ("node.js", "Node.js", True),
        ("#todo", "see #todo", True),
        ("#todo", "see #todos", False),
    ],
)
def test_signs_belong_to_the_keyword(keyword, text, fits):
    assert bool(found(keyword, text)) is fits


@pytest.mark.parametrize(
    "keyword", ["a.c", "a|b", "(a", "a)", "[ab]", "a*", "a+", "a?", r"\w", r"\d+", "^a", "a$", "a{2}"]
)
def test_what_regular_expressions_read_otherwise_is_meant_literally(keyword):
    assert found(keyword, f"so {keyword} it is") == keyword
    assert found(keyword, "abc aa b ab a1") is None


# Other scripts


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("翻译", "请帮我翻译这句话"),
        ("翻译", "翻译"),
        ("翻译", "翻译：你好"),
        ("翻譯", "幫我翻譯"),
        ("代码", "写代码的"),
        ("แปล", "ช่วยแปลให้หน่อย"),
        ("แปลภาษา", "แปลภาษาไทย"),
        ("翻訳", "これを翻訳してください"),
        ("ください", "翻訳してくださいね"),
        ("プログラム", "新しいプログラムを書く"),
        ("ﾌﾟﾛｸﾞﾗﾑ", "ﾌﾟﾛｸﾞﾗﾑを"),
        ("様々", "様々な例"),
        ("ແປ", "ຊ່ວຍແປໃຫ້"),
        ("បកប្រែ", "សូមបកប្រែនេះ"),
        ("번역", "이 문장을 번역 해줘"),
        ("python", "用Python写一个爬虫"),
        ("python", "Pythonでクローラーを書いて"),
        ("python", "เขียนpythonให้หน่อย"),
        ("写python", "请写Python程序"),
        ("sql", "写一条SQL，谢谢"),
    ],
)
def test_scripts_without_spaces_have_no_word_boundaries(keyword, text):
    assert found(keyword, text)


@pytest.mark.parametrize(("keyword", "text"), [("翻译", "翻 译"), ("代码", "代 的 码"), ("java", "用JavaScript写")])
def test_scripts_without_spaces_still_need_the_keyword(keyword, text):
    assert found(keyword, text) is None


# Several words


def test_any_keyword_is_enough_and_is_told_as_it_stands_in_the_text():
    assert verdict(rule("green", "unit test"), "A Unit\nTest, please").reason == "found “Unit\nTest”"


def test_a_keyword_inside_a_word_does_not_hide_it_further_on():
    assert verdict(rule("art"), "smart ARTs, and Art").reason == "found “Art”"


@pytest.mark.parametrize("keywords", [("",), ("  ", "\n")])
def test_keywords_that_are_blank_are_never_found(keywords):
    assert not verdict(rule(*keywords), "any text, or none").fits
    assert not verdict(rule(*keywords), "").fits


def test_a_blank_keyword_does_not_spoil_the_others():
    assert verdict(rule("", "python"), "python").fits
    assert not verdict(rule("", "python"), "rust").fits


@pytest.mark.parametrize(
    ("fields", "text", "fits", "reason"),
    [
        ({"all_keywords": ("red", "green tea")}, "Green  tea is not red", True, "found all of its words"),
        ({"all_keywords": ("red", "green tea")}, "red tea", False, "“green tea” is missing"),
        ({"none_keywords": ("poem", "诗")}, "write code", True, "found none of the words it excludes"),
        ({"none_keywords": ("poem", "诗")}, "A Poem", False, "found “Poem”, an excluded word"),
        ({"none_keywords": ("poem", "诗")}, "写一首诗", False, "found “诗”, an excluded word"),
        ({"none_keywords": ("poem",)}, "", True, "found none of the words it excludes"),
    ],
)
def test_all_and_none(fields, text, fits, reason):
    result = verdict(rule(**fields), text)
    assert (result.fits, result.reason) == (fits, reason)


@pytest.mark.parametrize(
    ("look_in", "found_in"),
    [
        ("instruction", {"instruction"}),
        ("message", {"instruction", "message"}),
        ("conversation", {"instruction", "message", "conversation"}),
    ],
)
def test_where_words_are_looked_for(look_in, found_in):
    texts = {"instruction": "explain", "text": "explain: pasted", "conversation": "before\nexplain: pasted"}
    tried = {"instruction": "explain", "message": "pasted", "conversation": "before"}
    for where, word in tried.items():
        assert verdict(rule(word, look_in=look_in), **texts).fits is (where in found_in)
        assert verdict(rule(pattern=word, look_in=look_in), **texts).fits is (where in found_in)
        assert verdict(rule(all_keywords=(word,), look_in=look_in), **texts).fits is (where in found_in)
        assert verdict(rule(none_keywords=(word,), look_in=look_in), **texts).fits is (where not in found_in)


# Regular expressions


@pytest.mark.parametrize(
    ("pattern", "text", "fits", "reason"),
    [
        (r"[A-Z]{3}-\d+", "see ABC-12.", True, "its regular expression found “ABC-12”"),
        (r"[A-Z]{3}-\d+", "see abc-12.", False, "its regular expression found nothing"),
        (r"(?i)[A-Z]{3}-\d+", "see abc-12.", True, "its regular expression found “abc-12”"),
        (r"x+", "x" * 100, True, f"its regular expression found “{'x' * 59}…”"),
        (r"(a+)+$", CATASTROPHE, False, "its regular expression took longer than 20 ms and was skipped"),
        (r"(a|aa)+$", CATASTROPHE, False, "its regular expression took longer than 20 ms and was skipped"),
    ],
)
def test_a_regular_expression(pattern, text, fits, reason):
    result = verdict(rule(pattern=pattern), text)
    assert (result.fits, result.reason) == (fits, reason)


def test_an_expression_that_cannot_be_read_skips_its_rule_alone():
    result = outcome(rule(pattern="(", number=1), rule("b", number=2), text="a b")
    assert result.expert == "expert-2"
    assert reasons(result)[0].startswith("its regular expression cannot be read (missing )")


def test_a_catastrophic_expression_does_not_keep_later_rules_from_deciding():
    result = outcome(rule(pattern="(a+)+$", number=1), rule("!", number=2), text=CATASTROPHE)
    assert result.expert == "expert-2"
    assert "took longer than 20 ms" in reasons(result)[0]


# The request


@pytest.mark.parametrize(
    ("fields", "features", "fits", "reason"),
    [
        ({}, {}, True, "it has no condition"),
        ({"enabled": False}, {}, False, "it is disabled"),
        ({"has_images": True}, {"has_images": True}, True, "has an image"),
        ({"has_images": True}, {}, False, "no image"),
        ({"has_images": False}, {"has_images": True}, False, "has an image"),
        ({"has_images": False}, {}, True, "no image"),
        ({"has_tools": True}, {}, False, "no tools"),
        ({"has_tools": True}, {"has_tools": True}, True, "has tools"),
        ({"wants_json": True}, {}, False, "no JSON wanted"),
        ({"wants_json": True}, {"wants_json": True}, True, "wants JSON"),
        ({"min_tokens": 100}, {"tokens": 99}, False, "99 tokens, not at least 100"),
        ({"min_tokens": 100}, {"tokens": 100}, True, "100 tokens"),
        ({"max_tokens": 100}, {"tokens": 100}, True, "100 tokens"),
        ({"max_tokens": 100}, {"tokens": 101}, False, "101 tokens, not at most 100"),
        ({"min_tokens": 0}, {"tokens": 0}, True, "0 tokens"),
        ({"languages": ("en",)}, {"language": "de"}, False, "language is de, not en"),
        ({"languages": ("en", "de")}, {"language": "de"}, True, "language de"),
        ({"languages": ("DE",)}, {"language": "de"}, True, "language de"),
        ({"languages": ("en", "de")}, {}, False, "language is not known, not en or de"),
        (
            {"has_images": True, "languages": ("en",)},
            {"has_images": True, "language": "en"},
            True,
            "has an image, language en",
        ),
    ],
)
def test_what_a_request_looks_like(fields, features, fits, reason):
    result = verdict(rule(**fields), **features)
    assert (result.fits, result.reason) == (fits, reason)


# Who asks


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("legal", "legal", True),
        ("legal", "legal team", False),
        ("legal*", "legal team", True),
        ("*team", "legal team", True),
        ("*", "", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b-c", True),
        ("a*b*c", "a-c", False),
        ("ab*ba", "aba", False),
        ("a**c", "abc", True),
        ("team [a]", "team [a]", True),
        ("team?", "teams", False),
        ("*a" * 12, "a" * 5000, True),
        ("*a" * 30 + "*b", "a" * 5000, False),
    ],
)
def test_wildcards(pattern, value, fits):
    assert wildcard_fits(pattern, value) is fits


@pytest.mark.parametrize(
    ("fields", "asker", "fits", "reason"),
    [
        ({"keys": ("ci-*",)}, Asker(key="CI-nightly"), True, "API key CI-nightly"),
        ({"keys": ("ci-*", "bot")}, Asker(key="ada"), False, "API key is ada, not ci-* or bot"),
        ({"keys": ("*",)}, Asker(), False, "API key is none, not *"),
        ({"groups": ("Legal",)}, Asker(group="legal"), True, "group legal"),
        ({"groups": ("legal",)}, Asker(group="sales"), False, "group is sales, not legal"),
        ({"headers": {"X-Team": "LEGAL*"}}, Asker(headers={"x-team": "legal-eu"}), True, "header x-team"),
        ({"headers": {"x-team": "legal"}}, Asker(), False, "no header x-team"),
        (
            {"headers": {"x-team": "legal"}},
            Asker(headers={"x-team": "s3cret"}),
            False,
            "header x-team is not like “legal”",
        ),
        ({"headers": {"a": "*", "b": "*"}}, Asker(headers={"a": "1"}), False, "no header b"),
    ],
)
def test_who_asks(fields, asker, fits, reason):
    result = verdict(rule(**fields), asker=asker)
    assert (result.fits, result.reason) == (fits, reason)


@pytest.mark.parametrize(
    ("wanted", "metadata", "fits", "reason"),
    [
        ({"project": "atlas"}, {"project": "atlas", "more": 1}, True, "metadata project"),
        ({"project": "atlas*"}, {"project": "atlas-2"}, True, "metadata project"),
        ({"project": "atlas"}, {"project": "Atlas"}, False, "metadata project is not like “atlas”"),
        ({"project": "atlas"}, {}, False, "no metadata project"),
        ({"beta": "true"}, {"beta": True}, True, "metadata beta"),
        ({"version": "2"}, {"version": 2}, True, "metadata version"),
        ({"project": "a"}, {"project": ["a"]}, False, "metadata project is not like “a”"),
    ],
)
def test_metadata(wanted, metadata, fits, reason):
    result = verdict(rule(metadata=wanted), metadata=metadata)
    assert (result.fits, result.reason) == (fits, reason)


def test_profiles():
    tried = rule(profiles=frozenset({"auto", "auto-fast"}))
    assert verdict(tried, profile="auto-fast").fits
    assert verdict(tried, profile="moe").reason == "profile is moe, not auto or auto-fast"
    assert verdict(rule(), profile="moe").fits


# The time

NIGHT = {"from_time": dt.time(22), "until_time": dt.time(6)}


@pytest.mark.parametrize(
    ("fields", "now", "fits"),
    [
        ({"from_time": dt.time(9), "until_time": dt.time(17)}, "2026-11-23 09:00", True),
        ({"from_time": dt.time(9), "until_time": dt.time(17)}, "2026-11-23 16:59", True),
        ({"from_time": dt.time(9), "until_time": dt.time(17)}, "2026-11-23 17:00", False),
        ({"from_time": dt.time(9), "until_time": dt.time(17)}, "2026-11-23 08:59", False),
        ({"from_time": dt.time(9)}, "2026-11-23 23:59", True),
        ({"from_time": dt.time(9)}, "2026-11-23 08:59", False),
        ({"until_time": dt.time(9)}, "2026-11-23 00:00", True),
        ({"until_time": dt.time(9)}, "2026-11-23 09:00", False),
        (NIGHT, "2026-11-23 22:00", True),
        (NIGHT, "2026-11-23 03:00", True),
        (NIGHT, "2026-11-23 06:00", False),
        (NIGHT, "2026-11-23 12:00", False),
        ({"weekdays": frozenset({0, 6})}, "2026-11-22 12:00", True),
        ({"weekdays": frozenset({0, 6})}, "2026-11-23 12:00", True),
        ({"weekdays": frozenset({0, 6})}, "2026-11-24 12:00", False),
        # The night that begins on Friday goes on until Saturday morning.
        (NIGHT | {"weekdays": frozenset({4})}, "2026-11-27 23:00", True),
        (NIGHT | {"weekdays": frozenset({4})}, "2026-11-28 03:00", True),
        (NIGHT | {"weekdays": frozenset({4})}, "2026-11-27 03:00", False),
        (NIGHT | {"weekdays": frozenset({4})}, "2026-11-28 23:00", False),
    ],
)
def test_the_time(fields, now, fits):
    assert verdict(rule(**fields), now=dt.datetime.fromisoformat(now)).fits is fits


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (NIGHT, "it is 12:00, not from 22:00 until 06:00"),
        ({"from_time": dt.time(13)}, "it is 12:00, not from 13:00"),
        ({"weekdays": frozenset({0, 5})}, "it is Sunday 12:00, not Monday or Saturday"),
        ({"weekdays": frozenset({6})}, "it is Sunday 12:00"),
    ],
)
def test_the_time_is_told(fields, reason):
    assert verdict(rule(**fields)).reason == reason


# Evidence


@pytest.mark.parametrize(
    ("fields", "evidence", "fits", "reason"),
    [
        ({"min_evidence": 0.5, "collections": ("a",)}, {"a": 0.5}, True, "evidence in a is 0.50"),
        ({"min_evidence": 0.5, "collections": ("a",)}, {"a": 0.49}, False, "evidence in a is 0.49, not at least 0.5"),
        ({"min_evidence": 0.5, "collections": ("a",)}, {"b": 0.9}, False, "what a holds on it is not known"),
        ({"min_evidence": 0.5, "evidence_collections": ("a", "b")}, {"a": 0, "b": 0.7}, True, "evidence in b is 0.70"),
        ({"min_evidence": 0.5, "evidence_collections": ("a", "b")}, {"a": 0.6}, True, "evidence in a is 0.60"),
        ({"min_evidence": 0.5, "evidence_collections": ("b",), "collections": ("a",)}, {"a": 0.9}, False, "what b"),
        ({"min_evidence": 0.0, "collections": ("a",)}, {"a": 0.0}, True, "evidence in a is 0.00"),
        ({"collections": ("a",)}, {}, True, "it has no condition"),
    ],
)  # fmt: skip
def test_evidence_of_the_knowledge_base(fields, evidence, fits, reason):
    judged = verdict(rule(**fields), asker=Asker(evidence=evidence))
    assert judged.fits is fits
    assert judged.reason.startswith(reason)


# All rules


def test_the_first_rule_that_fits_decides_wherever_in_the_text_its_keyword_is():
    result = outcome(rule("last", number=1), rule("first", number=2), text="first and last")
    assert (result.expert, result.by.name, result.why) == ("expert-1", "rule 1", "found “last”")
    assert reasons(result) == ["found “last”", "not tried: rule “rule 1” stopped"]
    assert [one.id for one in result.rules] == [1]


def test_no_rules_decide_nothing():
    result = outcome(text="anything")
    assert (result.expert, result.by, result.candidates, result.verdicts) == (None, None, None, ())


def test_rules_that_do_not_stop_add_up_and_the_earlier_wins():
    result = outcome(
        rule("a", number=1, expert=None, stop=False, collections=("x", "y"), overrides={"temperature": 0}),
        rule("b", number=2, stop=False, overrides={"temperature": 1, "top_p": 0.5}, collections=("z", "x")),
        rule("c", number=3, stop=False),
        rule("d", number=4, stop=False),
        text="a b c",
    )
    assert (result.expert, result.by.id) == ("expert-2", 2)
    assert result.overrides == {"temperature": 0, "top_p": 0.5}
    assert result.collections == ("x", "y", "z")
    assert [one.id for one in result.rules] == [1, 2, 3]
    assert reasons(result)[2:] == [
        "found “c”; but rule “rule 2” named the expert before",
        "found none of its keywords",
    ]


@pytest.mark.parametrize("stop", [True, False])
def test_a_rule_whose_expert_cannot_take_the_request_is_passed_over(stop):
    rules = [rule("a", number=1, stop=stop, overrides={"seed": 1}), rule("b", number=2)]
    result = outcome(*rules, text="a b", able={"expert-2"})
    assert (result.expert, result.overrides) == ("expert-2", {})
    first = result.verdicts[0]
    assert (first.fits, first.applied) == (True, False)
    assert first.reason == "found “a”; passed over: expert-1 cannot take this request"


def only(*candidates: str, number: int, **fields) -> Rule:
    return rule(number=number, expert=None, candidates=candidates, **({"stop": False} | fields))


@pytest.mark.parametrize(
    ("rules", "able", "expert", "candidates"),
    [
        ([only("a", "b", number=1)], None, None, ("a", "b")),
        ([only("a", "b", "c", number=1), only("c", "b", number=2)], None, None, ("b", "c")),
        ([only("a", "b", number=1)], {"b", "c"}, None, ("b",)),
        ([only("a", number=1)], {"b"}, None, None),
        ([only("a", number=1, stop=True), only("b", number=2)], {"b"}, None, ("b",)),
        ([only("a", number=1), only("b", number=2)], None, None, ("a",)),
        ([only("a", "b", number=1), rule(number=2, expert="c"), rule(number=3, expert="b")], None, "b", ("a", "b")),
        ([rule(number=1, stop=False, expert="c"), only("a", number=2)], None, "c", None),
    ],
)
def test_candidates_are_who_every_rule_leaves(rules, able, expert, candidates):
    result = outcome(*rules, able=able)
    assert (result.expert, result.candidates) == (expert, candidates)


def test_a_conversation_is_moved_only_by_a_rule_that_interrupts():
    rules = [
        rule("a", number=1, stop=False, overrides={"seed": 1}),
        only("x", number=2),
        rule("b", number=3, interrupts=True, stop=False),
    ]
    held = outcome(*rules, text="a b", held=True)
    assert (held.expert, held.candidates, held.overrides) == ("expert-3", None, {"seed": 1})
    assert reasons(held)[0] == "found “a”; but it does not move a conversation that is under way"
    assert outcome(*rules, text="a", held=True).expert is None
    assert outcome(*rules, text="a b").expert == "expert-1"


# Carrying it out


def changed(rules: list[Rule], *, system_prompt: str = "", **request) -> ChatRequest:
    return apply_to(chat_request(**request), outcome(*rules), system_prompt=system_prompt)


def test_overrides_win_over_the_client():
    tried = [rule(overrides={"temperature": 0, "max_tokens": 50.0})]
    sampling = changed(tried, temperature=1.5, top_p=0.5).sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0, 0.5, 50)
    assert isinstance(sampling.max_tokens, int)


def test_without_anything_to_change_the_request_stays_the_same():
    request = chat_request()
    assert apply_to(request, outcome(rule())) is request


def system(mode: str, text: str, number: int = 1) -> Rule:
    return rule(number=number, stop=False, expert=None, system_mode=mode, system_text=text)


@pytest.mark.parametrize(
    ("rules", "roles", "messages"),
    [
        ([system("insert", "T")], [], ["system: T", "user: Hello"]),
        ([system("insert", "T")], ["system"], ["system: S", "user: Hello"]),
        ([system("insert", "T")], ["developer"], ["developer: S", "user: Hello"]),
        ([system("append", "T")], [], ["system: T", "user: Hello"]),
        ([system("append", "T")], ["developer"], ["developer: S\n\nT", "user: Hello"]),
        ([system("replace", "T")], [], ["system: T", "user: Hello"]),
        ([system("replace", "T")], ["system", "developer"], ["system: T", "user: Hello"]),
        ([system("append", "A", 1), system("append", "B", 2)], ["system"], ["system: S\n\nA\n\nB", "user: Hello"]),
        ([system("replace", "A", 1), system("replace", "B", 2)], ["system"], ["system: A", "user: Hello"]),
        ([system("append", "A", 1), system("replace", "B", 2)], ["system"], ["system: B\n\nA", "user: Hello"]),
        ([system("insert", "A", 1), system("append", "B", 2)], [], ["system: A\n\nB", "user: Hello"]),
    ],
)
def test_system_text(rules, roles, messages):
    request = [*({"role": role, "content": "S"} for role in roles), {"role": "user", "content": "Hello"}]
    assert [f"{one.role}: {one.text}" for one in changed(rules, messages=request).messages] == messages


def test_a_text_to_append_does_not_push_the_experts_own_aside():
    assert changed([system("append", "T")], system_prompt="E").messages[0].text == "E\n\nT"
