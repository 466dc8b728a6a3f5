"""The admin's pages of rules, in process."""

import html
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import NoReverseMatch
from django.utils import timezone

from routing.catalog import catalog
from routing.models import Expert, RoutingProfile, RoutingRule, RuleUse

pytestmark = pytest.mark.django_db

LIST = "/admin/routing/routingrule/"


@pytest.fixture
def experts():
    return {slug: Expert.objects.create(slug=slug, name=slug.title()) for slug in ("code", "math", "chat")}


@pytest.fixture
def rules(experts):
    return [
        RoutingRule.objects.create(name=name, priority=priority, keywords=[name], expert=experts["code"])
        for name, priority in (("first", 1), ("second", 2), ("third", 2))
    ]


def signed_in(client, *permissions):
    user = User.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{one}_routingrule" for one in permissions]))
    client.force_login(user)
    return client


def text_of(response):
    return html.unescape(response.content.decode())


def names():
    return list(RoutingRule.objects.values_list("name", flat=True))


FORM = {
    "name": "New",
    "priority": "10",
    "enabled": "on",
    "look_in": "message",
    "has_images": "unknown",
    "has_tools": "unknown",
    "wants_json": "unknown",
    "headers": "{}",
    "metadata": "{}",
    "overrides": "{}",
    "stop": "on",
}


def save(client, path=f"{LIST}add/", **fields):
    """Post the form; return what is wrong with it, by words, or "" when it was saved."""
    response = client.post(path, {key: value for key, value in (FORM | fields).items() if value is not None})
    return (
        ""
        if response.status_code == 302
        else " ".join(re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', text_of(response)))
    )


# The form


def test_every_condition_and_action_can_be_entered(admin_client, experts):
    profile = RoutingProfile.objects.get(slug="auto")
    wrong = save(
        admin_client,
        note="Because.\r\nOf that.",
        look_in="conversation",
        keywords=" code \r\n\r\nunit test\r\ncode",
        all_keywords="all",
        none_keywords="none\n没有",
        pattern=r"\d+",
        has_images="true",
        has_tools="false",
        min_tokens="1",
        max_tokens="2",
        languages="EN\nde",
        keys="ci-*",
        groups="legal",
        headers='{"x-team": "legal*"}',
        metadata='{"project": "atlas"}',
        profiles=[profile.pk],
        weekdays=["0", "6"],
        from_time="22:00",
        until_time="06:00",
        min_evidence="0.5",
        evidence_collections="handbook\nwiki",
        candidates=[experts["code"].pk, experts["math"].pk],
        collections="manuals",
        overrides='{"temperature": 0}',
        system_mode="append",
        system_text="Be brief.\r\nBe kind.",
        stop=None,
        interrupts="on",
    )
    assert wrong == ""
    rule = RoutingRule.objects.get()
    assert (rule.keywords, rule.all_keywords, rule.none_keywords) == (["code", "unit test"], ["all"], ["none", "没有"])
    assert (rule.has_images, rule.has_tools, rule.wants_json) == (True, False, None)
    assert (rule.languages, rule.keys, rule.groups, rule.weekdays) == (["en", "de"], ["ci-*"], ["legal"], [0, 6])
    assert (rule.headers, rule.metadata, rule.overrides) == (
        {"x-team": "legal*"},
        {"project": "atlas"},
        {"temperature": 0},
    )
    assert (rule.system_text, rule.note, rule.stop, rule.interrupts) == (
        "Be brief.\nBe kind.",
        "Because.\nOf that.",
        False,
        True,
    )
    assert (rule.min_evidence, rule.evidence_collections) == (0.5, ["handbook", "wiki"])
    assert set(rule.candidates.all()) == {experts["code"], experts["math"]}
    assert list(rule.profiles.all()) == [profile]
    page = text_of(admin_client.get(f"{LIST}{rule.pk}/change/"))
    assert "code\nunit test</textarea>" in page
    assert len(re.findall(r'name="weekdays"[^>]*checked', page)) == 2


def test_emptied_boxes_mean_nothing(admin_client, experts):
    assert save(admin_client, expert=experts["code"].pk, headers="", metadata="", overrides="") == ""
    rule = RoutingRule.objects.get()
    assert (rule.headers, rule.metadata, rule.overrides) == ({}, {}, {})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pattern": "("}, "This is no regular expression: missing ) at position 1."),
        ({"pattern": "(a+)+$"}, "Avoid repetitions within repetitions"),
        ({"pattern": "(bb|b)+c"}, "Avoid repetitions within repetitions"),
        ({"pattern": "x" * 501}, "at most 500 characters"),
        ({"headers": '{"a": 1}'}, '“a” must be a text in quotes, such as "1".'),
        ({"headers": '["a"]'}, "Enter a JSON object of texts"),
        ({"metadata": '{"a": {"b": "c"}}'}, "“a” must be a text in quotes"),
        ({"overrides": '{"heat": 1}'}, "“heat” is not one of temperature"),
        ({"overrides": '{"temperature": 9}'}, "“temperature” must be a number from 0 to 2."),
        ({"min_tokens": "2", "max_tokens": "1"}, "This must be at least as many as the fewest tokens."),
        ({"from_time": "09:00", "until_time": "09:00"}, "The window ends when it begins."),
        ({"min_evidence": "0.5"}, "Name the collections in which evidence is looked for."),
        ({"min_evidence": "1.5", "collections": "a"}, "less than or equal to 1"),
        ({"evidence_collections": "a"}, "Say how strong the evidence in these must be"),
        ({"system_mode": "insert"}, "Enter the text, or leave the system message alone."),
        ({"system_text": "Hello"}, "Say what to do with this text"),
        ({"expert": ""}, "This rule would do nothing."),
        ({"weekdays": ["7"]}, "7 is not one of the available choices"),
        ({"collections": "two words"}, "Enter a valid “slug”"),
        ({"keywords": "x" * 201}, "at most 200 characters"),
    ],
)
def test_what_could_never_work_is_refused(admin_client, experts, fields, words):
    assert words in save(admin_client, **({"expert": experts["code"].pk} | fields))
    assert not RoutingRule.objects.exists()


