from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = "Routing"

    def ready(self) -> None:
        from routing import catalog, classifying, retraining

        catalog.connect_signals()
        classifying.connect_signals()
        retraining.connect_signals()
