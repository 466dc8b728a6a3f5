"""Figures of the doors for Prometheus.

Values of labels come from what administrators named (experts, profiles, groups) or from short lists in the code; what
clients can make up becomes "other", so that nobody can fill the memory with series.
"""

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from gateway.errors import CLIENT_LEFT
from routing.metrics import REGISTRY

if TYPE_CHECKING:
    from gateway.account import Account

MOST_NAMES = 200
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

requests = Counter(
    "moe_requests",
    "Requests to a model, by door, profile or model asked for, expert that answered, and status (499: cancelled)",
    ["door", "asked", "expert", "status"],
    registry=REGISTRY,
)
failures = Counter(
    "moe_request_failures", "Requests to a model that failed, by the code of the error", ["code"], registry=REGISTRY
)
tokens = Counter(
    "moe_tokens",
    "Tokens as model servers counted them: prompt, completion, and the part of completions that was thinking",
    ["expert", "kind"],
    registry=REGISTRY,
)
first_token = Histogram(
    "moe_first_token_seconds",
    "Seconds from a request to the first piece of its answer",
    ["expert"],
    registry=REGISTRY,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120),
)
latency = Histogram(
    "moe_request_seconds",
    "Seconds from a request to the end of its answer, of those that were answered",
    ["expert"],
    registry=REGISTRY,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300),
)
fallbacks = Counter(
    "moe_fallbacks", "Requests that another expert than the chosen one answered", ["expert", "by"], registry=REGISTRY
)
prompts_cut = Counter(
    "moe_prompts_cut", "Answers whose model server read only a part of the prompt", ["replica"], registry=REGISTRY
)
groundings = Counter(
    "moe_groundings",
    "Answers that were to rest on the knowledge base, by what became of that: grounded, weak, unavailable, skipped",
    ["state"],
    registry=REGISTRY,
)
citations_invented = Counter(
    "moe_citations_invented", "Citations that models made up, and that were taken out of answers", registry=REGISTRY
)
http_requests = Counter(
    "moe_http_requests",
    "Requests of every kind, by what answered them",
    ["door", "method", "status"],
    registry=REGISTRY,
)
http_in_flight = Gauge(
    "moe_http_requests_in_flight",
    "Requests of every kind that are being answered",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
cache = Counter(
    "moe_cache",
    "Looks into a cache (exact, semantic: of answers; embedding: of vectors) by what came of them: hit, miss, bypass",
    ["cache", "result"],
    registry=REGISTRY,
)
guard_findings = Counter(
    "moe_guard_findings",
    "Findings of guards, by guard, where (input, retrieved or output) and what was done: logged, masked, refused",
    ["guard", "where", "action"],
    registry=REGISTRY,
)
limits_refused = Counter(
    "moe_limits_refused",
    "Requests that a limit refused, by limit and by the group whose it was; without a group it was a key's own",
    ["limit", "group"],
    registry=REGISTRY,
)
records_waiting = Gauge(
    "moe_records_waiting",
    "Records that wait to be written to the database",
    ["journal"],
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
records_dropped = Counter(
    "moe_records_dropped",
    "Records that were never written, as too many waited or the database refused them",
    ["journal"],
    registry=REGISTRY,
)
database_up = Gauge(
    "moe_database_up",
    "1 while every process hears of the database's changes",
    registry=REGISTRY,
    multiprocess_mode="livemin",
)
redis_up = Gauge(
    "moe_redis_up",
    "1 while Redis answers every process, by what it is used for; not there without REDIS_URL",
    ["used_for"],
    registry=REGISTRY,
    multiprocess_mode="livemin",
)
processes = Gauge(
    "moe_processes", "Processes that serve, by kind", ["kind"], registry=REGISTRY, multiprocess_mode="livesum"
)
build = Gauge(
    "moe_build_info",
    "1; the version is in the labels",
    ["version", "python"],
    registry=REGISTRY,
    multiprocess_mode="livemax",
)


class Names:
    """Values of a label that are not known beforehand: so many are kept as they are, later ones are "other"."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._known: set[str] = set()
        self._most = most

    def bounded(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(name)
        return name


_codes, _groups = Names(), Names()


# --- counting ---------------------------------------------------------------------------------------------------


def count(account: "Account", seconds: float) -> None:
    """Take a request that ended after ``seconds`` into the figures."""
    decision, error = account.decision, account.error
    chosen = decision.expert.slug if decision else ""
    expert = account.answered_by or chosen
    asked = (decision.profile.slug if decision.profile else chosen) if decision else OTHER
    requests.labels(account.what, asked, expert, account.status).inc()
    if error is not None:
        failures.labels(_codes.bounded(error.code or error.type)).inc()
    if account.grounded and account.citing:
        groundings.labels("weak" if account.grounded.is_weak else account.grounded.state).inc()
        citations_invented.inc(account.citing.invented)
    if expert:
        _count_answer(account, expert, chosen, seconds)


def _count_answer(account: "Account", expert: str, chosen: str, seconds: float) -> None:
    for call in account.meter.of():
        took, asked = call.took, call.expert.slug
        for kind, number in (("prompt", took.prompt), ("completion", took.completion), ("thinking", took.thinking)):
            if number:
                tokens.labels(asked, kind).inc(number)
    if account.first_event is not None:
        first_token.labels(expert).observe(account.first_event)
    if account.status == 200:
        latency.labels(expert).observe(seconds)
    if account.answered_by not in ("", chosen) and not account.several:
        fallbacks.labels(chosen, account.answered_by).inc()


def count_http(door: str, method: str, status: int) -> None:
    """Count a request of any kind; without a status its client left before there was one."""
    method = method if method in METHODS else OTHER
    http_requests.labels(door or OTHER, method, status or CLIENT_LEFT).inc()


def limit_refused(limit: str, subject: str) -> None:
    """Count a request that the limit of this name refused; ``subject`` is whose it is, as policies have it."""
    kind, _, name = subject.partition(":")
    limits_refused.labels(limit, _groups.bounded(name) if kind == "group" else "").inc()
