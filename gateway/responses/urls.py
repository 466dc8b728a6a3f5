"""The paths of responses that are kept; the one that makes them is in moe_site/asgi.py."""

from django.urls import path

from gateway.responses import views

urlpatterns = [
    path("/<str:response_id>", views.OneResponse.as_view()),
    path("/<str:response_id>/input_items", views.InputItems.as_view()),
]