def test_one_expert_or_candidates_but_not_both(admin_client, experts):
    both = {"expert": experts["code"].pk, "candidates": [experts["math"].pk]}
    assert "Name either one expert or candidates." in save(admin_client, **both)
    assert save(admin_client, candidates=both["candidates"]) == ""


# The list


def test_the_list_tells_rules_in_words(admin_client, rules, experts):
    RuleUse.objects.create(rule=rules[0], hits=41, last_hit_at=timezone.now())
    RoutingRule.objects.filter(name="second").update(has_images=True, expert=None, overrides={"seed": 1})
    page = text_of(admin_client.get(LIST))
    for words in ("second; an image", "code answers; stops", "seed 1; stops", ">41<", "never"):
        assert words in page


def test_priority_and_enabled_are_edited_in_the_list(admin_client, rules):
    # One that its own form would refuse, as it was written past it, does not keep the list from being saved.
    RoutingRule.objects.filter(name="third").update(pattern="(")
    form = {f"form-{number}-id": rule.pk for number, rule in enumerate(rules)}
    form |= {f"form-{number}-priority": 30 - number for number in range(3)}
    form |= {"form-TOTAL_FORMS": 3, "form-INITIAL_FORMS": 3, "form-0-enabled": "on", "_save": "Save"}
    assert admin_client.post(LIST, form).status_code == 302
    assert list(RoutingRule.objects.values_list("name", "priority", "enabled")) == [
        ("third", 28, False),
        ("second", 29, False),
        ("first", 30, True),
    ]
    page = text_of(admin_client.post(LIST, form | {"form-1-priority": "99999999999"}))
    assert "less than or equal to 2147483647" in page


def test_rules_are_enabled_and_disabled_together(admin_client, rules):
    chosen = {"_selected_action": [rules[0].pk, rules[1].pk]}
    page = admin_client.post(LIST, {"action": "disable", **chosen}, follow=True)
    assert "Disabled 2 rules." in text_of(page)
    assert list(RoutingRule.objects.values_list("enabled", flat=True)) == [False, False, True]
    page = admin_client.post(LIST, {"action": "enable", "_selected_action": [rules[0].pk, rules[2].pk]}, follow=True)
    assert "Enabled 1 rule." in text_of(page)


