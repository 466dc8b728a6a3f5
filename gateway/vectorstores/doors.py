"""The door of vector stores that waits for an embedder."""

import logging
import time

from gateway.account import Account, accounted
from gateway.completions import listed
from gateway.doors import Door
from gateway.library import access_of
from gateway.policy import Scope
from gateway.vectorstores.access import no_store
from gateway.vectorstores.searching import file_names, parse_store_search, results_page
from knowledge.exceptions import CollectionNotFound
from knowledge.search import search
from knowledge.threads import in_thread

logger = logging.getLogger(__name__)


class StoreSearchDoor(Door):
    """POST /v1/vector_stores/{id}/search"""

    needs = Scope.KNOWLEDGE
    what = "search"

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        store = self.scope["url_route"]["kwargs"]["store"]
        asked = parse_store_search(body, store)
        await self.check_budgets()
        started = time.perf_counter()
        searching = Account(what=self.what, request_id=self.request_id, caller=caller, asked="", keeps_decision=False)
        with accounted(searching) as account:
            try:
                found = await search(asked.request, access=access_of(caller))
            except CollectionNotFound:
                raise no_store(store) from None
            account.reason, account.found = "stop", len(found.passages)
        names = await in_thread(file_names)(found.passages)
        took = (time.perf_counter() - started) * 1000
        logger.info("searched a store id=%s passages=%d ms=%.1f", self.request_id, len(found.passages), took)
        headers = {"X-MoE-Ignored": listed(asked.ignored)} if asked.ignored else {}
        await self.send_json(results_page(found, asked, names), headers=headers)
