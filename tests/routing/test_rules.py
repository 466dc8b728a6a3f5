import pytest

from routing.rules import Rule, first_match


def rule(*keywords: str, number: int = 1) -> Rule:
    return Rule(id=number, name=f"rule {number}", priority=number, expert=f"expert-{number}", keywords=keywords)


def found(keyword: str, text: str) -> str | None:
    """Return what a rule with ``keyword`` finds in ``text``."""
    match = first_match([rule(keyword)], text)
    return match.keyword if match else None


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


# Rules


def test_the_first_rule_that_fits_decides_wherever_in_the_text_its_keyword_is():
    rules = [rule("last", number=1), rule("first", number=2)]
    match = first_match(rules, "first and last")
    assert match is not None
    assert (match.rule, match.keyword) == (rules[0], "last")


def test_any_keyword_of_a_rule_is_enough_and_is_told_as_it_stands_in_the_text():
    match = first_match([rule("red"), rule("green", "unit test", number=2)], "A Unit\nTest, please")
    assert match is not None
    assert (match.rule.id, match.keyword) == (2, "Unit\nTest")


@pytest.mark.parametrize("keywords", [(), ("",), ("  ", "\n")])
def test_a_rule_without_keywords_never_fits(keywords):
    assert first_match([rule(*keywords)], "any text, or none") is None
    assert first_match([rule(*keywords)], "") is None


def test_an_empty_keyword_does_not_spoil_the_others():
    assert first_match([rule("", "python")], "python")
    assert first_match([rule("", "python")], "rust") is None


def test_no_rules_find_nothing():
    assert first_match([], "python") is None
