"""What an administrator may enter, and what is made of it."""

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from routing.admin import ModelServerForm
from routing.catalog import load
from routing.models import Expert, InstalledModel, ModelServer, Replica, RoutingRule

pytestmark = pytest.mark.django_db


def server(**fields):
    return ModelServer.objects.create(**({"name": "gpu-box", "base_url": "http://gpu-box:11434"} | fields))


class TestModelServer:
    @pytest.mark.parametrize(
        ("entered", "kept"),
        [
            ("http://gpu-box:11434/", "http://gpu-box:11434"),
            ("http://gpu-box:8080/v1", "http://gpu-box:8080"),
            ("https://host/ollama/api/", "https://host/ollama"),
        ],
    )
    def test_the_protocols_path_is_taken_off(self, entered, kept):
        row = ModelServer(name="x", base_url=entered)
        row.full_clean()
        assert row.base_url == kept

    @pytest.mark.parametrize("entered", ["gpu-box:11434", "ftp://gpu-box", "http://", "http://me:secret@gpu-box"])
    def test_other_addresses_are_refused(self, entered):
        with pytest.raises(ValidationError):
            ModelServer(name="x", base_url=entered).full_clean()

    def test_its_key_is_unreadable_in_the_database(self):
        row = server(api_key="sk-very-secret")
        with connection.cursor() as cursor:
            cursor.execute("SELECT api_key FROM routing_modelserver")
            assert "very-secret" not in cursor.fetchone()[0]
        assert ModelServer.objects.get(pk=row.pk).address().api_key == "sk-very-secret"

    def test_its_key_is_never_shown_and_an_empty_field_keeps_it(self):
        row = server(api_key="sk-very-secret")
        assert "very-secret" not in str(ModelServerForm(instance=row))
        entered = {"name": "renamed", "kind": "ollama", "base_url": row.base_url, "api_key": "", "enabled": "on"}
        ModelServerForm(entered, instance=row).save()
        row.refresh_from_db()
        assert (row.name, row.api_key) == ("renamed", "sk-very-secret")
        ModelServerForm(entered | {"remove_api_key": "on"}, instance=row).save()
        row.refresh_from_db()
        assert row.api_key == ""

    def test_a_changed_secret_key_leaves_the_row_usable(self, settings, caplog):
        row = server(api_key="sk-very-secret")
        settings.SECRET_KEY = "another"
        assert ModelServer.objects.get(pk=row.pk).api_key == ""
        assert "SECRET_KEY was changed" in caplog.text


class TestExpert:
    def test_only_one_is_the_default(self):
        Expert.objects.create(slug="a", name="A", is_default=True)
        with pytest.raises(ValidationError, match="default already"):
            Expert(slug="b", name="B", is_default=True).full_clean()

    def test_may_not_take_a_virtual_models_name(self):
        with pytest.raises(ValidationError, match="virtual"):
            Expert(slug="auto", name="A").full_clean()

    @pytest.mark.parametrize(
        "defaults", [[], {"temprature": 1}, {"temperature": 3}, {"temperature": "hot"}, {"max_tokens": 1.5}]
    )
    def test_defaults_that_make_no_sense_are_refused(self, defaults):
        with pytest.raises(ValidationError):
            Expert(slug="a", name="A", defaults=defaults).full_clean()


class TestReplica:
    @pytest.mark.parametrize("value", ["5m", "1h30m", "-1", "0", "1.5h"])
    def test_keep_alive_is_a_duration(self, value):
        Replica._meta.get_field("keep_alive").run_validators(value)

    @pytest.mark.parametrize("value", ["5", "300", "five", "5 m"])
    def test_a_number_without_a_unit_is_refused_as_ollama_would(self, value):
        with pytest.raises(ValidationError):
            Replica._meta.get_field("keep_alive").run_validators(value)

    def test_ollamas_settings_are_refused_for_other_servers(self):
        row = Replica(expert=Expert.objects.create(slug="a", name="A"), server=server(kind="openai"), model="m")
        row.full_clean()
        row.num_ctx = 8192
        with pytest.raises(ValidationError, match="Ollama"):
            row.full_clean()


class TestCatalog:
    def test_a_window_is_never_larger_than_the_model_was_trained_for(self):
        gpu = server()
        InstalledModel.objects.create(server=gpu, name="m:latest", context_length=8192, capabilities=["completion"])
        expert = Expert.objects.create(slug="a", name="A")
        Replica.objects.create(expert=expert, server=gpu, model="m", num_ctx=32768)
        replica = load().experts["a"].replicas[0]
        assert (replica.num_ctx, replica.capabilities) == (8192, frozenset({"completion"}))

    def test_what_is_disabled_is_not_there(self):
        gpu, off = server(), server(name="off", base_url="http://off", enabled=False)
        expert = Expert.objects.create(slug="a", name="A")
        Expert.objects.create(slug="b", name="B", enabled=False)
        Replica.objects.create(expert=expert, server=gpu, model="x", enabled=False)
        Replica.objects.create(expert=expert, server=off, model="x")
        Replica.objects.create(expert=expert, server=gpu, model="y")
        InstalledModel.objects.create(server=off, name="z")
        RoutingRule.objects.create(name="r", keywords=["x"], expert=expert, enabled=False)
        found = load()
        assert [replica.label for replica in found.experts["a"].replicas] == ["y@gpu-box"]
        assert (set(found.experts), set(found.models), found.rules) == ({"a"}, set(), ())

    def test_the_embedded_model_answers_after_the_administrators_own(self):
        expert = Expert.objects.create(slug="a", name="A")
        Replica.objects.create(
            expert=expert, server=server(name="embedded", base_url="http://e", embedded=True), model="s"
        )
        Replica.objects.create(expert=expert, server=server(), model="big")
        assert [replica.model for replica in load().experts["a"].replicas] == ["big", "s"]
