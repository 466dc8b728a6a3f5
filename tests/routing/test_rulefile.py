import datetime as dt
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from routing.models import Expert, RoutingProfile, RoutingRule
from routing.rulefile import MAX_BYTES, RuleFileError, rules_export, rules_import
from routing.ruleset import rules_all, rules_load

pytestmark = pytest.mark.django_db

EVERYTHING = {
    "priority": 7,
    "enabled": False,
    "note": "Why:\n  because “so”.\n",
    "look_in": "instruction",
    "keywords": ["no", "22:00", "1e3", "2024", "c++", "翻译", "a: b", "true", "~", " x"],
    "all_keywords": ["yes"],
    "none_keywords": ["null", "=", "*"],
    "pattern": r"(?i)\d+\s'\"#",
    "has_images": False,
    "has_tools": True,
    "wants_json": True,
    "min_tokens": 0,
    "max_tokens": 10,
    "languages": ["no", "en"],
    "keys": ["ci-*"],
    "groups": ["on"],
    "headers": {"x-team": "legal*", "yes": "0x1f"},
    "metadata": {"project": "1.5"},
    "weekdays": [6, 0],
    "from_time": dt.time(22),
    "until_time": dt.time(6, 30, 15),
    "min_evidence": 0.5,
    "evidence_collections": ["handbook"],
    "collections": ["manuals"],
    "overrides": {"temperature": 0.1, "seed": 1, "top_p": 1e-07},
    "system_mode": "append",
    "system_text": "Line\n\n  indented\nlast\u2028",
    "stop": False,
    "interrupts": True,
}


@pytest.fixture
def experts():
    return {slug: Expert.objects.create(slug=slug, name=slug) for slug in ("code", "math")}


@pytest.fixture
def full(experts):
    rule = RoutingRule.objects.create(name="Full: all", **EVERYTHING)
    rule.candidates.set(experts.values())
    rule.profiles.set(RoutingProfile.objects.filter(slug__in=["auto", "auto-fast"]))
    return rule


def rows():
    return [
        {field.name: getattr(row, field.name) for field in RoutingRule._meta.fields if field.name != "id"}
        | {"candidates": set(row.candidates.all()), "profiles": set(row.profiles.all())}
        for row in RoutingRule.objects.all()
    ]


def load(text, **options):
    return rules_import(text, **({"replace": False} | options))


def problems(text, **options):
    before = rows()
    with pytest.raises(RuleFileError) as caught:
        load(text, **options)
    assert rows() == before
    return caught.value.problems


# Export


def test_only_what_differs_from_the_defaults_is_written(experts):
    RoutingRule.objects.create(name="Later", priority=20, keywords=["b"], expert=experts["math"])
    RoutingRule.objects.create(name="First", priority=10, keywords=["a"], expert=experts["code"], stop=False)
    written = "\n".join(line for line in rules_export().splitlines() if not line.startswith("#"))
    assert written == (
        "rules:\n"
        "- name: First\n  priority: 10\n  keywords:\n  - a\n  stop: false\n  expert: code\n"
        "- name: Later\n  priority: 20\n  keywords:\n  - b\n  expert: math"
    )


def test_a_file_explains_itself():
    assert rules_export().startswith("# Routing rules, in the order they are tried.")


def test_what_is_exported_comes_back_the_same(full):
    before, text = rows(), rules_export()
    assert load(text).unchanged == ("Full: all",)
    RoutingRule.objects.all().delete()
    assert load(text).created == ("Full: all",)
    assert rows() == before
    assert rules_export() == text


def test_an_empty_list_comes_back_too(full):
    RoutingRule.objects.all().delete()
    assert str(load(rules_export(), replace=True)) == "0 created, 0 updated, 0 unchanged, 0 deleted"


# Import


def test_rules_are_known_by_their_names(full, experts):
    RoutingRule.objects.create(name="Same", expert=experts["code"])
    text = """
rules:
- {name: "Full: all", expert: math}
- {name: Same, expert: code, priority: 100}
- {name: New, expert: code, keywords: [x]}
"""
    result = load(text)
    assert (result.created, result.updated, result.unchanged, result.deleted) == (
        ("New",),
        ("Full: all",),
        ("Same",),
        (),
    )
    full.refresh_from_db()
    assert (full.expert, full.keywords, full.priority, full.stop) == (experts["math"], [], 100, True)
    assert not full.candidates.exists()
    assert not full.profiles.exists()


