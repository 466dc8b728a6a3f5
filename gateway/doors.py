"""What every door that waits or streams does first: who asks, whether they may, and with whom they are put through."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from django.conf import settings

from gateway.account import Account
from gateway.addresses import client_address, networks_of
from gateway.auth import Caller, Visit, admit, asker_of, keys
from gateway.chatanswer import Head
from gateway.completions import Routed
from gateway.http import HttpConsumer
from gateway.limits.entry import Entry, entry_of
from gateway.policy import Needs
from gateway.usage.journal import usage
from routing.exceptions import EndpointError
from routing.features import Asker
from routing.metering import is_metering


class Door(HttpConsumer):
    """``needs`` is what a key must be permitted to come in.

    ``what`` is the kind of request as records of usage call it, "" for one that runs no model and searches nothing.
    """

    needs: ClassVar[Needs]
    what: ClassVar[str] = ""
    known: Caller | None = None
    head: Head
    entry: Entry | None = None

    async def caller(self) -> Caller:
        """Return who asks, if they may come in and their limits let them; raises EndpointError."""
        caller = admit(self.visit(), self.needs, await keys.aget())
        self.known = caller
        usage.used(caller)
        self.entry = entry_of(caller.policies)
        if self.entry is None:
            return caller
        await self.entry.come_in()
        return replace(caller, entry=self.entry)

    async def check_budgets(self) -> None:
        """Raise QuotaSpent where a budget of the caller's is spent: for what asks a model, and reserves nothing."""
        if self.entry:
            await self.entry.check_budgets()

    def failed(self, error: EndpointError) -> None:
        # What fails later has an account, which tells more.
        if self.known and self.what and not is_metering():
            Account(what=self.what, request_id=self.request_id, caller=self.known, asked="", error=error).close()

    def visit(self) -> Visit:
        peer = self.scope.get("client") or ("",)
        forwarded = (value.decode("latin-1") for name, value in self.scope["headers"] if name == b"x-forwarded-for")
        return Visit(
            method=self.scope["method"],
            path=self.scope["path"],
            authorization=self.headers.get(b"authorization"),
            address=client_address(peer[0], ",".join(forwarded), networks_of(tuple(settings.TRUSTED_PROXIES))),
            origin=self.headers.get(b"origin", ""),
            host=self.headers.get(b"host", ""),
        )

    async def _run(self, body: bytes) -> None:
        try:
            await super()._run(body)
        finally:
            if self.entry:
                await self.entry.leave()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        await super().start(status, self.entry.headers() | dict(headers) if self.entry else headers)

    async def send_body(self, body: bytes, *, more_body: bool = False) -> None:
        try:
            # Before its last byte, so that a client that asks again on it finds its seat free.
            if self.entry and not more_body:
                await self.entry.leave()
        finally:  # an answer that is complete goes out, also where the server stops just now
            await super().send_body(body, more_body=more_body)

    def asker(self, caller: Caller) -> Asker:
        return asker_of(caller, self.headers)

    def routed(self, event: Routed) -> None:
        self.extra_headers, self.head = event.headers(), event.head
