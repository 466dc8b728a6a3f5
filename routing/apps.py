from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = "Routing"

    def ready(self) -> None:
        from routing import (
            catalog,
            checks,  # noqa: F401  (registers the system checks)
            classifying,
            retraining,
        )
        from routing.learning import noticing
        from routing.program import active

        catalog.connect_signals()
        classifying.connect_signals()
        active.connect_signals()
        retraining.connect_signals()
        noticing.connect_signals()
