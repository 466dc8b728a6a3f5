"""The admin's pages of examples, in process."""

import html
import json
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile

from routing.models import Expert, RouteExample

pytestmark = pytest.mark.django_db

LIST = "/admin/routing/routeexample/"


@pytest.fixture
def experts():
    return {slug: Expert.objects.create(slug=slug, name=slug.title()) for slug in ("code", "math", "chat")}


@pytest.fixture
def examples(experts):
    return [
        RouteExample.objects.create(prompt=prompt, expert=experts[slug])
        for prompt, slug in (("Fix this.", "code"), ("Explain this.", "code"), ("1+1?", "math"))
    ]


def signed_in(client, *permissions):
    user = User.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{one}_routeexample" for one in permissions]))
    client.force_login(user)
    return client


def text_of(response):
    return html.unescape(response.content.decode())


def words_of(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text_of(response)))


def act(client, action, rows, **fields):
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(LIST, chosen | fields, follow=True)


def upload(*entries, **fields):
    text = "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)
    return {"file": SimpleUploadedFile("examples.jsonl", text.encode()), "split": "training"} | fields


def hidden(page):
    found = re.findall(r'<input type="hidden" name="(text|split)" value="([^"]*)">', page.content.decode())
    return {name: html.unescape(value) for name, value in found}


# The list and the form


def test_the_list_shows_examples_and_counts_them(admin_client, examples, experts):
    RouteExample.objects.filter(prompt="1+1?").update(split="evaluation", language="en")
    RouteExample.objects.create(prompt="long " * 100 + "<b>", expert=experts["code"], enabled=False)
    response = admin_client.get(LIST)
    words = words_of(response)
    for expected in ("Code 2 0 1", "Math 0 1 0", "Chat 0 0 0", "Fix this.", "evaluation: only measured with", "…"):
        assert expected in words
    assert "<b>" not in response.content.decode()
    assert "Fix this." not in words_of(admin_client.get(f"{LIST}?q=explain"))
    assert "Fix this." not in words_of(admin_client.get(f"{LIST}?expert__id__exact={experts['math'].pk}"))


def test_an_example_is_written(admin_client, experts, admin_user):
    form = {"prompt": "Two\r\nlines", "expert": experts["code"].pk, "split": "training", "enabled": "on", "note": ""}
    assert admin_client.post(f"{LIST}add/", form).status_code == 302
    example = RouteExample.objects.get()
    assert (example.prompt, example.source, example.created_by) == ("Two\nlines", "curated", admin_user)
    page = admin_client.get(f"{LIST}{example.pk}/change/")
    assert "written here" in words_of(page)
    form |= {"expert": experts["math"].pk, "split": "evaluation"}
    assert admin_client.post(f"{LIST}{example.pk}/change/", form).status_code == 302
    example.refresh_from_db()
    assert (example.expert, example.split) == (experts["math"], "evaluation")


def test_a_prompt_is_an_example_once(admin_client, examples, experts):
    form = {"prompt": "fix  THIS.", "expert": experts["math"].pk, "split": "training"}
    page = text_of(admin_client.post(f"{LIST}add/", form))
    assert f"This prompt is example {examples[0].pk} already, for “Code”. Change that one instead." in page
    page = text_of(admin_client.post(f"{LIST}{examples[2].pk}/change/", form))
    assert "already, for “Code”" in page
    # But it may be saved as it is.
    form = {"prompt": "Fix this!", "expert": experts["code"].pk, "split": "training"}
    assert admin_client.post(f"{LIST}{examples[0].pk}/change/", form).status_code == 302


# Actions


def test_examples_are_switched_together(admin_client, examples):
    page = act(admin_client, "disable", examples[:2])
    assert "Disabled: 2 examples." in text_of(page)
    assert RouteExample.objects.filter(enabled=False).count() == 2
    page = act(admin_client, "enable", examples)
    assert "Enabled: 2 examples." in text_of(page)
    act(admin_client, "to_evaluation", examples[:1])
    assert RouteExample.objects.get(split="evaluation") == examples[0]
    assert "Moved to training: 1 example." in text_of(act(admin_client, "to_training", examples))
    assert "Moved to evaluation." in text_of(admin_client.get(f"{LIST}{examples[0].pk}/history/"))


def test_examples_are_moved_to_another_expert(admin_client, examples, experts):
    page = act(admin_client, "change_expert", examples[1:])
    assert "Who should answer these?" in text_of(page)
    assert "Explain this." in text_of(page)
    assert "Chat (chat)" in text_of(page)
    page = act(admin_client, "change_expert", examples[1:], chosen="yes")
    assert "This field is required." in text_of(page)
    page = act(admin_client, "change_expert", examples[1:], chosen="yes", expert=experts["chat"].pk)
    assert "Moved to “Chat”: 2 examples." in text_of(page)
    assert list(RouteExample.objects.order_by("pk").values_list("expert__slug", flat=True)) == ["code", "chat", "chat"]


