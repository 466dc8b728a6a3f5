"""Keys on the command line."""

import io
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway.auth import load
from gateway.models import ApiKey, KeyUse, key_digest
from gateway.policy import CLIENT_SCOPES, Limits, Scope
from knowledge.access import Level

pytestmark = pytest.mark.django_db


def manage(*words):
    """Return what a command writes to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_key_without_options_may_do_what_clients_do():
    out, err = manage("create_api_key", "laptop")
    caller = load()[key_digest(out.splitlines()[-1])]
    (policy,) = caller.policies
    assert (caller.name, caller.expires_at, err) == ("laptop", None, "")
    assert (policy.scopes, policy.models, policy.collections, policy.networks) == (CLIENT_SCOPES, (), (), ())
    assert policy.limits == Limits()


def test_figures_name_every_model_and_so_are_not_for_a_key_of_some():
    narrowed, _ = manage("create_api_key", "shop", "--model", "auto")
    named, _ = manage("create_api_key", "watch", "--model", "auto", "--scope", "chat", "--scope", "metrics")
    may = [load()[key_digest(out.splitlines()[-1])].may for out in (narrowed, named)]
    assert [(one(Scope.CHAT), one(Scope.METRICS)) for one in may] == [(True, False), (True, True)]


def test_every_option_is_kept():
    get_user_model().objects.create_user("ada")
    out, err = manage(
        *("create_api_key", "shop", "--group", "sales", "--owner", "ada", "--days", "30", "--note", "The web shop"),
        *("--rpm", "60", "--tpm", "9000", "--concurrent", "4", "--tokens-per-day", "100000"),
        *("--tokens-per-month", "2000000", "--cost-per-day", "1.5", "--cost-per-month", "30"),
        *("--scope", "chat", "--scope", "admin", "--model", "auto", "--model", "shop*"),
        *("--collection", "handbook: read", "--collection", "team-*: write", "--address", "10.0.0.0/8"),
        *("--priority", "low", "--keep-texts"),
    )
    caller = load()[key_digest(out.splitlines()[-1])]
    (policy,) = caller.policies
    row = ApiKey.objects.get()
    assert (caller.group, caller.weight, caller.keeps_texts) == ("sales", 0.5, "key")
    assert (row.owner.username, row.note) == ("ada", "The web shop")
    assert timedelta(days=29) < row.expires_at - timezone.now() <= timedelta(days=30)
    assert policy.scopes == {Scope.CHAT, Scope.ADMIN}
    assert policy.models == ("auto", "shop*")
    assert policy.collections == (("handbook", Level.READ), ("team-*", Level.WRITE))
    assert [str(one) for one in policy.networks] == ["10.0.0.0/8"]
    assert policy.limits == Limits(
        requests_per_minute=60,
        tokens_per_minute=9000,
        concurrent_requests=4,
        tokens_per_day=100_000,
        tokens_per_month=2_000_000,
        cost_per_day=Decimal("1.5"),
        cost_per_month=Decimal(30),
    )
    assert "No model is called shop* at the moment." in err
    assert "No collection is called handbook at the moment." in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scope", "chatt"], "There is no scope “chatt”"),
        (["--collection", "handbook: look"], "must end with read, write or manage"),
        (["--address", "10.0.0.0/99"], "no address and no network"),
        (["--model", " "], "no name of a model"),
        (["--owner", "nobody"], "There is no user 'nobody'"),
        (["--days", "0"], "--days must be from 1"),
        (["--days", "9999999999"], "--days must be from 1"),
        (["--rpm", "0"], "requests per minute"),
        (["--rpm", "-5"], "requests per minute"),
        (["--rpm", "many"], "--rpm"),
        (["--cost-per-day", "cheap"], "--cost-per-day"),
        (["--cost-per-day", "-1"], "cost per day"),
        (["--cost-per-day", "NaN"], "cost per day"),
        (["--priority", "highest"], "--priority"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(options, says):
    with pytest.raises(CommandError, match=says.replace("(", r"\(")):
        manage("create_api_key", "laptop", *options)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
def test_a_key_has_a_name(name):
    with pytest.raises(CommandError, match="name"):
        manage("create_api_key", name)


def test_a_key_is_rotated_by_how_it_begins():
    row, former = ApiKey.objects.issue(name="laptop")
    out, err = manage("rotate_api_key", f"{row.prefix}…", "--overlap", "30m")
    text, known = out.splitlines()[-1], load()
    assert {known[key_digest(one)].key_id for one in (former, text)} == {row.pk}
    assert timedelta(minutes=29) < known[key_digest(former)].expires_at - timezone.now() <= timedelta(minutes=30)
    assert former not in err
    assert "works no longer" not in err
    manage("rotate_api_key", former, "--overlap", "0")  # the whole of a former text is taken too
    assert key_digest(text) not in load()


def test_a_rotation_says_that_the_text_before_the_last_ends():
    row, first = ApiKey.objects.issue(name="laptop")
    second = manage("rotate_api_key", first)[0].splitlines()[-1]
    third, err = manage("rotate_api_key", second)
    assert f"{row.prefix}…, the one before that, works no longer." in err
    assert {key_digest(one) for one in (second, third.splitlines()[-1])} == set(load())


def test_a_rotation_says_how_long_the_former_text_works_of_a_key_that_ends_sooner():
    row, _ = ApiKey.objects.issue(name="laptop", expires_at=timezone.now() + timedelta(hours=1))
    _, err = manage("rotate_api_key", row.prefix, "--overlap", "7d")
    assert f"works until {row.expires_at:%Y-%m-%d %H:%M %Z}." in err


def test_revoking_says_what_came_of_it():
    row, text = ApiKey.objects.issue(name="laptop")
    assert "is revoked" in manage("revoke_api_key", text)[0]
    assert key_digest(text) not in load()
    assert "was revoked before" in manage("revoke_api_key", row.prefix)[0]
    with pytest.raises(CommandError, match="revoked; a new text would not work"):
        manage("rotate_api_key", row.prefix)


@pytest.mark.parametrize("command", ["rotate_api_key", "revoke_api_key"])
def test_which_key_is_meant_must_be_clear(command):
    for name in "ab":
        ApiKey.objects.issue(name=name)
    with pytest.raises(CommandError, match="No key begins with"):
        manage(command, "sk-moe-nobody")
    ApiKey.objects.update(prefix="sk-moe-abcdef")
    with pytest.raises(CommandError, match="More than one key begins with sk-moe-abcdef"):
        manage(command, "sk-moe-abcdef")


@pytest.mark.parametrize("overlap", ["soon", "-1h", "1.5h", "24", ""])
def test_an_overlap_is_a_duration(overlap):
    row, _ = ApiKey.objects.issue(name="laptop")
    with pytest.raises(CommandError, match="duration such as 30m, 24h or 7d"):
        manage("rotate_api_key", row.prefix, f"--overlap={overlap}")


def test_an_overlap_is_as_long_as_elsewhere_at_most():
    row, _ = ApiKey.objects.issue(name="app")
    with pytest.raises(CommandError, match="at most 30d"):
        manage("rotate_api_key", row.prefix, "--overlap=31d")


def test_keys_are_listed_without_their_texts():
    row, text = ApiKey.objects.issue(name="laptop", group="staff", note="mine")
    KeyUse.objects.create(key=row, last_used_at=timezone.now(), last_address="10.1.2.3")
    ApiKey.objects.issue(name="old")[0].revoke()
    table = manage("list_api_keys")[0].splitlines()
    assert table[1].split()[:4] == [f"{row.prefix}…", "active", "laptop", "staff"]
    assert table[2].split()[1:3] == ["revoked", "old"]
    first, second = (json.loads(line) for line in manage("list_api_keys", "--json")[0].splitlines())
    assert (first["name"], first["note"], first["last_address"]) == ("laptop", "mine", "10.1.2.3")
    assert (second["state"], second["last_used_at"]) == ("revoked", None)
    assert text not in str((table, first, second))
    assert row.digest not in str((table, first, second))