@pytest.mark.parametrize(("replace", "left"), [(False, {"Full: all", "New"}), (True, {"New"})])
def test_what_the_file_does_not_have(full, replace, left):
    result = load("rules: [{name: New, expert: code}]", replace=replace)
    assert result.deleted == (("Full: all",) if replace else ())
    assert set(RoutingRule.objects.values_list("name", flat=True)) == left


def test_a_dry_run_tells_and_changes_nothing(full):
    before = rows()
    result = load("rules: [{name: New, expert: code}]", replace=True, dry_run=True)
    assert (result.created, result.deleted) == (("New",), ("Full: all",))
    assert rows() == before


def test_a_plain_no_is_the_language_and_a_plain_time_a_time(experts):
    load("rules: [{name: New, expert: code, languages: [no, en], until_time: 22:00, from_time: 9:30}]")
    rule = RoutingRule.objects.get()
    assert (rule.languages, rule.from_time, rule.until_time) == (["no", "en"], dt.time(9, 30), dt.time(22))


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("expert: nobody", "expert: there is no expert “nobody”; create it first, or name another."),
        ("candidates: [code, nobody]", "candidates: there is no expert “nobody”; create it first, or name another."),
        ("expert: code, profiles: [x]", "profiles: there is no profile “x”; create it first, or name another."),
        ("expert: code, keyword: [x]", "keyword: there is no such field; there are name, priority,"),
        ("expert: code, keywords: x", "keywords: must be a list of texts."),
        ("expert: code, keywords: [2024]", "keywords: must be a text; put 2024 in quotes."),
        ("expert: code, keywords: [true]", "keywords: must be a text; put true in quotes."),
        ('expert: code, keywords: [" "]', "keywords: A keyword is empty."),
        ("expert: code, keywords: null", "keywords: must be a list of texts."),
        ('expert: code, note: "\\0"', "note: holds a null character."),
        ('expert: code, headers: {a: "\\0"}', "headers: holds a null character."),
        ("expert: code, priority: high", "priority: must be a whole number."),
        ("expert: code, priority: -1", "priority: Ensure this value is greater than or equal to 0."),
        ("expert: code, priority: 99999999999", "priority: Ensure this value is less than or equal to 2147483647."),
        ("expert: code, stop: yes", "stop: must be true or false."),
        ("expert: code, has_images: 1", "has_images: must be true or false."),
        ("expert: code, from_time: 1320", "from_time: must be a time such as 22:00."),
        ("expert: code, from_time: 25:00", "from_time: must be a time such as 22:00."),
        ("expert: code, weekdays: [funday]", "weekdays: must be names of weekdays such as monday; funday is none."),
        ("expert: code, headers: {a: 1}", 'headers: “a” must be a text in quotes, such as "1".'),
        ("expert: code, headers: [a]", "headers: must be names with values"),
        ("expert: code, overrides: {heat: 1}", "overrides: “heat” is not one of temperature,"),
        ("expert: code, overrides: {temperature: 3}", "overrides: “temperature” must be a number from 0 to 2."),
        ("expert: code, pattern: (", "pattern: This is no regular expression: missing ) at position 1."),
        ("expert: code, pattern: (a+)+$", "pattern: This takes longer than 20 ms on a long text"),
        ("expert: code, look_in: soul", "look_in: Value 'soul' is not a valid choice."),
        ("expert: code, min_tokens: 2, max_tokens: 1", "max_tokens: This must be at least as many"),
        ("expert: code, from_time: 9:00, until_time: 9:00", "until_time: The window ends when it begins."),
        ("expert: code, system_mode: append", "system_text: Enter the text, or leave the system message alone."),
        ("expert: code, system_text: x", "system_text: Say what to do with this text"),
        ("expert: code, candidates: [math]", "candidates: The rule names an expert already."),
        ("keywords: [x]", "This rule would do nothing."),
    ],
)
def test_an_error_names_rule_and_field_and_nothing_is_changed(full, rule, problem):
    (said,) = problems(f"rules: [{{name: Good, expert: code}}, {{name: Bad, {rule}}}]", replace=True)
    assert said.startswith(f"Rule “Bad”: {problem}")


