"""The pages of the admin about signing in: the password, the code, and setting up an authenticator."""

import time
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model, login, user_login_failed
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.generic import FormView
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from moe_site.signing_in import factor
from moe_site.signing_in.codes import enrolment_url, seed_text
from moe_site.signing_in.factor import CodeRefused

PROVED = "second_factor_proved"
PENDING = "second_factor_pending"
PENDING_SECONDS = 600


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=40,
        label="Code",
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false", "class": "vTextField"}
        ),
        help_text="Six digits from the authenticator app, or one of the recovery codes.",
    )


# --- signing in ------------------------------------------------------------------------------------------------


class PasswordForm(AdminAuthenticationForm):
    """Refuses names that are longer than any can be before anybody writes down that they failed."""

    def clean(self) -> dict[str, Any]:
        longest = self.fields["username"].max_length  # type: ignore[attr-defined]
        if len(self.cleaned_data.get("username", "")) > longest:
            raise self.get_invalid_login_error()
        return super().clean()


class PasswordStep(LoginView):
    """The admin's login page. Whoever has an authenticator is not logged in before its code was given."""

    template_name = "admin/login.html"
    authentication_form = PasswordForm

    def form_valid(self, form: Any) -> HttpResponse:
        user = form.get_user()
        if not factor.has_factor(user):
            return super().form_valid(form)
        return HttpResponseRedirect(code_page(self.request, user, user.backend, next_page=self.get_success_url()))


def code_page(request: HttpRequest, user: Any, backend: str, *, next_page: str = "") -> str:
    """Remember in the session whose password was right, and return the address of the page that asks for a code."""
    request.session.cycle_key()
    request.session[PENDING] = {
        "user": user.pk,
        "backend": backend,
        "password": user.get_session_auth_hash(),
        "until": time.time() + PENDING_SECONDS,
    }
    return reverse("admin:login_code") + "?" + urlencode({"next": next_page or reverse("admin:index")})


def _pending_user(request: HttpRequest) -> User | None:
    """Return whose password was right lately and is the same still."""
    pending = request.session.get(PENDING) or {}
    if pending.get("until", 0) < time.time():
        return None
    user: User | None = get_user_model().objects.filter(pk=pending["user"], is_active=True).first()
    return user if user is not None and user.get_session_auth_hash() == pending["password"] else None


@method_decorator((never_cache, csrf_protect, sensitive_post_parameters()), name="dispatch")
class CodeStep(RedirectURLMixin, FormView):
    """Asks for the code, and logs in whoever gives the right one."""

    template_name = "admin/moe_site/code.html"
    form_class = CodeForm
    next_page = "admin:index"
    site: AdminSite | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        user = _pending_user(request)
        if user is None:
            return redirect("admin:login")
        self.pending = user
        if request.method == "POST" and not AxesProxyHandler.is_allowed(request, self._credentials()):
            request.axes_locked_out = True  # type: ignore[attr-defined]  # axes' middleware answers
            return HttpResponse(status=429)
        return super().dispatch(request, *args, **kwargs)

    def _credentials(self) -> dict[str, str]:
        return {"username": self.pending.get_username()}

    def form_valid(self, form: CodeForm) -> HttpResponse:
        try:
            accepted = factor.code_check(self.pending, form.cleaned_data["code"])
        except CodeRefused as error:
            user_login_failed.send(sender=__name__, credentials=self._credentials(), request=self.request)
            form.add_error("code", str(error))
            return self.form_invalid(form)
        backend = self.request.session.pop(PENDING)["backend"]
        login(self.request, self.pending, backend=backend)
        self.request.session[PROVED] = self.pending.pk
        if accepted.left is not None:
            messages.warning(
                self.request, f"You used a recovery code; {accepted.left} are left. Make new ones when they get few."
            )
        return HttpResponseRedirect(self.get_success_url())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        page = self.site.each_context(self.request) if self.site else {}
        return context | page | {"title": "Enter the code", "next": self.get_redirect_url()}


# --- the authenticator of whoever is logged in -----------------------------------------------------------------


@never_cache
@csrf_protect
@sensitive_post_parameters()
def second_factor(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Set up an authenticator, make new recovery codes, or take it away."""
    from moe_site.signing_in.site import CODE, missing

    user = request.user
    if not isinstance(user, User) or not user.is_active or not user.is_staff or missing(request) == CODE:
        return redirect("admin:login")
    form = CodeForm(request.POST or None)
    has_factor = factor.has_factor(user)
    if request.method == "POST" and form.is_valid():
        try:
            return _done(site, request, user, form.cleaned_data["code"], has_factor)
        except CodeRefused as error:
            form.add_error("code", str(error))
    context = _facts(user) if has_factor else _enrolment(user)
    page = site.each_context(request) | context | {"title": "Second factor", "form": form, "has_factor": has_factor}
    page["required"] = settings.ADMIN_TOTP == "required"
    return TemplateResponse(request, "admin/moe_site/second_factor.html", page)


def _done(site: AdminSite, request: HttpRequest, user: User, code: str, has_factor: bool) -> HttpResponse:
    """Do what was asked for with ``code``; raises CodeRefused."""
    if not has_factor:
        codes = factor.enrolment_confirm(user, code)
        request.session[PROVED] = user.pk
        return _shown_once(site, request, codes)
    factor.code_check(user, code)
    if request.POST.get("do") == "remove":
        factor.factor_remove([user], by=user)
        request.session.pop(PROVED, None)
        messages.success(request, "The second factor is removed: your password alone lets you in.")
        return redirect("admin:second_factor")
    codes = factor.recovery_renew(user)
    factor.audit(user, by=user, message="Made new recovery codes.")
    return _shown_once(site, request, codes)


@sensitive_variables("codes")
def _shown_once(site: AdminSite, request: HttpRequest, codes: list[str]) -> HttpResponse:
    page = site.each_context(request) | {"title": "Recovery codes", "codes": codes}
    return TemplateResponse(request, "admin/moe_site/recovery_codes.html", page)


def _enrolment(user: User) -> dict[str, Any]:
    stored = factor.enrolment_begin(user).key
    text = seed_text(stored)
    spaced = " ".join(text[place : place + 4] for place in range(0, len(text), 4))
    return {"picture": _picture(enrolment_url(stored, account=user.get_username())), "seed": spaced}


def _facts(user: User) -> dict[str, Any]:
    app = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    return {"app": app, "recovery_left": StaticToken.objects.filter(device__user=user).count()}


def _picture(text: str) -> SafeString:
    """Return a QR code of ``text`` as SVG, to stand in a page."""
    import qrcode
    from qrcode.image.svg import SvgPathImage

    picture: str = qrcode.make(text, image_factory=SvgPathImage, box_size=12).to_string(encoding="unicode")
    return mark_safe(picture)  # noqa: S308  # made of nothing but squares
