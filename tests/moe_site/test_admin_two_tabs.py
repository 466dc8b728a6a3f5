"""Every page of the admin on which a row is changed, in two tabs at once."""

from types import SimpleNamespace

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.forms.models import model_to_dict

from gateway.models import ApiKey, Guard, KeyGroup
from knowledge.models import Collection, Document, EmbeddingModel, GoldenQuery, WatchedSource
from routing.models import Expert, ModelServer, Replica, RouteExample, RouterProgram, RoutingProfile, RoutingRule
from tests.adminforms import errors_of, filled
from tests.knowledge.rows import collection_of, document_of, model_of

pytestmark = pytest.mark.django_db


def expert():
    return Expert.objects.create(slug="code", name="Code")


def server():
    return ModelServer.objects.create(name="one", base_url="http://127.0.0.1:9", enabled=False)


def watched():
    return WatchedSource.objects.create(
        collection=collection_of(), kind=WatchedSource.Kind.SITEMAP, location="http://127.0.0.1/map.xml"
    )


# How a row of each is made, and two fields with what two people write in them.
PAGES = {
    ApiKey: (lambda: ApiKey.objects.issue(name="app")[0], {"note": "x"}, {"tokens_per_day": "7"}),
    Collection: (collection_of, {"description": "x"}, {"name": "Rules"}),
    Document: (lambda: document_of(collection_of()), {"url": "https://a.example/"}, {"metadata": '{"a": 1}'}),
    EmbeddingModel: (model_of, {"ceiling": "0.7"}, {"floor": "0.2"}),
    Expert: (expert, {"system_prompt": "x"}, {"description": "y"}),
    GoldenQuery: (
        lambda: GoldenQuery.objects.create(collection=collection_of(), query="How many?", answers=["thirty"]),
        {"answers": "thirty\n30"},
        {"query": "How many days?"},
    ),
    Group: (lambda: Group.objects.create(name="staff"), {"permissions": ["1"]}, {"name": "people"}),
    Guard: (
        lambda: Guard.objects.create(name="house", check_kind="personal", places=["input"], action="mask"),
        {"places": ["input", "output"]},
        {"note": "x"},
    ),
    KeyGroup: (lambda: KeyGroup.objects.create(name="staff"), {"allowed_models": "auto"}, {"note": "x"}),
    ModelServer: (server, {"note": "x"}, {"name": "two"}),
    Replica: (
        lambda: Replica.objects.create(expert=expert(), server=server(), model="a:1b"),
        {"concurrency": "3"},
        {"model": "b:1b"},
    ),
    RouteExample: (
        lambda: RouteExample.objects.create(prompt="Sort it.", expert=expert()),
        {"note": "x"},
        {"prompt": "Sort\r\nthem."},
    ),
    RouterProgram: (
        lambda: RouterProgram.objects.create(runs_on=expert(), status=RouterProgram.Status.FAILED),
        {"note": "x"},
        {"accept_from": "0.9"},
    ),
    RoutingProfile: (
        lambda: RoutingProfile.objects.create(slug="team", name="Team"),
        {"defaults": '{"temperature": 0}'},
        {"speed": "2"},
    ),
    RoutingRule: (
        lambda: RoutingRule.objects.create(name="first", keywords=["sort"], expert=expert()),
        {"keywords": "sort\r\nlist"},
        {"weekdays": ["1"]},
    ),
    User: (lambda: User.objects.create_user("anna", is_staff=True), {"email": "a@b.example"}, {"first_name": "Anna"}),
    WatchedSource: (watched, {"pattern": "**/a*"}, {"every_minutes": "90"}),
}


def _pages():
    anybody = SimpleNamespace(user=SimpleNamespace(has_perm=lambda *_: True, is_superuser=True))
    return [model for model, page in admin.site._registry.items() if page.has_change_permission(anybody)]


def values_of(row):
    row = type(row)._base_manager.get(pk=row.pk)
    own = ("date_joined", "last_login")  # Django's own form takes the microseconds from these
    return {name: str(value) for name, value in model_to_dict(row).items() if name not in own}


@pytest.mark.parametrize("model", _pages(), ids=lambda model: model._meta.label_lower)
class TestTwoTabs:
    def test_do_not_undo_one_another(self, admin_client, model):
        assert model in PAGES, f"Say in PAGES how a {model.__name__} is made, and let its page be UndoesNothing."
        make, theirs, mine = PAGES[model]
        row = make()
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{row.pk}/change/"
        first, second = admin_client.get(page), admin_client.get(page)
        assert errors_of(admin_client.post(page, filled(first, **theirs))) == ""
        changed = values_of(row)

        refused = admin_client.post(page, filled(second, **mine))
        assert "You (" in errors_of(refused)
        assert "changed this after you had opened the page, and nothing of yours was stored" in errors_of(refused)
        assert values_of(row) == changed

        # What either wrote stands in the page that was refused, and saving that keeps both.
        saved = admin_client.post(page, filled(refused))
        assert (saved.status_code, errors_of(saved)) == (302, "")
        both = values_of(row)
        assert both != changed
        assert {name: both[name] for name in theirs} == {name: changed[name] for name in theirs}

    def test_that_changed_nothing_are_in_nobody_s_way(self, admin_client, model):
        make, theirs, _ = PAGES[model]
        row = make()
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{row.pk}/change/"
        first, second = admin_client.get(page), admin_client.get(page)
        before = values_of(row)
        assert admin_client.post(page, filled(first)).status_code == 302
        assert values_of(row) == before
        assert admin_client.post(page, filled(second, **theirs)).status_code == 302
        # A form that is sent twice says what is there already.
        assert admin_client.post(page, filled(second, **theirs)).status_code == 302
        assert values_of(row) != before
