"""The application daphne serves: streaming paths to consumers, the rest to Django."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path

from gateway import native, surfaces
from gateway.consumers import ChatCompletions
from gateway.decisions import Decisions
from gateway.feedback import FeedbackDoor
from gateway.ragapi import doors
from gateway.responses.doors import Responses
from gateway.vectorstores.doors import StoreSearchDoor
from moe_site.accesslog import AccessLog
from moe_site.background import WithBackground
from moe_site.cors import CrossOrigin
from moe_site.proxies import BehindProxies
from moe_site.unpacking import Unpacked


async def front_door(scope, receive, send):  # type: ignore[no-untyped-def]
    """Tell Ollama's clients, which ask with HEAD, that there is a server; people get to admin."""
    answering = native.Alive.as_asgi() if scope["method"] == "HEAD" else django_application
    await answering(scope, receive, send)


routes = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                path("", front_door),
                path("v1/chat/completions", ChatCompletions.as_asgi()),
                path("v1/route", Decisions.as_asgi()),
                path("v1/feedback", FeedbackDoor.as_asgi()),
                path("v1/responses", Responses.as_asgi()),
                path("v1/completions", surfaces.TextCompletions.as_asgi()),
                path("v1/embeddings", surfaces.EmbeddingsDoor.as_asgi()),
                path("v1/rag/ingest", doors.Ingest.as_asgi()),
                path("v1/rag/search", doors.Search.as_asgi()),
                path("v1/vector_stores/<str:store>/search", StoreSearchDoor.as_asgi()),
                path("api/chat", native.NativeChat.as_asgi()),
                path("api/generate", native.NativeGenerate.as_asgi()),
                path("api/embed", native.NativeEmbed.as_asgi()),
                path("api/embeddings", native.NativeEmbeddings.as_asgi()),
                path("api/tags", native.NativeTags.as_asgi()),
                path("api/show", native.NativeShow.as_asgi()),
                path("api/ps", native.NativePs.as_asgi()),
                path("api/version", native.NativeVersion.as_asgi()),
                re_path(r"^api/(?:pull|push|create|copy|delete|blobs)\b", native.Administration.as_asgi()),
                re_path(r"^api(?:/|$)", native.Unknown.as_asgi()),
                re_path(r"", django_application),  # type: ignore[arg-type]  # Channels takes ASGI applications
            ]
        ),
    }
)

application = WithBackground(AccessLog(BehindProxies(CrossOrigin(Unpacked(routes)))))