def test_all_that_a_filter_finds_can_be_moved(admin_client, experts):
    for number in range(120):
        RouteExample.objects.create(prompt=f"prompt {number}", expert=experts["code"])
    page = act(admin_client, "change_expert", RouteExample.objects.all()[:100], select_across="1")
    assert "… and more." in text_of(page)
    assert 'name="select_across" value="1"' in page.content.decode()
    fields = {"select_across": "1", "chosen": "yes", "expert": experts["math"].pk}
    page = act(admin_client, "change_expert", RouteExample.objects.all()[:100], **fields)
    assert "Moved to “Math”: 120 examples." in text_of(page)


def test_some_can_be_exported(admin_client, examples):
    page = act(admin_client, "export_selected", examples[:1])
    assert page.content.decode() == '{"prompt": "Fix this.", "expert": "code"}\n'


# Import and export


def test_an_import_is_shown_before_it_is_done(admin_client, examples, admin_user):
    download = admin_client.get(f"{LIST}export/")
    assert download["Content-Disposition"] == 'attachment; filename="examples.jsonl"'
    page = admin_client.post(
        f"{LIST}import/",
        upload(
            *download.content.decode().splitlines(),
            {"prompt": "FIX THIS.", "expert": "code"},
            {"prompt": "New <i>one</i>", "label": "chat"},
            {"prompt": "Whose?", "label": "<b>nobody</b>"},
            split="evaluation",
        ),
    )
    words = words_of(page)
    for expected in ("New 1", "Changed 0", "Unchanged 3", "Line 6: there is no expert “ nobody ”."):
        assert expected in words
    assert "<b>nobody" not in page.content.decode()
    assert RouteExample.objects.count() == 3
    page = admin_client.post(f"{LIST}import/", hidden(page), follow=True)
    assert "Imported the examples: 1 new, 0 changed, 3 unchanged, 1 left out for want of an expert." in text_of(page)
    added = RouteExample.objects.get(expert__slug="chat")
    assert (added.source, added.split, added.created_by) == ("imported", "evaluation", admin_user)


def test_what_would_change_is_named(admin_client, examples):
    page = admin_client.post(f"{LIST}import/", upload({"prompt": "fix this.", "expert": "math"}))
    assert "1 Fix this. code math" in words_of(page)
    admin_client.post(f"{LIST}import/", hidden(page))
    assert RouteExample.objects.get(prompt="Fix this.").expert.slug == "math"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"prompt": "a"}\nnonsense', ["Line 1: “expert” is missing.", "Line 2: this is no JSON"]),
        (b"\xff\xfe", ["This is no text in UTF-8."]),
        (b"x" * 20_000_001, ["The file is larger than 20 MB. Split it."]),
        (b"nonsense\n" * 60, ["Line 50: this is no JSON", "… and 10 more."]),
    ],
)
def test_a_file_that_cannot_be_taken(admin_client, examples, content, words):
    form = {"file": SimpleUploadedFile("examples.jsonl", content), "split": "training"}
    page = text_of(admin_client.post(f"{LIST}import/", form))
    for expected in words:
        assert expected.replace("“", '"').replace("”", '"') in page
    assert 'type="file"' in page
    assert RouteExample.objects.count() == 3


def test_what_became_wrong_after_the_preview_is_told(admin_client, examples):
    page = admin_client.post(f"{LIST}import/", {"text": "nonsense", "split": "strange"})
    assert "The file cannot be taken, and nothing was changed." in text_of(page)


def test_a_file_of_megabytes_gets_through(admin_client, experts):
    page = admin_client.post(f"{LIST}import/", upload('{"prompt": "%s", "expert": "code"}' % ("é" * 9_000_000)))
    assert "New 1" in words_of(page)
    assert admin_client.post(f"{LIST}import/", hidden(page)).status_code == 302
    assert len(RouteExample.objects.get().prompt) == 9_000_000


# Who may


def test_who_may_only_look_cannot_change_anything(client, examples, experts):
    signed_in(client, "view")
    page = text_of(client.get(LIST))
    assert "Fix this." in page
    assert "/import/" not in page
    assert client.get(f"{LIST}{examples[0].pk}/change/").status_code == 200
    assert client.get(f"{LIST}export/").status_code == 200
    assert client.get(f"{LIST}import/").status_code == 403
    assert client.post(f"{LIST}import/", {"text": '{"prompt": "x", "expert": "code"}'}).status_code == 403
    act(client, "disable", examples)
    act(client, "change_expert", examples, chosen="yes", expert=experts["chat"].pk)
    assert RouteExample.objects.filter(enabled=True).exclude(expert=experts["chat"]).count() == 3


def test_strangers_see_nothing(client, examples):
    for path in ("", "export/", "import/"):
        assert client.get(f"{LIST}{path}").status_code == 302
    signed_in(client)
    for path in ("", "export/", "import/"):
        assert client.get(f"{LIST}{path}").status_code == 403
