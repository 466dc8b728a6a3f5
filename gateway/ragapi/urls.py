"""Paths of the knowledge base's resources; ingestion and search, which wait, are in moe_site/asgi.py."""

from django.urls import path

from gateway.ragapi import archives, collections, documents, embeddingmodels, jobs

urlpatterns = [
    path("collections", collections.Collections.as_view()),
    path("collections/import", archives.Import.as_view(), {"slug": "import"}),
    path("collections/<str:slug>", collections.OneCollection.as_view()),
    path("collections/<str:slug>/archive", archives.Export.as_view()),
    path("documents", documents.Documents.as_view()),
    path("documents/<int:number>", documents.OneDocument.as_view()),
    path("documents/<int:number>/reingest", documents.Reingestion.as_view()),
    path("documents/<int:number>/chunks", documents.Chunks.as_view()),
    path("documents/<int:number>/content", documents.Content.as_view()),
    path("embedding-models", embeddingmodels.EmbeddingModels.as_view()),
    path("jobs", jobs.Jobs.as_view()),
    path("jobs/<str:job_id>", jobs.Job.as_view()),
]