@pytest.mark.parametrize(
    ("number", "way", "order"),
    [
        (0, "down", ["second", "first", "third"]),
        (2, "up", ["first", "third", "second"]),
        (1, "down", ["first", "third", "second"]),
    ],
)
def test_a_rule_is_moved_by_one_place(admin_client, rules, number, way, order):
    page = text_of(admin_client.get(LIST))
    assert f'formaction="{LIST}{rules[number].pk}/move/" name="move" value="{way}"' in page
    page = admin_client.post(f"{LIST}{rules[number].pk}/move/", {"move": way}, follow=True)
    assert f"Moved “{rules[number]}” {way}." in text_of(page)
    assert names() == order
    assert list(RoutingRule.objects.values_list("priority", flat=True)) == [10, 20, 30]


@pytest.mark.parametrize(("number", "way", "words"), [(0, "up", "is first already"), (2, "down", "is last already")])
def test_a_rule_is_not_moved_past_the_end(admin_client, rules, number, way, words):
    page = admin_client.post(f"{LIST}{rules[number].pk}/move/", {"move": way}, follow=True)
    assert words in text_of(page)
    assert list(RoutingRule.objects.values_list("priority", flat=True)) == [1, 2, 2]


def test_moving_leads_back_to_the_list_as_it_was(admin_client, rules):
    path = f"{LIST}{rules[0].pk}/move/"
    back = admin_client.post(path, {"move": "down"}, headers={"referer": f"http://testserver{LIST}?enabled__exact=1"})
    assert back["Location"] == f"{LIST}?enabled__exact=1"
    back = admin_client.post(path, {"move": "down"}, headers={"referer": "http://elsewhere/?x=1"})
    assert back["Location"] == LIST
    assert admin_client.get(path).status_code == 405
    assert admin_client.post(f"{LIST}99999/move/").status_code == 404


# Findings


def test_what_is_wrong_is_shown_on_top_of_the_list_and_of_the_rule(admin_client, rules, experts):
    taken = RoutingRule.objects.create(name="<b>taken</b>", priority=9, keywords=["first"], expert=experts["math"])
    words = f"“{taken.name}” is tried only when code cannot take the request"
    response = admin_client.get(LIST)
    assert words in text_of(response)
    assert "<b>taken</b>" not in response.content.decode()
    assert words in text_of(admin_client.get(f"{LIST}{taken.pk}/change/"))
    assert words not in text_of(admin_client.get(f"{LIST}{rules[0].pk}/change/"))


def test_of_many_findings_some_are_shown(admin_client, experts):
    for number in range(25):
        RoutingRule.objects.create(name=f"r{number}", expert=experts["code"], keywords=[f"w{number}"], languages=["?"])
    assert "… and 5 more" in text_of(admin_client.get(LIST))


# Import and export


def upload(text, **fields):
    return {"file": SimpleUploadedFile("rules.yaml", text.encode())} | fields


def hidden(page):
    return {
        name: html.unescape(value)
        for name, value in re.findall(
            r'<input type="hidden" name="(text|replace)" value="([^"]*)">', page.content.decode()
        )
    }


def test_rules_are_carried_from_one_installation_to_another(admin_client, rules, experts):
    download = admin_client.get(f"{LIST}export/")
    assert download["Content-Disposition"] == 'attachment; filename="rules.yaml"'
    RoutingRule.objects.filter(name="first").delete()
    RoutingRule.objects.filter(name="second").update(keywords=["other"])
    RoutingRule.objects.create(name="extra", priority=99, expert=experts["math"])

    page = admin_client.post(f"{LIST}import/", upload(download.content.decode(), replace="on"))
    shown = re.sub(r"\s*<[^>]+>\s*", " ", text_of(page))
    for words in ("Created first", "Updated second", "Deleted extra", "Unchanged 1"):
        assert re.search(rf"{words}\b".replace(" ", r"\s+"), shown), words
    assert names() == ["second", "third", "extra"]

    page = admin_client.post(f"{LIST}import/", hidden(page), follow=True)
    assert "Imported the rules: 1 created, 1 updated, 1 unchanged, 1 deleted." in text_of(page)
    assert sorted(names()) == ["first", "second", "third"]
    assert "Imported." in text_of(admin_client.get(f"{LIST}{RoutingRule.objects.get(name='first').pk}/history/"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [{name: <b>, expert: nobody}]", "Rule “<b>”: expert: there is no expert “nobody”"),
        ("rules: [", "this is no YAML"),
        ("#" * 2_000_001, "The file is larger than 2 MB."),
    ],
)
def test_a_file_that_cannot_be_taken(admin_client, rules, text, words):
    page = admin_client.post(f"{LIST}import/", upload(text))
    assert words in text_of(page)
    assert "<b>" not in page.content.decode()
    assert admin_client.post(f"{LIST}import/", {"text": text}).status_code == 200
    assert len(names()) == 3


