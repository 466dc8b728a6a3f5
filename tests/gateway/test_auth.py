from datetime import timedelta

import pytest
from django.utils import timezone

from gateway.auth import identify, keys, load
from gateway.errors import AuthenticationFailed
from gateway.models import ApiKey

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
    row.revoked_at = timezone.now()
    row.save()
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
