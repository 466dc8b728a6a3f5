"""Limits of REST views: they come in as every door's requests do, and leave when their answer is made."""

import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from gateway.auth import Caller
from gateway.limits.entry import Entry, entry_of


class Stay:
    """The entry of a view's request; the view runs in a thread, and may go on when its client has long left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entry: Entry | None = None
        self._is_over = False

    def come_in(self, entry: Entry) -> None:
        """Let a request in; raises RateLimited and Uncounted."""
        with self._lock:
            self._entry = entry
            if not self._is_over:
                entry.come_in_now()

    def check_budgets(self) -> None:
        """Raise QuotaSpent where a day's or month's budget is spent, and Uncounted."""
        if self._entry:
            self._entry.check_budgets_now()

    def leave(self) -> None:
        with self._lock:
            self._is_over = True
            if self._entry:
                self._entry.leave_now()

    def headers(self) -> dict[str, str]:
        return self._entry.headers() if self._entry else {}

    def is_to_leave(self) -> bool:
        """Let nobody in from now on, and tell whether somebody came in, or is coming in, who has to leave.

        Nothing here waits for the lock, which is held while Redis is asked.
        """
        self._is_over = True
        return self._entry is not None


class EntryThrottle(BaseThrottle):
    """Counts a request whose key may do what it asks (REST_FRAMEWORK's DEFAULT_THROTTLE_CLASSES)."""

    def allow_request(self, request: Request, view: Any) -> bool:
        if entry := entry_of(cast(Caller, request.user).policies):
            stay: Stay = request._request.stay  # type: ignore[attr-defined]  # limits_middleware's
            stay.come_in(entry)
        return True


@async_only_middleware
def limits_middleware(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Have limited requests leave, and put x-ratelimit-* on their answers; a download has left when it begins."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        stay = Stay()
        request.stay = stay  # type: ignore[attr-defined]
        try:
            response = await get_response(request)
        finally:
            if stay.is_to_leave():
                await sync_to_async(stay.leave)()
        for name, value in stay.headers().items():
            response[name] = value
        return response

    return markcoroutinefunction(middleware)
