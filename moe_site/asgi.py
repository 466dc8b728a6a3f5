"""The application daphne serves: streaming paths to consumers, the rest to Django."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path

from gateway.consumers import ChatCompletions
from moe_site.background import WithBackground

application = WithBackground(
    ProtocolTypeRouter(
        {
            "http": URLRouter(
                [
                    path("v1/chat/completions", ChatCompletions.as_asgi()),
                    re_path(r"", django_application),  # type: ignore[arg-type]  # Channels takes ASGI applications
                ]
            ),
        }
    )
)
