from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from gateway.auth import Caller, Visit, admit, identify, keys, load
from gateway.errors import AuthenticationFailed, Conflict, NotFound, PermissionDenied
from gateway.models import ApiKey, KeyGroup
from gateway.policy import ANY_SCOPE, CLIENT_SCOPES, Policy, Scope
from routing.exceptions import BadRequest

pytestmark = pytest.mark.django_db


@pytest.fixture
def issued():
    return ApiKey.objects.issue(name="laptop")


def test_a_key_is_found_and_its_text_is_stored_nowhere(issued):
    row, text = issued
    assert identify(f"Bearer {text}", load()).name == "laptop"
    assert text.startswith(row.prefix)
    stored = " ".join(str(value) for value in ApiKey.objects.values_list().get())
    assert text not in stored
    assert text[len(row.prefix) :] not in stored


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer sk-moe-wrong", "sk-moe-x"])
def test_anything_else_is_refused_with_what_to_do(issued, header):
    with pytest.raises(AuthenticationFailed, match="administrator"):
        identify(header, load())


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
def test_the_schemes_case_and_spaces_do_not_matter(issued, scheme):
    assert identify(f"{scheme} {issued[1]}", load()).name == "laptop"


def test_a_revoked_key_is_refused(issued):
    row, text = issued
    row.revoke()
    with pytest.raises(AuthenticationFailed, match="revoked"):
        identify(f"Bearer {text}", load())


def test_a_key_expires_without_a_change_in_the_database():
    _, text = ApiKey.objects.issue(name="guest", expires_at=timezone.now() + timedelta(milliseconds=50))
    known = load()
    assert identify(f"Bearer {text}", known).name == "guest"
    expired = {digest: type(caller)(name="guest", expires_at=timezone.now()) for digest, caller in known.items()}
    with pytest.raises(AuthenticationFailed, match="expired"):
        identify(f"Bearer {text}", expired)


def test_without_required_keys_a_placeholder_is_let_in_and_a_real_key_still_known(issued, settings):
    settings.REQUIRE_API_KEY = False
    assert identify(None, load()).key_id is None
    assert identify("Bearer ollama", load()).key_id is None
    assert identify(f"Bearer {issued[1]}", load()).name == "laptop"


def test_the_copy_in_memory_is_asked_not_the_database(issued, django_assert_num_queries):
    keys.get()
    with django_assert_num_queries(0):
        identify(f"Bearer {issued[1]}", keys.get())


class TestRotation:
    def test_both_texts_are_the_same_key_until_the_overlap_ends(self, issued):
        row, former = issued
        text = row.rotate(timedelta(hours=1))
        known = load()
        old, new = identify(f"Bearer {former}", known), identify(f"Bearer {text}", known)
        assert text != former
        assert (old.key_id, old.tenant) == (new.key_id, new.tenant) == (row.pk, row.prefix)
        assert old.expires_at == row.previous_until
        assert new.expires_at is None

    def test_then_the_former_one_is_refused_without_a_change_in_the_database(self, issued):
        row, former = issued
        row.rotate(timedelta(hours=1))
        ApiKey.objects.update(previous_until=timezone.now())
        with pytest.raises(AuthenticationFailed, match="replaced by a new text, and this one works no longer"):
            identify(f"Bearer {former}", load())

    def test_both_are_refused_as_expired_when_the_key_ends_first(self, issued):
        row, former = issued
        text = row.rotate(timedelta(hours=1))
        ApiKey.objects.update(expires_at=timezone.now())
        for one in (former, text):
            with pytest.raises(AuthenticationFailed, match="has expired"):
                identify(f"Bearer {one}", load())

    def test_the_end_of_the_key_is_the_end_of_both(self, issued):
        row, former = issued
        row.expires_at = timezone.now() + timedelta(minutes=1)
        row.save()
        row.rotate(timedelta(hours=1))
        assert identify(f"Bearer {former}", load()).expires_at == row.expires_at

    def test_without_an_overlap_the_former_one_ends_at_once(self, issued):
        row, former = issued
        text = row.rotate(timedelta(0))
        assert identify(f"Bearer {text}", load())
        with pytest.raises(AuthenticationFailed):
            identify(f"Bearer {former}", load())

    def test_of_two_rotations_the_texts_of_the_last_work(self, issued):
        row, first = issued
        second = row.rotate(timedelta(hours=1))
        third = row.rotate(timedelta(hours=1))
        with pytest.raises(AuthenticationFailed):
            identify(f"Bearer {first}", load())
        assert {identify(f"Bearer {text}", load()).key_id for text in (second, third)} == {row.pk}

    def test_revoking_ends_both(self, issued):
        row, former = issued
        text = row.rotate(timedelta(hours=1))
        row.revoke()
        for one in (former, text):
            with pytest.raises(AuthenticationFailed):
                identify(f"Bearer {one}", load())

    @pytest.mark.parametrize("fields", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now()}])
    def test_what_works_no_more_gets_no_new_text(self, issued, fields):
        row, _ = issued
        ApiKey.objects.update(**fields)
        with pytest.raises(Conflict, match="Make another key"):
            row.rotate(timedelta(hours=1))
        assert ApiKey.objects.get().digest == row.digest


