from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class MoeSiteConfig(AppConfig):
    name = "moe_site"
    verbose_name = "Site"

    def ready(self) -> None:
        from moe_site import checks  # noqa: F401  (registers the system checks)


class AdminConfig(DjangoAdminConfig):
    """Django's admin, whose login knows authenticators."""

    default_site = "moe_site.signing_in.site.Site"
