"""The doors of the knowledge base that wait: ingestion, for jobs, and search, for an embedder."""

import asyncio
import logging
import time
from typing import ClassVar

from gateway.account import Account, accounted
from gateway.completions import listed
from gateway.doors import Door
from gateway.library import access_of
from gateway.policy import Scope
from gateway.ragapi.incoming import parse_ingest
from gateway.ragapi.ingesting import ingest
from gateway.ragapi.searching import parse_query, parse_search, search_object
from knowledge.search import search

logger = logging.getLogger(__name__)

IN_THREAD_BYTES = 64 * 1024
"""Bodies larger than this are read in a thread, so that nobody's stream stands still meanwhile."""


class Ingest(Door):
    """POST /v1/rag/ingest"""

    needs = Scope.KNOWLEDGE

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        content_type = self.headers.get(b"content-type", "")
        if len(body) > IN_THREAD_BYTES:
            request = await asyncio.to_thread(parse_ingest, body, content_type)
        else:
            request = parse_ingest(body, content_type)
        await self.check_budgets()
        report = await ingest(request, access=access_of(caller))
        logger.info(
            "ingested id=%s documents=%d urls=%d ready=%d errors=%d batch=%s",
            self.request_id,
            len(request.items),
            len(request.urls),
            report.body["documents_ingested"],
            len(report.body["errors"]),
            report.body["batch"],
        )
        headers = {"X-MoE-Ignored": listed(request.ignored)} if request.ignored else {}
        await self.send_json(report.body, status=report.status, headers=headers)


class Search(Door):
    """GET and POST /v1/rag/search"""

    needs = Scope.KNOWLEDGE
    what = "search"

    methods: ClassVar[tuple[str, ...]] = ("GET", "POST")

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        by_address = self.scope["method"] == "GET"
        request, ignored = parse_query(self.scope["query_string"]) if by_address else parse_search(body)
        await self.check_budgets()
        started = time.perf_counter()
        searching = Account(what=self.what, request_id=self.request_id, caller=caller, asked="", keeps_decision=False)
        with accounted(searching) as account:
            found = await search(request, access=access_of(caller))
            account.reason, account.found = "stop", len(found.passages)
        took = (time.perf_counter() - started) * 1000
        logger.info(
            "searched id=%s passages=%d weak=%s ms=%.1f", self.request_id, len(found.passages), found.weak, took
        )
        headers = {"X-MoE-Ignored": listed(tuple(ignored))} if ignored else {}
        await self.send_json(search_object(found), headers=headers)
