"""The admin, for those who proved who they are: by a password, and by a code where they have an authenticator."""

from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

CODE = "code"
ENROLMENT = "enrolment"


class Site(AdminSite):
    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and not missing(request)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        from moe_site.signing_in import views  # it needs models, which are there only later than this module

        return [
            path("login/code/", views.CodeStep.as_view(site=self), name="login_code"),
            path("second-factor/", views.second_factor, {"site": self}, name="second_factor"),
            path("logout/", self.logout, name="logout"),  # for those too who have not proved everything yet
            *super().get_urls(),
        ]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Refuse addresses with a character that the database has no text with: filters would fail at it."""
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def readable(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if any("\0" in value for _, values in request.GET.lists() for value in values):
                raise BadRequest("An address of the admin has a character that there is in no text.")
            return inner(request, *args, **kwargs)

        return readable

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the sections of the index, or the one that an app is in; apps of one name are one section."""
        sections: dict[str, Any] = {}
        asked = None
        for app in super().get_app_list(request):
            section = sections.setdefault(app["name"], app)
            if section is not app:
                section["models"] = sorted(section["models"] + app["models"], key=lambda model: model["name"].lower())
            if app["app_label"] == app_label:
                asked = section
        if app_label is None:
            return list(sections.values())
        return [asked] if asked else []

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from moe_site.signing_in import views

        if request.method == "GET" and super().has_permission(request):
            return HttpResponseRedirect(self._next_page(request))
        context = {
            **self.each_context(request),
            "title": "Log in",
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **({} if "next" in request.GET or "next" in request.POST else {"next": reverse("admin:index")}),
            **(extra_context or {}),
        }
        return views.PasswordStep.as_view(extra_context=context)(request)  # type: ignore[return-value]

    def _next_page(self, request: HttpRequest) -> str:
        from moe_site.signing_in import views

        if (step := missing(request)) == CODE:
            return views.code_page(request, request.user, request.session["_auth_user_backend"])
        return reverse("admin:second_factor" if step else "admin:index")


def missing(request: HttpRequest) -> str:
    """Return what whoever is logged in still has to do before the admin is theirs: CODE, ENROLMENT or ""."""
    from moe_site.signing_in.factor import has_factor
    from moe_site.signing_in.views import PROVED

    if request.session.get(PROVED) == request.user.pk:
        return ""
    if not hasattr(request, "_missing_step"):
        required = ENROLMENT if settings.ADMIN_TOTP == "required" else ""
        request._missing_step = CODE if has_factor(request.user) else required  # type: ignore[attr-defined, arg-type]
    return str(request._missing_step)  # type: ignore[attr-defined]
