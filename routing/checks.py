"""Whether the shelf can answer: what of its rows leads nowhere. Run by `manage.py doctor` and `check --database`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connection

from routing.fields import is_readable

Findings = Iterator[CheckMessage]


def checked(databases: Sequence[str] | None, *checks: Callable[[], Findings]) -> list[CheckMessage]:
    """Return what ``checks`` find in the database, nothing where it is away or has no tables yet: others tell that."""
    if not databases:
        return []
    try:
        return [found for check in checks for found in check()]
    except DatabaseError:
        return []


@register(Tags.database)
def check_shelf(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    return checked(databases, _secrets, _servers, _experts, _default, _replicas, _rules)


def _secrets() -> Findings:
    with connection.cursor() as cursor:  # the rows themselves would log an error for each
        cursor.execute("SELECT name, api_key FROM routing_modelserver WHERE api_key <> ''")
        lost = [name for name, token in cursor.fetchall() if not is_readable(token)]
    if lost:
        yield Error(
            f"The API keys of these model servers cannot be read any more: {_listed(lost)}. SECRET_KEY was changed.",
            hint="Give SECRET_KEY (or secret_key in the data directory) its earlier value, or enter the keys again in "
            "the admin.",
            id="routing.E001",
        )


def _servers() -> Findings:
    from routing.models import ModelServer

    if not ModelServer.objects.filter(enabled=True).exists():
        yield Warning(
            "No model server is enabled, so nobody can answer.",
            hint="Set OLLAMA_BASE_URL, or EMBEDDED_MODELS=auto, and start 'manage.py serve'; or add one in the admin.",
            id="routing.W001",
        )


def _experts() -> Findings:
    from routing.models import Expert

    enabled = Expert.objects.filter(enabled=True)
    usable = enabled.filter(replicas__enabled=True, replicas__server__enabled=True)
    if not enabled.exists():
        yield Warning(
            "No expert is enabled.",
            hint="Enable one in the admin, or delete them all and start 'manage.py serve', which proposes new ones.",
            id="routing.W002",
        )
    elif not usable.exists():
        yield Warning(
            "No expert has a replica on an enabled model server, so requests for 'auto' are refused.",
            hint="Give experts replicas in the admin, or pull the models that the shelf proposes: manage.py models",
            id="routing.W003",
        )
    # The shelf proposes more experts than most machines have models for; only those that others count on are told.
    needed = enabled.filter(is_default=True) | enabled.filter(rules__enabled=True)
    if usable.exists() and (
        alone := sorted(set(needed.exclude(pk__in=usable.values("pk")).values_list("slug", flat=True)))
    ):
        yield Warning(
            f"Experts that are the default, or that rules name, have no replica: {_listed(alone)}.",
            hint="Give them replicas in the admin; until then their fallbacks answer, or nobody.",
            id="routing.W004",
        )


def _default() -> Findings:
    from routing.models import Expert

    if (
        Expert.objects.filter(enabled=True).exists()
        and not Expert.objects.filter(enabled=True, is_default=True).exists()
    ):
        yield Warning(
            "No enabled expert is the default: requests that nothing else decides are answered by the first of them.",
            hint="Mark one expert as the default in the admin.",
            id="routing.W005",
        )


def _replicas() -> Findings:
    """Compare replicas with what their servers had when they were last asked; `doctor` asks them now."""
    from routing.models import InstalledModel, Replica

    known = {(row.server_id, row.name.removesuffix(":latest").lower()): row for row in InstalledModel.objects.all()}
    asked = {server for server, _ in known}
    missing, narrow = [], []
    for replica in _used(Replica.objects.all()):
        model = known.get((replica.server_id, replica.model.removesuffix(":latest").lower()))
        if model is None and replica.server_id in asked:
            missing.append(str(replica))
        elif model and model.context_length and replica.num_ctx and replica.num_ctx > model.context_length:
            narrow.append(f"{replica} ({replica.num_ctx} of {model.context_length} tokens)")
    if missing:
        yield Warning(
            f"Replicas run models that their servers do not have: {_listed(missing)}.",
            hint="Pull them (manage.py models, or the server's State page in the admin), or disable the replicas.",
            id="routing.W006",
        )
    if narrow:
        yield Warning(
            f"Replicas ask for more context than their models were trained for: {_listed(narrow)}.",
            hint="Lower the context window of these replicas in the admin; beyond it answers fall apart.",
            id="routing.W007",
        )


def _used(replicas: Any) -> Iterable[Any]:
    used = replicas.filter(enabled=True, server__enabled=True, expert__enabled=True)
    return used.select_related("server", "expert")  # type: ignore[no-any-return]


def _rules() -> Findings:
    from routing.models import Expert
    from routing.rulebook import check
    from routing.ruleset import rules_all

    disabled = frozenset(Expert.objects.filter(enabled=False).values_list("slug", flat=True))
    for finding in check(rules_all(), disabled_experts=disabled):
        yield Warning(
            f"A rule does not do what it says: {finding.message}",
            hint="Correct or disable it in the admin; 'manage.py rules check' lists them too.",
            id="routing.W008",
        )


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
