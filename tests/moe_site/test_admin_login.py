"""Who is let into the admin: passwords, codes, and what becomes of somebody who guesses."""

import re
import time

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from django_otp.oath import hotp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice, default_key

from moe_site.signing_in import codes, throttle
from moe_site.signing_in.keeping import logins_sweep

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
LOGIN = "/admin/login/"
CODE = "/admin/login/code/"
FACTOR = "/admin/second-factor/"


@pytest.fixture
def anna():
    return User.objects.create_superuser("anna", password=PASSWORD)


@pytest.fixture
def enrolled(anna):
    """A person with an authenticator app, and her recovery codes."""
    browser = signed_in()
    browser.get(FACTOR)
    page = browser.post(FACTOR, {"code": code_of(anna)})
    # The code that set it up is used; the next login must not have to wait for another.
    TOTPDevice.objects.update(last_t=-1)
    return re.findall(r"<li><code>(.*?)</code></li>", page.content.decode())


def signed_in(**password):
    browser = Client()
    give_password(browser, **password)
    return browser


def give_password(browser, password=PASSWORD, name="anna", **headers):
    return browser.post(LOGIN, {"username": name, "password": password, "next": "/admin/"}, **headers)


def code_of(user, *, steps=0):
    """Return what the app of ``user`` shows now, or some steps of 30 seconds from now."""
    device = TOTPDevice.objects.get(user=user)
    step = int(time.time()) // codes.STEP_SECONDS + steps
    return f"{hotp(codes.seed_of(device.key), step):06d}"


def is_in(browser):
    return browser.get("/admin/").status_code == 200


def test_who_was_asked_to_sign_in_gets_to_the_page_that_was_asked_for(anna):
    browser = Client()
    step = browser.get("/admin/gateway/apikey/?q=1").headers["Location"]
    (asked_for,) = re.findall(r'name="next" value="([^"]*)"', browser.get(step).content.decode())
    sent = {"username": "anna", "password": PASSWORD, "next": asked_for}
    assert browser.post(step, sent).headers["Location"] == "/admin/gateway/apikey/?q=1"


def test_a_session_from_before_the_login_is_not_the_one_after_it(anna, enrolled):
    browser = Client()
    give_password(browser)
    planted = browser.session.session_key
    browser.post(CODE, {"code": code_of(anna)})
    assert is_in(browser)
    assert browser.session.session_key != planted


