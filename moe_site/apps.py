from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig
from django_otp.plugins.otp_static.apps import DefaultConfig as StaticConfig
from django_otp.plugins.otp_totp.apps import DefaultConfig as TotpConfig

SECURITY = "Security"
"""The section of the admin in which these apps are one (moe_site/signing_in/site.py)."""


class MoeSiteConfig(AppConfig):
    name = "moe_site"
    verbose_name = "Site"

    def ready(self) -> None:
        from moe_site import checks  # noqa: F401  (registers the system checks)


class AdminConfig(DjangoAdminConfig):
    """Django's admin, whose login knows authenticators."""

    default_site = "moe_site.signing_in.site.Site"
    verbose_name = SECURITY  # of its own it has only who changed what


class AttemptsConfig(AxesConfig):
    """Who signed in and tried to."""

    verbose_name = SECURITY


class AuthenticatorsConfig(TotpConfig):
    """Who has an authenticator."""

    verbose_name = SECURITY


class RecoveryConfig(StaticConfig):
    """Who has recovery codes."""

    verbose_name = SECURITY
