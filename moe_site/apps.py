from django.apps import AppConfig


class MoeSiteConfig(AppConfig):
    name = "moe_site"
    verbose_name = "Site"

    def ready(self) -> None:
        from moe_site import checks  # noqa: F401  (registers the system checks)
