"""Paths of vector stores; search, which waits, is in moe_site/asgi.py."""

from django.urls import path

from gateway.vectorstores import batches, files, stores

urlpatterns = [
    path("", stores.Stores.as_view()),
    path("/<str:store>", stores.OneStore.as_view()),
    path("/<str:store>/files", files.StoreFiles.as_view()),
    path("/<str:store>/files/<str:file>", files.OneStoreFile.as_view()),
    path("/<str:store>/files/<str:file>/content", files.StoreFileContent.as_view()),
    path("/<str:store>/file_batches", batches.Batches.as_view()),
    path("/<str:store>/file_batches/<str:batch>", batches.OneBatch.as_view()),
    path("/<str:store>/file_batches/<str:batch>/cancel", batches.Cancellation.as_view()),
    path("/<str:store>/file_batches/<str:batch>/files", batches.BatchFiles.as_view()),
]