# --- what a key may do ------------------------------------------------------------------------------------------

AT = Visit(method="POST", path="/v1/x", address="10.1.2.3", host="localhost")


def come_in(text, needs=Scope.CHAT, **visit):
    return admit(replace(AT, authorization=f"Bearer {text}" if text else None, **visit), needs, load())


class TestScopes:
    def test_a_key_without_any_may_do_what_clients_do(self, issued):
        caller = come_in(issued[1])
        assert {scope for scope in Scope if caller.may(scope)} == CLIENT_SCOPES

    def test_one_that_is_missing_is_named(self):
        _, text = ApiKey.objects.issue(name="embedder", scopes=["embeddings"])
        assert come_in(text, Scope.EMBEDDINGS)
        assert come_in(text, ANY_SCOPE)
        with pytest.raises(PermissionDenied, match="lacks the scope 'chat'"):
            come_in(text, Scope.CHAT)

    def test_what_administrators_do_is_not_there_for_others(self, issued):
        with pytest.raises(NotFound, match="There is nothing at POST /v1/x"):
            come_in(issued[1], Scope.ADMIN)

    def test_a_group_takes_away_and_gives_nothing(self):
        KeyGroup.objects.create(name="staff", scopes=["chat", "admin"])
        _, text = ApiKey.objects.issue(name="a", group="staff")
        caller = come_in(text)
        assert {scope for scope in Scope if caller.may(scope)} == {Scope.CHAT}

    def test_a_group_without_scopes_takes_nothing_away(self):
        KeyGroup.objects.create(name="ops", requests_per_minute=5)
        _, text = ApiKey.objects.issue(name="a", group="ops", scopes=["admin"])
        assert come_in(text, Scope.ADMIN).may(Scope.ADMIN)

    def test_a_scope_that_there_is_not_permits_nothing(self, issued):
        ApiKey.objects.update(scopes=["chatt"])
        with pytest.raises(PermissionDenied):
            come_in(issued[1])

    def test_nobody_may_administer_without_a_key(self, settings):
        settings.REQUIRE_API_KEY = False
        assert come_in(None, Scope.METRICS)
        with pytest.raises(NotFound):
            come_in(None, Scope.ADMIN)


