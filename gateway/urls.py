"""REST paths; those that stream are in moe_site/asgi.py."""

from django.urls import include, path

from gateway import files, sources, views
from gateway.openapi import views as openapi
from gateway.usage.views import Usage

urlpatterns = [
    path("v1/models", views.Models.as_view()),
    path("v1/models/<path:name>", views.Model.as_view()),
    path("v1/files", files.Files.as_view()),
    path("v1/files/<str:file_id>", files.OneFile.as_view()),
    path("v1/files/<str:file_id>/content", files.FileContent.as_view()),
    path("v1/rag/", include("gateway.ragapi.urls")),
    path("v1/responses", include("gateway.responses.urls")),
    path("v1/vector_stores", include("gateway.vectorstores.urls")),
    path("v1/keys", include("gateway.keyring.urls")),
    path("v1/usage", Usage.as_view()),
    path("sources/<str:token>", sources.source),
    path("openapi.json", openapi.description),
    path("docs", openapi.docs),
    path("metrics", views.Metrics.as_view()),
    path("health/live", views.live),
    path("health/ready", views.ready),
]
