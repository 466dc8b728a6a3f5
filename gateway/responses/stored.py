"""Responses that are kept, where the prompts and answers of the API key that asked are: to be read and continued by it.

A response is written before its last event is sent, so that it can be continued as soon as a client knows of it, in
whichever process that arrives.
"""

import asyncio
import logging
import threading
from collections.abc import Collection, Mapping
from typing import Any

from django.db import Error, transaction
from django.utils import timezone

from gateway.auth import Caller
from gateway.completions import Routed
from gateway.errors import NotFound
from gateway.fields import Fields, unsupported
from gateway.guards.texts import hidden
from gateway.library import access_of
from gateway.models import Exchange
from gateway.responses import items
from gateway.responses.attachments import attachments_load
from gateway.responses.ids import is_response_id, response_of
from gateway.responses.masking import swapped, swaps_of
from gateway.responses.parts import named_in
from gateway.responses.request import NOTHING_BEFORE, Before, ResponseRequest
from knowledge.threads import in_thread
from routing.backends.protocol import Json
from routing.batches import storable
from routing.exceptions import Unavailable

logger = logging.getLogger(__name__)

WHAT = "response"
LONGEST_CHAIN = 1_000
SECONDS = 5.0


class ResponseNotFound(NotFound):
    """The same for what never was, what was deleted and what is somebody else's."""

    code = "response_not_found"

    def __init__(self, response: str, *, param: str | None = None, why: str = "") -> None:
        super().__init__(
            f"There is no response '{response[:100]}' that was made with this API key.{why} It may have been deleted, "
            "be older than texts are kept here, or have been sent with 'store' false.",
            param=param,
            code="previous_response_not_found" if param else None,
        )


# --- what a request refers to -----------------------------------------------------------------------------------


async def looked_up(data: Mapping[str, Any], caller: Caller) -> Before:
    """Return what a request refers to; raises EndpointError. A request that refers to nothing asks no database."""
    previous = Fields(data).text("previous_response_id")
    given = data.get("input")
    referred = _references(given)
    if not previous and not referred and not any(named_in(given)):
        return NOTHING_BEFORE
    if previous and not caller.keeps_texts:
        raise unsupported(
            "previous_response_id",
            "'previous_response_id' cannot be used with this API key, as its prompts and answers are not kept. Send "
            "the whole conversation as 'input'; or have an administrator turn on 'keep texts' on the key's page in "
            "admin, or on its group's.",
        )
    if previous and not is_response_id(previous):
        raise ResponseNotFound(previous, param="previous_response_id")
    try:
        async with asyncio.timeout(SECONDS):
            return await in_thread(_before)(previous or "", referred, given, caller)
    except TimeoutError:
        raise Unavailable("The database does not answer at the moment. Try again.", retry_after=5) from None


def _references(given: Any) -> frozenset[str]:
    """Return the ids that stand for items in ``input``."""
    found = given if isinstance(given, list) else ()
    ids = (item.get("id") for item in found if items.kind_of(item) == "item_reference")
    return frozenset(one for one in ids if isinstance(one, str) and response_of(one))


def _before(previous: str, referred: Collection[str], given: Any, caller: Caller) -> Before:
    chain = _chain(previous, caller) if previous else []
    said = tuple(item for row in chain for item in _items_of(row))
    stored = _stored(referred, caller) if referred else {}
    names = dict.fromkeys([*named_in(said), *named_in(list(stored.values())), *named_in(given)])
    attachments = attachments_load(tuple(names), access_of(caller)) if names else {}
    return Before(items=said, stored=stored, attachments=attachments)


def _items_of(row: Exchange) -> list[Any]:
    return [*row.request.get("input", ()), *row.answer.get("output", ())]


