"""The bases of pages whose rows the program leaves, and nobody makes or changes by hand."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class ReadOnly(admin.ModelAdmin):
    """Rows that people look at, and may delete."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Kept(ReadOnly):
    """Rows that nobody may delete by hand either."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