def test_a_new_password_ends_the_sessions_elsewhere(anna):
    here, there = signed_in(), signed_in()
    new = "incorrect horse battery"
    here.post("/admin/password_change/", {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    assert (is_in(here), is_in(there)) == (True, False)


def test_only_a_form_logs_out(anna):
    browser = signed_in()
    assert browser.get("/admin/logout/").status_code == 405
    assert is_in(browser)
    browser.post("/admin/logout/")
    assert not is_in(browser)


@pytest.mark.parametrize("name", ["x" * 300, "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 150])
def test_a_name_that_is_too_long_is_nobodys(name):
    page = give_password(Client(), name=name)
    assert page.status_code == 200
    assert "Please enter the correct username and password" in page.content.decode()


# --- guessing --------------------------------------------------------------------------------------------------


def test_a_password_lets_in_and_is_written_down(anna):
    browser = signed_in()
    assert is_in(browser)
    entry = AccessLog.objects.get()
    assert (entry.username, entry.ip_address) == ("anna", "127.0.0.1")


def test_who_guesses_is_locked_out_even_with_the_right_password(anna, settings):
    browser = Client()
    answers = [give_password(browser, f"guess {number}") for number in range(settings.LOGIN_FAILURES)]
    assert [answer.status_code for answer in answers] == [200] * (settings.LOGIN_FAILURES - 1) + [429]
    locked = give_password(browser)
    assert locked.status_code == 429
    assert "axes_reset" in locked.content.decode()
    assert not is_in(browser)
    assert AccessFailureLog.objects.filter(username="anna").count() >= settings.LOGIN_FAILURES
    call_command("axes_reset")
    assert is_in(signed_in())


def test_others_and_the_same_person_elsewhere_are_not_locked_with_them(anna, settings):
    for number in range(settings.LOGIN_FAILURES):
        give_password(Client(), f"guess {number}")
    assert give_password(Client(), REMOTE_ADDR="10.0.0.9").status_code == 302
    User.objects.create_superuser("bert", password=PASSWORD)
    assert is_in(signed_in(name="bert"))


@pytest.fixture
def allowed(settings):
    """Lock sooner than usual, and return how many failures lock an address."""
    settings.LOGIN_FAILURES = settings.AXES_FAILURE_LIMIT = 2
    return throttle.NAMES_AN_ADDRESS * settings.LOGIN_FAILURES


def test_who_tries_many_names_is_locked_out_of_all_of_them(anna, settings, allowed):
    answers = [give_password(Client(), name=f"somebody {number}").status_code for number in range(allowed + 1)]
    assert answers == [200] * (allowed - 1) + [429, 429]
    locked = give_password(Client())
    assert (locked.status_code, "of many" in locked.content.decode()) == (429, True)
    assert give_password(Client(), REMOTE_ADDR="10.0.0.9").status_code == 302
    AccessAttempt.objects.update(attempt_time=timezone.now() - settings.AXES_COOLOFF_TIME)
    assert is_in(signed_in())


def test_who_knows_one_password_cannot_guess_others_for_ever(anna, allowed):
    for number in range(allowed):
        give_password(Client(), name=f"somebody {number}")
        if number % 5 == 0:
            give_password(Client())
    assert give_password(Client()).status_code == 429


def test_an_office_is_not_locked_for_the_forgetful_among_it(anna, settings, allowed):
    for person in range(throttle.NAMES_AN_ADDRESS - 1):
        for _ in range(settings.LOGIN_FAILURES + 2):
            give_password(Client(), "forgotten", name=f"colleague {person}")
    assert is_in(signed_in())


def test_behind_a_proxy_the_clients_address_is_locked_not_the_proxys(anna, settings):
    settings.TRUSTED_PROXIES = ["10.0.0.1"]
    proxied = {"REMOTE_ADDR": "10.0.0.1"}
    for number in range(settings.LOGIN_FAILURES):
        give_password(Client(), f"guess {number}", **proxied, HTTP_X_FORWARDED_FOR="203.0.113.5")
    assert AccessAttempt.objects.get().ip_address == "203.0.113.5"
    assert give_password(Client(), **proxied, HTTP_X_FORWARDED_FOR="203.0.113.5").status_code == 429
    assert give_password(Client(), **proxied, HTTP_X_FORWARDED_FOR="203.0.113.6").status_code == 302


def test_an_address_that_is_only_claimed_does_not_help_to_guess_on(anna, settings):
    answers = [
        give_password(Client(), f"guess {number}", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")
        for number in range(settings.LOGIN_FAILURES + 1)
    ]
    assert answers[-1].status_code == 429


def test_no_guess_is_kept_in_the_clear(anna):
    give_password(Client(), "my password elsewhere")
    attempt = AccessAttempt.objects.get()
    assert "elsewhere" not in attempt.post_data
    assert attempt.username == "anna"


def test_old_entries_go(anna, settings):
    signed_in()
    assert logins_sweep() == 0
    AccessLog.objects.update(attempt_time="2001-01-01T00:00Z")
    assert logins_sweep() == 1
    settings.LOGIN_LOG_DAYS = 0
    assert logins_sweep() == 0


# --- the second factor -----------------------------------------------------------------------------------------


def test_setting_up_shows_a_picture_and_counts_only_after_a_code(anna):
    browser = signed_in()
    page = browser.get(FACTOR).content.decode()
    assert "<svg" in page
    assert codes.seed_text(TOTPDevice.objects.get().key) in page.replace(" ", "")
    assert "not the code" in browser.post(FACTOR, {"code": "000000"}).content.decode()
    assert is_in(signed_in())


def test_two_pages_that_began_at_once_become_one_app(anna):
    for _ in range(2):
        TOTPDevice.objects.create(user=anna, confirmed=False, name="app", key=default_key())
    browser, first = signed_in(), TOTPDevice.objects.order_by("pk")[0]
    assert codes.seed_text(first.key)[:4] in browser.get(FACTOR).content.decode()
    step = int(time.time()) // codes.STEP_SECONDS
    browser.post(FACTOR, {"code": f"{hotp(codes.seed_of(first.key), step):06d}"})
    assert list(TOTPDevice.objects.values_list("pk", "confirmed")) == [(first.pk, True)]


def test_who_has_an_app_must_give_its_code(anna, enrolled):
    browser = Client()
    answer = give_password(browser)
    assert answer["Location"].startswith(CODE)
    assert not is_in(browser)
    assert "_auth_user_id" not in browser.session
    answer = browser.post(answer["Location"], {"code": code_of(anna), "next": "/admin/auth/user/"})
    assert answer["Location"] == "/admin/auth/user/"
    assert is_in(browser)


def test_a_code_works_once(anna, enrolled):
    code = code_of(anna)
    for lets_in in (True, False):
        browser = signed_in()
        browser.post(CODE, {"code": code})
        assert is_in(browser) is lets_in


def test_a_wrong_code_is_counted_and_slows_down(anna, enrolled, settings):
    browser = signed_in()
    assert "not right" in browser.post(CODE, {"code": "000000"}).content.decode()
    assert "Wait until" in browser.post(CODE, {"code": code_of(anna)}).content.decode()
    for _ in range(settings.LOGIN_FAILURES):
        answer = browser.post(CODE, {"code": "111111"})
    assert answer.status_code == 429
    assert not is_in(browser)
    assert give_password(Client()).status_code == 429


def test_a_recovery_code_works_once_and_is_said_to_the_log(anna, enrolled):
    browser = signed_in()
    browser.post(CODE, {"code": enrolled[0].upper()})
    assert is_in(browser)
    assert "9 left" in LogEntry.objects.first().get_change_message()
    again = signed_in()
    again.post(CODE, {"code": enrolled[0]})
    assert not is_in(again)


def test_the_code_page_is_nothing_without_a_password(anna, enrolled):
    assert Client().get(CODE)["Location"].startswith(LOGIN)
    browser = signed_in()
    anna.set_password("another one")
    anna.save()
    assert browser.post(CODE, {"code": code_of(anna)})["Location"].startswith(LOGIN)
    assert not is_in(browser)


def test_the_code_page_leads_to_no_other_site(anna, enrolled):
    browser = signed_in()
    answer = browser.post(CODE, {"code": code_of(anna), "next": "https://evil.example/"})
    assert answer["Location"] == "/admin/"


def test_a_session_from_before_needs_the_code_too(anna):
    before = signed_in()
    assert is_in(before)
    browser = signed_in()
    browser.get(FACTOR)
    browser.post(FACTOR, {"code": code_of(anna)})
    assert is_in(browser)
    assert not is_in(before)
    assert before.get(FACTOR).status_code == 302
    assert before.get(LOGIN)["Location"].startswith(CODE)


def test_required_means_that_nothing_else_is_possible_before(anna, settings):
    settings.ADMIN_TOTP = "required"
    browser = signed_in()
    assert not is_in(browser)
    assert browser.get(LOGIN)["Location"] == FACTOR
    browser.get(FACTOR)
    browser.post(FACTOR, {"code": code_of(anna)})
    assert is_in(browser)
    assert browser.post("/admin/logout/").status_code == 200
    assert not is_in(browser)


def test_removing_it_takes_a_code(anna, enrolled):
    browser = signed_in()
    browser.post(CODE, {"code": code_of(anna)})
    browser.post(FACTOR, {"code": "000000", "do": "remove"})
    assert TOTPDevice.objects.filter(confirmed=True).exists()
    browser.post(FACTOR, {"code": enrolled[0], "do": "remove"})
    TOTPDevice.objects.update(throttling_failure_count=0)
    browser.post(FACTOR, {"code": enrolled[1], "do": "remove"})
    assert not TOTPDevice.objects.filter(confirmed=True).exists()
    assert not StaticToken.objects.exists()
    assert is_in(signed_in())


def test_new_recovery_codes_replace_the_old(anna, enrolled):
    browser = signed_in()
    browser.post(CODE, {"code": code_of(anna)})
    page = browser.post(FACTOR, {"code": enrolled[0], "do": "renew"}).content.decode()
    new = re.findall(r"<li><code>(.*?)</code></li>", page)
    assert len(new) == 10
    assert not set(new) & set(enrolled)
    assert StaticToken.objects.count() == 10


def test_the_server_and_other_administrators_can_remove_it(anna, enrolled, capsys):
    call_command("reset_second_factor", "anna")
    assert is_in(signed_in())
    with pytest.raises(CommandError, match="nobody"):
        call_command("reset_second_factor", "zoe")
    call_command("reset_second_factor", "anna")
    assert "no second factor" in capsys.readouterr().out


def test_another_administrator_can_remove_it_in_the_admin(anna, enrolled):
    User.objects.create_superuser("bert", password=PASSWORD)
    browser = signed_in(name="bert")
    device = TOTPDevice.objects.get()
    page = browser.get("/admin/otp_totp/totpdevice/").content.decode()
    assert "anna" in page
    assert device.key not in page
    browser.post(f"/admin/otp_totp/totpdevice/{device.pk}/delete/", {"post": "yes"})
    assert is_in(signed_in())
    assert LogEntry.objects.filter(user__username="bert", object_repr="anna").exists()


def test_the_database_alone_makes_no_codes(anna, enrolled, settings):
    """What is stored is neither the seed nor a recovery code, and another SECRET_KEY ends both."""
    stored = TOTPDevice.objects.get().key
    assert bytes.fromhex(stored) != codes.seed_of(stored)
    assert f"{hotp(bytes.fromhex(stored), int(time.time()) // 30):06d}" != code_of(anna)
    assert not StaticToken.objects.filter(token__in=[code.replace("-", "").upper() for code in enrolled]).exists()
    code = code_of(anna)
    settings.SECRET_KEY = "another key that is long enough to be one, and random too"
    assert codes.step_of(code, stored, now=time.time(), after=-1) is None


# --- the audit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["/admin/", "/admin/axes/", "/admin/otp_static/"])
def test_who_signs_in_and_how_is_one_section(anna, page):
    shown = signed_in().get(page)
    (security,) = [section for section in shown.context["app_list"] if section["name"] == "Security"]
    assert {model["object_name"] for model in security["models"]} == {
        *("AccessAttempt", "AccessFailureLog", "AccessLog", "LogEntry", "StaticDevice", "TOTPDevice")
    }
    names = [section["name"] for section in shown.context["available_apps"]]
    assert sorted(names) == ["Authentication and Authorization", "Gateway", "Knowledge", "Routing", "Security"]


def test_a_section_of_nothing_is_not_there(anna):
    assert signed_in().get("/admin/sessions/").status_code == 404


@pytest.mark.parametrize(
    "page",
    ["admin/logentry", "axes/accesslog", "axes/accessfailurelog", "axes/accessattempt", "otp_static/staticdevice"],
)
def test_what_happened_can_be_read_and_not_changed(anna, enrolled, page):
    give_password(Client(), "a guess", HTTP_USER_AGENT="curl/8")
    browser = signed_in()
    browser.post(CODE, {"code": code_of(anna)})
    listing = browser.get(f"/admin/{page}/")
    assert listing.status_code == 200
    assert "anna" in listing.content.decode()
    assert browser.get(f"/admin/{page}/add/").status_code == 403


# --- RFC 6238 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "counts"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_phones_clock_may_be_half_a_minute_wrong(anna, steps, counts):
    browser = signed_in()
    browser.get(FACTOR)
    device = TOTPDevice.objects.get()
    now = 1_700_000_000.0
    code = f"{hotp(codes.seed_of(device.key), int(now) // 30 + steps):06d}"
    assert (codes.step_of(code, device.key, now=now, after=-1) is not None) is counts


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "-12345"])
def test_what_is_no_code(code):
    assert codes.step_of(code, "00" * 20, now=0, after=-1) is None