def _chain(response: str, caller: Caller) -> list[Exchange]:
    """Return the responses that ``response`` goes back to, and it, oldest first; raises ResponseNotFound."""
    table = Exchange._meta.db_table
    found = Exchange.objects.raw(
        f"""
        WITH RECURSIVE chain AS (
            SELECT *, 1 AS depth FROM {table} WHERE id = %(id)s AND what = %(what)s AND key_id = %(key)s
            UNION ALL
            SELECT before.*, depth + 1 FROM {table} AS before JOIN chain ON before.id = chain.previous
            WHERE before.what = %(what)s AND before.key_id = %(key)s AND depth < %(most)s
        )
        SELECT * FROM chain ORDER BY depth DESC
        """,  # noqa: S608  # the name of our own table
        {"id": response, "what": WHAT, "key": caller.key_id, "most": LONGEST_CHAIN},
    )
    chain = list(found)
    if not chain:
        raise ResponseNotFound(response, param="previous_response_id")
    if missing := chain[0].previous:
        raise ResponseNotFound(missing, param="previous_response_id", why=f" '{response[:100]}' goes back to it.")
    return chain


def _stored(referred: Collection[str], caller: Caller) -> Mapping[str, Json]:
    """Return which of the items that are referred to are kept, by their ids."""
    responses = {found for one in referred if (found := response_of(one))}
    rows = Exchange.objects.filter(pk__in=responses, what=WHAT, key_id=caller.key_id) if caller.key_id else ()
    kept = {item["id"]: item for row in rows for item in _items_of(row)}
    return {one: kept[one] for one in referred if one in kept}


# --- keeping ----------------------------------------------------------------------------------------------------


async def response_store(
    asked: ResponseRequest, response: Json, routed: Routed, *, caller: Caller, request_id: str
) -> bool:
    """Keep a response, and tell whether it is kept: an answer is not withheld because the database does not answer."""
    swaps = swaps_of(asked.chat.messages, routed.conversation)
    instructions = swapped({"instructions": asked.shown["instructions"]}, swaps, routed.masked)
    row = Exchange(
        id=asked.id,
        created_at=timezone.now(),
        what=WHAT,
        key_id=caller.key_id,
        request_id=request_id,
        decision=routed.decision.id,
        previous=asked.previous,
        asked=asked.chat.model,
        expert=str(response["model"]),
        because=caller.keeps_texts,
        request=instructions | {"input": swapped(asked.items, swaps, routed.masked)},
        answer=hidden(dict(response), routed.restored) | instructions,
    )
    try:
        await _saved(row)
    except (Error, OSError, TimeoutError, RecursionError) as error:
        logger.warning("a response is not kept id=%s error=%s", asked.id, str(error) or type(error).__name__)
        return False
    return True


async def _saved(row: Exchange) -> None:
    """Insert ``row`` in time. Raises TimeoutError, after which it is never there, and django.db.Error.

    Nor is it when this is cancelled, unless it is being committed just then: the client has left, or is told that the
    answer failed as the server stops.
    Threads cannot be cancelled: whoever of this and the thread takes ``word`` first has the last word. The thread takes
    it when all is done but to commit, which is then waited for, however long that takes.
    """
    word = threading.Lock()
    saving = asyncio.ensure_future(in_thread(_save)(row, word))
    saving.add_done_callback(_heard)
    try:
        done, _ = await asyncio.wait({saving}, timeout=SECONDS)
    except asyncio.CancelledError:
        word.acquire(blocking=False)
        raise
    if not done and word.acquire(blocking=False):
        raise TimeoutError
    await saving


def _save(row: Exchange, word: threading.Lock) -> None:
    with transaction.atomic():
        storable(row).save(force_insert=True)
        if not word.acquire(blocking=False):
            transaction.set_rollback(True)


def _heard(saving: "asyncio.Future[None]") -> None:
    """Take note of an error that nobody waits for any more, lest the event loop reports it as forgotten."""
    if not saving.cancelled():
        saving.exception()


# --- kept ones --------------------------------------------------------------------------------------------------


def response_find(response: str, caller: Caller) -> Exchange:
    """Return a response that ``caller`` made; raises ResponseNotFound."""
    if caller.key_id is not None and is_response_id(response):
        found = Exchange.objects.filter(pk=response, what=WHAT, key_id=caller.key_id).first()
        if found is not None:
            return found
    raise ResponseNotFound(response)