class TestAddresses:
    @pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::5"])
    def test_within_a_network_it_comes_in_and_is_noted(self, address):
        _, text = ApiKey.objects.issue(name="a", allowed_addresses=["10.1.0.0/16", "2001:db8::/64"])
        assert come_in(text, address=address).address == address

    def test_a_network_may_be_written_as_ipv6_has_it(self):
        _, text = ApiKey.objects.issue(name="a", allowed_addresses=["::ffff:10.1.0.0/112"])
        assert come_in(text, address="10.1.2.3")
        with pytest.raises(PermissionDenied):
            come_in(text, address="10.2.2.3")

    @pytest.mark.parametrize("address", ["10.2.2.3", "", "somewhere", "2001:db8:1::5"])
    def test_from_elsewhere_it_is_refused(self, address):
        _, text = ApiKey.objects.issue(name="a", allowed_addresses=["10.1.0.0/16", "2001:db8::/64"])
        with pytest.raises(PermissionDenied, match="may not be used from"):
            come_in(text, address=address)

    def test_where_it_is_used_from_counts_before_what_it_may_do(self):
        _, text = ApiKey.objects.issue(name="a", allowed_addresses=["10.9.9.9"], scopes=["embeddings"])
        with pytest.raises(PermissionDenied, match=r"may not be used from 10\.1\.2\.3"):
            come_in(text, Scope.ADMIN)

    def test_key_and_group_must_both_permit_it(self):
        KeyGroup.objects.create(name="staff", allowed_addresses=["10.0.0.0/8"])
        _, text = ApiKey.objects.issue(name="a", group="staff", allowed_addresses=["10.1.0.0/16", "192.168.0.0/16"])
        assert come_in(text)
        for address in ("10.2.2.3", "192.168.0.1"):
            with pytest.raises(PermissionDenied):
                come_in(text, address=address)

    def test_a_line_that_cannot_be_read_permits_nothing(self, issued):
        ApiKey.objects.update(allowed_addresses=["the office"])
        with pytest.raises(PermissionDenied):
            come_in(issued[1])


class TestStrangers:
    """Pages of others, where no key is needed: a browser takes their requests to any address it can reach."""

    @pytest.fixture(autouse=True)
    def open(self, settings):
        settings.REQUIRE_API_KEY = False
        settings.CORS_ALLOWED_ORIGINS = ["https://chat.example/"]

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"])
    def test_a_page_of_others_is_refused(self, origin):
        with pytest.raises(PermissionDenied, match="CORS_ALLOWED_ORIGINS"):
            come_in(None, origin=origin)

    def test_who_names_no_host_is_no_page_of_ours(self):
        with pytest.raises(PermissionDenied):
            come_in(None, origin="null", host="")

    @pytest.mark.parametrize("text", ["ollama", "sk-moe-wrong"])
    def test_a_placeholder_makes_no_difference(self, text):
        with pytest.raises(PermissionDenied):
            come_in(text, origin="https://evil.example")

    @pytest.mark.parametrize("origin", ["", "http://localhost", "https://LOCALHOST", "https://chat.example"])
    def test_our_own_pages_permitted_ones_and_programs_come_in(self, origin):
        assert come_in(None, origin=origin).key_id is None

    def test_an_administrator_may_permit_all(self, settings):
        settings.CORS_ALLOWED_ORIGINS = ["*"]
        assert come_in(None, origin="https://evil.example")

    def test_a_key_proves_that_it_is_meant(self, issued):
        assert come_in(issued[1], origin="https://evil.example").name == "laptop"

    def test_a_name_that_leads_to_our_address_makes_nobody_our_own(self):
        with pytest.raises(BadRequest, match="ALLOWED_HOSTS"):
            come_in(None, host="evil.example", origin="http://evil.example")
        with pytest.raises(BadRequest, match="ALLOWED_HOSTS"):
            come_in(None, host="evil.example")


def test_what_a_name_leads_to_is_asked_for_by_any_of_its_names():
    caller = Caller(policies=(Policy(subject="key:1", models=("a*",)), Policy(subject="group:x", models=("ab", "c"))))
    assert caller.may_ask("ab")
    assert caller.may_ask("axx", "c")  # one thing that is called both
    assert not caller.may_ask("ac")
    assert not caller.may_ask("c")
