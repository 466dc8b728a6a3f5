"""What is told of a request when it ends: its record, figures, line, decision and texts; and the spans of its trace."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from channels.db import database_sync_to_async

from gateway import metrics
from gateway.account import Account
from gateway.telling import log_line, mark_span
from gateway.usage.journal import usage
from gateway.usage.taken import records_of
from gateway.usage.texts import chat_kept
from routing import tracing
from routing.backends.protocol import ChatEvent, Delta, Finish, Usage
from routing.current import CurrentRequest, answering
from routing.decision import Decision, new_id
from routing.journal import journal
from routing.metering import Call
from routing.trial import Attempt
from tests.benchmarks.door.installation import FEW, asking, caller, pieces, prose
from tests.benchmarks.door.setups import DEFAULT_COLUMN, OFF_COLUMN, ON_COLUMN, Setup, applied, forget
from tests.benchmarks.door.timing import Part, Variant

SECONDS = 0.5
"""What a request is said to have taken."""
BATCH = 500
"""Records that are written at a time, as many as a busy worker has after a second."""
EVENTS: Sequence[ChatEvent] = (
    *(Delta(content=piece) for piece in pieces(FEW)),
    Finish(reason="stop", usage=Usage(prompt_tokens=250, completion_tokens=FEW)),
)
MESSAGES = asking(prose(1024)).messages


@contextlib.contextmanager
def inside(setup: Setup) -> Iterator[None]:
    """Have ``setup`` hold inside a request, as lines of the log tell which they belong to."""
    with applied(setup), answering(CurrentRequest(id="req_bench", method="POST", path="/v1/chat/completions")):
        yield


def account_of(decision: Decision, *, keeps: str = "") -> Account:
    """Return the account of a chat that one model has answered."""
    known = caller(keeps=keeps)
    account = Account(what="completion", request_id="req_bench", caller=known, asked="auto", decision=decision)
    replica = decision.expert.replicas[0]
    call = Call(expert=decision.expert, replica=replica)
    call.begin()
    for event in EVENTS:
        call.note(event)
    call.end()
    account.meter.calls.append(call)
    account.tried(Attempt(replica=replica, expert=decision.expert))
    account.saw()
    account.reason = "stop"
    if keeps:
        account.kept = chat_kept(MESSAGES, what="completion", caller=known, grounded=None)
        assert account.kept is not None
        for event in EVENTS:
            account.kept.saw(event)
    return account


def accounting(kept: Decision, unkept: Decision) -> Part:
    """Return what an account costs from its opening to its end; ``unkept`` is a decision that is not journalled."""

    def closed(decision: Decision, keeps: str = "") -> None:
        account_of(decision, keeps=keeps).close()

    def variant(name: str, decision: Decision, log: str = "", keeps: str = "", column: str = "") -> Variant:
        return Variant(
            name=name,
            work=partial(closed, decision, keeps),
            within=partial(inside, Setup(log=log)),
            after=forget,
            columns=(column,) if column else (),
        )

    return Part(
        name="account",
        note="opened, filled and closed: record of usage and figures in any case",
        variants=(
            variant("no line, decision not kept", unkept, column=OFF_COLUMN),
            variant("decision kept", kept),
            variant("decision kept, a line", kept, "line", column=DEFAULT_COLUMN),
            variant("decision kept, a line in JSON", kept, "json"),
            variant("decision kept, a line in JSON, texts kept", kept, "json", "key", column=ON_COLUMN),
        ),
    )


def telling(decision: Decision) -> Part:
    """Return what each of those costs who are told of an account's end."""
    account = account_of(decision)

    def record() -> None:
        for one in records_of(account, SECONDS):
            usage.note(one)

    def variant(name: str, work: Callable[[], Any], log: str = "") -> Variant:
        return Variant(name=name, work=work, within=partial(inside, Setup(log=log)), after=forget)

    return Part(
        name="account: of which",
        note="each by itself",
        variants=(
            variant("nothing", lambda: None),
            variant("opened and filled", partial(account_of, decision)),
            variant("record of usage", record),
            variant("figures for Prometheus", partial(metrics.count, account, SECONDS)),
            variant("decision to its journal", account.record),
            variant("line: off", partial(log_line, account, SECONDS)),
            variant("line: text", partial(log_line, account, SECONDS), "line"),
            variant("line: JSON", partial(log_line, account, SECONDS), "json"),
        ),
    )


def writing_behind(decision: Decision) -> Part:
    """Return what the process's threads do later for each request: rows, and sums, by batches into the database."""
    account = account_of(decision)
    account.caller = replace(account.caller, key_id=None, prefix="")
    (record,) = records_of(account, SECONDS)

    def records() -> None:
        for _ in range(BATCH):
            usage.note(record)
        usage.flush()

    def decisions() -> None:
        for _ in range(BATCH):
            account.decision = replace(decision, id=new_id())
            account.record()
        journal.flush()

    return Part(
        name="written behind",
        note=f"in a thread of the same process, {BATCH} at a time; not among a request's time",
        variants=(
            Variant(name="nothing", work=_in_thread(lambda: None), times=BATCH),
            Variant(name="record of usage and its sums", work=_in_thread(records), times=BATCH),
            Variant(name="decision", work=_in_thread(decisions), times=BATCH),
        ),
    )


def _in_thread(work: Callable[[], object]) -> Callable[[], Any]:
    """Return a coroutine function that has ``work`` done where journals are written."""

    async def done() -> None:
        await database_sync_to_async(work, thread_sensitive=False)()

    return done


def spans(decision: Decision) -> Part:
    """Return what the spans of a chat cost: the request's own and four stages, as they are opened and told."""
    account = account_of(decision)
    told = {"http.request.method": "POST", "url.path": "/v1/chat/completions", "moe.request_id": "req_bench"}

    def chat() -> None:
        with tracing.served("POST", {}, told) as serving:
            with tracing.stage("route") as span:
                span.tell({"moe.route": "default", "moe.expert": "general"})
            with tracing.stage("queue", {"moe.expert": "general"}) as span:
                span.tell({"moe.replica": "bench@instant", "moe.queue.position": 0})
            with tracing.stage("generate", {"gen_ai.operation.name": "chat"}, calls=True) as span:
                span.headers()
                span.tell({"gen_ai.usage.input_tokens": 250, "gen_ai.usage.output_tokens": 8})
                span.complete()
            mark_span(account)
            serving.rename("POST /v1/chat/completions")
            serving.tell({"http.route": "/v1/chat/completions", "http.response.status_code": 200})

    return Part(
        name="tracing",
        note="the spans of a chat; sent by a thread of the same process",
        variants=(
            Variant(name="off", work=chat, within=partial(applied, Setup()), columns=(OFF_COLUMN, DEFAULT_COLUMN)),
            Variant(name="on", work=chat, within=partial(applied, Setup(traced=True)), columns=(ON_COLUMN,)),
        ),
    )
