"""Paths of keys."""

from django.urls import path

from gateway.keyring import resource

urlpatterns = [
    path("", resource.Keys.as_view()),
    path("/<int:number>", resource.OneKey.as_view()),
    path("/<int:number>/rotate", resource.Rotation.as_view()),
]
