"""The knowledge base as one request sees it: whose it is, what was asked, what was searched for already."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error

from gateway.auth import Caller
from gateway.condensing import Reserve, Wording, unlimited, wording
from knowledge.access import Access
from knowledge.models import Collection as CollectionRow
from knowledge.passages import Mode, Retrieval, SearchRequest
from knowledge.search import search
from routing.backends.protocol import ChatRequest, Grounding
from routing.exceptions import EndpointError, Unavailable

logger = logging.getLogger(__name__)

SEARCH_SECONDS = 10.0
Retrieve = Callable[[SearchRequest], Awaitable[Retrieval]]
Shelf = Mapping[str, str | None]
"""Collections that may be read, each with the slug of the expert that rewrites follow-up questions for it, if any."""
Look = Callable[[tuple[str, ...]], Awaitable[Shelf]]
Found = TypeVar("Found")


class Library:
    """Searches on behalf of ``caller``; the same search is not made twice, nor the question put into words twice.

    ``reserve`` takes from the caller's limits what putting it into words may take of a model.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        reserve: Reserve = unlimited,
        retrieve: Retrieve | None = None,
        look: Look | None = None,
    ) -> None:
        self.caller = caller
        self._reserve = reserve
        self._retrieve = retrieve or partial(search, access=access_of(caller))
        self._look = look or partial(_look, access_of(caller))
        self._shelves: dict[tuple[str, ...], Shelf] = {}
        self._wording: Wording | None = None
        self._found: list[tuple[SearchRequest, Retrieval]] = []

    async def shelf(self, collections: Sequence[str]) -> Shelf:
        """Return which of ``collections`` (none: of all) may be read; raises EndpointError."""
        names = tuple(collections)
        if names not in self._shelves:
            self._shelves[names] = await _reached(self._look(names))
        return self._shelves[names]

    async def wording(self, request: ChatRequest, collections: Sequence[str]) -> Wording:
        """Return what is searched for to answer ``request``; raises EndpointError.

        A follow-up is rewritten by the expert that one of ``collections`` names for it, if one does.
        """
        if self._wording is None:
            condense = request.grounding is None or request.grounding.condense
            goes_on = condense and sum(message.role == "user" for message in request.messages) > 1
            shelf = await self.shelf(collections) if goes_on else {}
            expert = next((slug for slug in shelf.values() if slug), None)
            self._wording = await wording(
                request, expert=expert, condense=condense, caller=self.caller, reserve=self._reserve
            )
        return self._wording

    async def search(self, request: SearchRequest) -> Retrieval:
        """Return what is found; raises EndpointError."""
        for made, found in self._found:
            if made == request:
                return found
        retrieval = await _reached(self._retrieve(request))
        self._found.append((request, retrieval))
        return retrieval

    async def evidence(self, request: ChatRequest, collections: Collection[str]) -> Mapping[str, float]:
        """Return how strong the evidence of each collection is, without those that cannot be searched."""
        names = sorted(collections)
        try:
            asked = await self.wording(request, names)
        except EndpointError as error:
            logger.warning("rules that look at evidence are passed over error=%s", error)
            return {}
        if not asked.query:
            return {}
        searches = (self.search(search_request(asked, (name,))) for name in names)
        results = await asyncio.gather(*searches, return_exceptions=True)
        return {name: found.strength for name, found in _successes(names, results)}


async def _reached(work: Awaitable[Found]) -> Found:
    """Return what ``work`` finds in the database, in time; raises EndpointError."""
    try:
        async with asyncio.timeout(SEARCH_SECONDS):
            return await work
    except (Error, OSError, TimeoutError) as error:
        logger.warning("cannot search the knowledge base error=%s", str(error) or type(error).__name__)
        raise Unavailable(
            "The knowledge base cannot be searched at the moment. Try again, or ask without 'rag'.",
            code="knowledge_unavailable",
            retry_after=5,
        ) from error


def _successes(names: Iterable[str], results: Iterable[Retrieval | BaseException]) -> Iterable[tuple[str, Retrieval]]:
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Retrieval):
            yield name, result
        elif isinstance(result, EndpointError):
            logger.warning("no evidence from collection=%s error=%s", name, result)
        else:
            logger.error("no evidence from collection=%s", name, exc_info=result)


def access_of(caller: Caller) -> Access:
    """Return what of the knowledge base a caller may see."""
    return Access(
        key_id=caller.key_id,
        group=caller.group,
        everything=not settings.REQUIRE_API_KEY,
        narrowed=tuple(policy.collections for policy in caller.policies if policy.collections),
    )


def search_request(asked: Wording, collections: Sequence[str], wish: Grounding | None = None) -> SearchRequest:
    """Return the search for a question in ``collections`` (none: all that may be read), as the client wishes."""
    request = SearchRequest(query=asked.query, also=asked.also, collections=tuple(collections))
    if wish is None:
        return request
    return SearchRequest(
        query=asked.query,
        also=asked.also,
        collections=tuple(collections),
        top_k=wish.top_k or request.top_k,
        mode=Mode(wish.mode) if wish.mode else None,
        filters=wish.filters,
    )


@partial(database_sync_to_async, thread_sensitive=False)
def _look(access: Access, collections: tuple[str, ...]) -> Shelf:
    rows = CollectionRow.objects.open_to(access).lasting()
    if collections:
        rows = rows.named(collections)
    found = [row for row in rows.select_related("condenser") if not row.is_expired]
    called = {row: row.names & frozenset(collections) if collections else (row.slug,) for row in found}
    return {name: row.condenser.slug if row.condenser else None for row in found for name in called[row]}
