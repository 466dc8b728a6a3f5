from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        from gateway import auth
        from gateway.caching import purging
        from gateway.guards import live

        auth.connect_signals()
        purging.connect_signals()
        live.connect_signals()