def test_a_file_in_another_encoding_is_told(admin_client):
    page = admin_client.post(f"{LIST}import/", {"file": SimpleUploadedFile("rules.yaml", b"\xff\xfe")})
    assert "This is no text in UTF-8." in text_of(page)


# Who may


def test_who_may_only_look_cannot_change_anything(client, rules):
    signed_in(client, "view")
    page = text_of(client.get(LIST))
    assert "first" in page
    assert "/import/" not in page
    assert "/move/" not in page
    assert client.get(f"{LIST}{rules[0].pk}/change/").status_code == 200
    assert client.get(f"{LIST}export/").status_code == 200
    assert client.get(f"{LIST}import/").status_code == 403
    assert client.post(f"{LIST}import/", {"text": "rules: []", "replace": "on"}).status_code == 403
    assert client.post(f"{LIST}{rules[1].pk}/move/", {"move": "up"}).status_code == 403
    client.post(LIST, {"action": "disable", "_selected_action": [rules[0].pk]})
    assert list(RoutingRule.objects.values_list("priority", "enabled")) == [(1, True), (2, True), (2, True)]


def test_who_may_not_delete_cannot_replace(client, rules, experts):
    signed_in(client, "view", "add", "change")
    assert 'name="replace"' not in client.get(f"{LIST}import/").content.decode()
    assert client.post(f"{LIST}import/", upload("rules: []", replace="on")).status_code == 403
    assert client.post(f"{LIST}import/", {"text": "rules: []", "replace": "on"}).status_code == 403
    assert client.post(f"{LIST}import/", {"text": "rules: [{name: New, expert: code}]"}).status_code == 302
    assert len(names()) == 4


def test_strangers_see_nothing(client, rules):
    for path in ("export/", "import/", f"{rules[0].pk}/move/"):
        assert client.post(f"{LIST}{path}").status_code == 302
    signed_in(client)
    assert client.get(f"{LIST}export/").status_code == 403


# Elsewhere


@pytest.mark.parametrize("there", [True, False])
def test_a_prompt_can_be_tried_where_there_is_a_page_for_it(admin_client, rules, monkeypatch, there):
    from routing.admin import rules as module

    def found(name, *args, **kwargs):
        if name != "admin:routing_try":
            return real(name, *args, **kwargs)
        if not there:
            raise NoReverseMatch
        return "/try-it/"

    real = module.reverse
    monkeypatch.setattr(module, "reverse", found)
    for path in (LIST, f"{LIST}{rules[0].pk}/change/"):
        assert ('<a href="/try-it/">Try a prompt</a>' in text_of(admin_client.get(path))) is there


@pytest.mark.django_db(transaction=True)
def test_the_next_decision_knows_of_every_change(admin_client, experts):
    assert catalog.get().rules == ()

    def known():
        return [rule.name for rule in catalog.get().rules]

    for name in ("one", "two"):
        assert save(admin_client, name=name, expert=experts["code"].pk, keywords=name) == ""
    assert known() == ["one", "two"]
    two = RoutingRule.objects.get(name="two")
    admin_client.post(f"{LIST}{two.pk}/move/", {"move": "up"})
    assert known() == ["two", "one"]
    admin_client.post(LIST, {"action": "disable", "_selected_action": [two.pk]})
    assert known() == ["one"]
    admin_client.post(f"{LIST}import/", {"text": "rules: [{name: three, expert: code}]", "replace": "on"})
    assert known() == ["three"]
