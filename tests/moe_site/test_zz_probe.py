import pytest, datetime as dt
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.db import connection
from django.utils import timezone
from django.contrib.auth.models import User
pytestmark = pytest.mark.django_db

def test_long_name(client):
    r = client.post("/admin/login/", {"username": "x"*300, "password": "y"})
    print(r.status_code); assert r.status_code < 500
def test_long_name2(client):
    r = client.post("/admin/login/", {"username": "x"*300000, "password": "y"})
    print(r.status_code); assert r.status_code < 500
def test_nul_pw(client):
    r = client.post("/admin/login/", {"username": "x", "password": "y\0"})
    assert r.status_code < 500
def test_surrogates(client):
    r = client.post("/admin/login/", data=b"username=%ED%A0%80&password=%FF", content_type="application/x-www-form-urlencoded", HTTP_USER_AGENT="x\0"*4000)
    assert r.status_code < 500
def test_deep(client):
    User.objects.create_superuser("a", password="pw-long-enough")
    r = client.get("/admin/gateway/apikey/?q=1")
    print(r.url)
    page = client.get(r.url).content.decode()
    import re
    print(re.findall(r'name="next" value="[^"]*"', page))
    assert 'name="next" value="/admin/gateway/apikey/?q=1"' in page
@pytest.mark.parametrize("path", ["usagerecord/?by=%00","usagerecord/?of=%00","usagerecord/?key=99999999999999999999999999","usagerecord/?q=%00","usagerecord/?key=%00","exchange/?key=99999999999999999999","exchange/?what=%00","exchange/?q=x","cachedanswer/?profile=%00","cachedanswer/?key__id__exact=99999999999999999999","apikey/?group=%00","apikey/?state=%00","apikey/99999999999999999999999999/rotate/","apikey/99999999999999999999999999/change/","apikey/x/change/","usagehour/?days=%00&by=%00","usagehour/?days=1&by=key", "usagehour/?days=365&by=model","usagehour/1/change/","keygroup/add/?name=%00", "guard/try/", "cachedanswer/purge/","usagerecord/?p=99999","usagerecord/?created_at__gte=x","usagerecord/?o=1","usagerecord/99999999999999999999999/change/"])
def test_urls(admin_client, path):
    admin_client.raise_request_exception = False
    r = admin_client.get("/admin/gateway/"+path)
    print(path, r.status_code, r.get("location")); assert r.status_code < 500
def test_year(admin_client, settings):
    from gateway.models import ApiKey
    from gateway.auth import load
    settings.TIME_ZONE="America/New_York"
    r = admin_client.post("/admin/gateway/apikey/add/", {"name":"app","priority":"normal","expires_at_0":"9999-12-31","expires_at_1":"23:59:59"})
    print(r.status_code)
    load()
def test_user_delete(admin_client, admin_user):
    u = User.objects.create_superuser("b", password="pw-long-enough")
    from moe_site.signing_in import factor
    factor.recovery_renew(u)
    r = admin_client.get(f"/admin/auth/user/{u.pk}/delete/")
    import re
    print(re.sub(r"\s+"," ",re.sub("<[^>]+>"," ",r.content.decode()))[-900:])
def test_two_pending(admin_client, admin_user):
    from django_otp.plugins.otp_totp.models import TOTPDevice
    for _ in range(2): TOTPDevice.objects.create(user=admin_user, confirmed=False, name="a")
    assert admin_client.get("/admin/second-factor/").status_code == 200
@pytest.mark.parametrize("n", ["1","3000"])
def test_patterns(admin_client, n):
    for body in [{"name":"n"*300},{"name":" "},{"name":"a","requests_per_minute":"-1"},{"name":"a","requests_per_minute":"99999999999"},{"name":"a","tokens_per_day":"9"*30},{"name":"a","cost_per_day":"NaN"},{"name":"a","cost_per_day":"1e400"},{"name":"a","cost_per_day":"Infinity"},{"name":"a","allowed_addresses":"fe80::1%eth0"},{"name":"a","allowed_addresses":"2001:db8::/129"},{"name":"a","allowed_addresses":"::ffff:10.0.0.0/104"},{"name":"a","allowed_models":"m"*300},{"name":"a","allowed_models":"a\0"},{"name":"a","allowed_collections":"[a-z]: read"},{"name":"a\0"},{"name":"a","expires_at_0":"0001-01-01","expires_at_1":"00:00"},{"name":"a","group":"g"*101},{"name":"a","expires_at_0":"9999-12-31","expires_at_1":"23:59:59"}]:
        admin_client.raise_request_exception = False
        r = admin_client.post("/admin/gateway/apikey/add/", {"priority":"normal"}|body)
        import re
        print({k:v[:25] for k,v in body.items()}, r.status_code, "sk-moe" in r.content.decode(), re.findall(r'errorlist"[^>]*><li>(.*?)</li>', r.content.decode())[:3])
        assert r.status_code<500
    for p in ("apikey/","usagerecord/","keygroup/"):
        assert admin_client.get("/admin/gateway/"+p).status_code==200