def test_every_error_is_told_at_once(experts):
    said = problems("rules: [{name: a, expert: x}, {name: b, stop: 1, expert: code, languages: 1}]")
    assert [line.split(":")[0] for line in said] == ["Rule “a”", "Rule “b”", "Rule “b”"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "The file must hold “rules:”"),
        ("[]", "The file must hold “rules:”"),
        ("rules: {}", "The file must hold “rules:”"),
        ("{rules: [], more: 1}", "The file must hold “rules:”"),
        ("rules: [x]", "Rule number 1 has no name that is a text."),
        ("rules: [{name: 5}]", "Rule number 1 has no name that is a text."),
        ("rules: [{name: a}, {name: a}]", "Rule “a” is there twice"),
        ("rules:\n- name: a\n  name: b", "Line 3: this is no YAML: “name” is there twice."),
        ("rules: ]", "Line 1: this is no YAML:"),
        ("a\x00b", "this is no YAML:"),
        ("rules: []\n---\nrules: []", "Line 2: this is no YAML:"),
        ("rules: !!python/object/apply:os.getcwd []", "Line 1: put it in quotes; tags with ! are not read."),
        ("a: &a [x]\nrules: [*a, *a]", "Line 2: write it out; references with * are not read."),
        ("[" * 100_000, "Line 1: this is nested too deeply."),
        ("#" * MAX_BYTES + "\nrules: []", "The file is larger than 2 MB."),
        ("rules:\n" + "- {}\n" * 2001, "The file holds more than 2000 rules."),
    ],
)
def test_a_file_that_holds_no_rules(text, problem):
    (said,) = problems(text, replace=True)
    assert said.startswith(problem)


# The command


def run(*arguments):
    out = StringIO()
    call_command("rules", *arguments, stdout=out)
    return out.getvalue()


def test_a_file_is_written_and_read_back(full, tmp_path):
    path = tmp_path / "rules.yaml"
    run("export", str(path))
    assert path.read_text() == run("export") == rules_export()
    RoutingRule.objects.all().delete()
    assert run("import", str(path), "--dry-run") == (
        "created: Full: all\n1 created, 0 updated, 0 unchanged, 0 deleted (dry run: nothing was changed)\n"
    )
    assert not RoutingRule.objects.exists()
    assert run("import", str(path)) == "created: Full: all\n1 created, 0 updated, 0 unchanged, 0 deleted\n"
    path.write_text("rules: []")
    assert run("import", str(path), "--replace").startswith("deleted: Full: all\n")


def test_a_file_that_cannot_be_taken_is_told(tmp_path):
    path = tmp_path / "rules.yaml"
    with pytest.raises(CommandError, match=r"Cannot read .*: No such file"):
        run("import", str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandError, match="no text in UTF-8"):
        run("import", str(path))
    path.write_text("rules: [{name: a, expert: x}]")
    with pytest.raises(CommandError, match=r"“a”: expert: there is no expert “x”.*\nNothing was changed"):
        run("import", str(path))


def test_check_tells_what_is_wrong(experts):
    assert run("check") == "Nothing is wrong with the 0 rules.\n"
    for name, expert in (("one", "code"), ("two", "math")):
        RoutingRule.objects.create(name=name, keywords=["a", name], expert=experts[expert])
    with pytest.raises(CommandError, match="1 to look at, in 2 rules"):
        run("check")
    Expert.objects.update(enabled=False)
    with pytest.raises(CommandError, match="3 to look at"):
        run("check")


# Rows into rules


def test_rules_are_loaded_as_their_rows_have_them(full):
    (rule,) = rules_all()
    assert rules_load() == ()
    for name, value in EVERYTHING.items():
        if name != "note":
            held = getattr(rule, name)
            assert held == type(held)(value) if isinstance(value, list) else held == value
    assert (rule.expert, rule.candidates, rule.profiles) == (None, ("code", "math"), {"auto", "auto-fast"})


def test_what_is_disabled_is_not_loaded(experts):
    RoutingRule.objects.create(name="on", expert=experts["code"])
    RoutingRule.objects.create(name="nobody", overrides={"seed": 1}, priority=1)
    RoutingRule.objects.create(name="off", expert=experts["code"], enabled=False)
    Expert.objects.filter(slug="math").update(enabled=False)
    RoutingRule.objects.create(name="off too", expert=experts["math"])
    assert [rule.name for rule in rules_load()] == ["nobody", "on"]


def test_loading_takes_as_many_queries_as_there_are_tables(full, experts, django_assert_num_queries):
    for number in range(5):
        RoutingRule.objects.create(name=str(number), expert=experts["code"])
    with django_assert_num_queries(3):
        assert len(rules_load()) == 5


def test_a_row_that_cannot_be_read_does_not_take_the_others_away(experts, caplog):
    RoutingRule.objects.create(name="broken", expert=experts["code"], headers=["x"])
    RoutingRule.objects.create(name="good", expert=experts["code"])
    assert [rule.name for rule in rules_load()] == ["good"]
    assert "it is skipped until it is saved again" in caplog.text
