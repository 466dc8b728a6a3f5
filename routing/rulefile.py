"""Rules as a YAML file: to keep, to compare, and to carry to another installation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction

from routing.exceptions import BadRequest
from routing.models import Expert, RoutingProfile, RoutingRule
from routing.plainyaml import NotPlain, read, written
from routing.rulefields import ALWAYS, COLUMNS, NAMES, RELATIONS, Wrong, default
from routing.rules import Rule
from routing.ruleset import prefetched, rules_load

MAX_BYTES = 2_000_000
MAX_RULES = 2_000
_SHOWN_PROBLEMS = 20
_HEADER = """\
# Routing rules, in the order they are tried. A field that is left out has its default.
# Read back by `manage.py rules import FILE`, or by Import among the rules in admin. A rule is known by its name;
# experts and profiles are named by their slugs and must exist.
"""


class RuleFileError(BadRequest):
    """A file of rules that cannot be taken; ``problems`` says each thing that is wrong, by rule and field."""

    def __init__(self, problems: Sequence[str]) -> None:
        shown = list(problems[:_SHOWN_PROBLEMS])
        if len(problems) > len(shown):
            shown.append(f"… and {len(problems) - len(shown)} more.")
        super().__init__("\n".join(shown))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """Names of rules by what became of them (or would, in a dry run)."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = ((len(getattr(self, what)), what) for what in ("created", "updated", "unchanged", "deleted"))
        return ", ".join(f"{count} {what}" for count, what in counts)


def rules_export() -> str:
    """Return every rule as YAML, in their order."""
    entries = [_entry_of(row) for row in prefetched(RoutingRule.objects.all())]
    return f"{_HEADER}{written({'rules': entries})}"


@transaction.atomic
def rules_import(text: str, *, replace: bool, dry_run: bool = False) -> ImportResult:
    """Make the rules those of ``text``, and with ``replace`` only those; raises RuleFileError and changes nothing.

    A rule of the same name is updated to what the file says: fields it leaves out get their defaults.
    """
    entries = _read(text)
    rows = {row.name: row for row in prefetched(RoutingRule.objects.select_for_update(of=("self",)))}
    problems: list[str] = []
    reader = _Reader(problems)
    changes = [reader.change(entry, rows.get(entry["name"])) for entry in entries]
    if problems:
        raise RuleFileError(problems)
    names = {change.row.name for change in changes}
    result = ImportResult(
        created=tuple(change.row.name for change in changes if change.is_new),
        updated=tuple(change.row.name for change in changes if change.is_change),
        unchanged=tuple(change.row.name for change in changes if not (change.is_new or change.is_change)),
        deleted=tuple(name for name in rows if name not in names) if replace else (),
    )
    if not dry_run:
        RoutingRule.objects.filter(name__in=result.deleted).delete()
        for change in changes:
            change.save()
    return result


def rules_supposed(text: str) -> tuple[Rule, ...]:
    """Return the rules there would be if ``text`` were imported in place of all others; raises RuleFileError.

    They are written and taken back, so that they are read as any others are; nobody else sees them.
    """
    with transaction.atomic():
        rules_import(text, replace=True)
        rules = rules_load()
        transaction.set_rollback(True)
    return rules


# --- entries ----------------------------------------------------------------------------------------------------


def _entry_of(row: RoutingRule) -> dict[str, Any]:
    """Return ``row`` as it stands in a file: what differs from the defaults, relations by slug."""
    return _entry(
        row,
        candidates=sorted(expert.slug for expert in row.candidates.all()),
        profiles=sorted(profile.slug for profile in row.profiles.all()),
    )


def _entry(row: RoutingRule, *, candidates: Sequence[str], profiles: Sequence[str]) -> dict[str, Any]:
    entry = {
        name: column.show(getattr(row, name))
        for name, column in COLUMNS.items()
        if name in ALWAYS or getattr(row, name) != default(name)
    }
    relations = {"profiles": list(profiles), "expert": row.expert and row.expert.slug, "candidates": list(candidates)}
    return entry | {name: value for name, value in relations.items() if value}


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Change:
    """A row as the file wants it, not saved yet."""

    row: RoutingRule
    candidates: list[Expert]
    profiles: list[RoutingProfile]
    is_new: bool
    is_change: bool

    def save(self) -> None:
        if self.is_new or self.is_change:
            self.row.save()
            self.row.candidates.set(self.candidates)
            self.row.profiles.set(self.profiles)


class _Reader:
    """Entries of a file into rows; what is wrong is gathered in ``problems``."""

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems
        self._experts = {expert.slug: expert for expert in Expert.objects.all()}
        self._profiles = {profile.slug: profile for profile in RoutingProfile.objects.all()}

    def change(self, entry: Mapping[str, Any], row: RoutingRule | None) -> _Change:
        before = _entry_of(row) if row else None
        values = self._values(entry)
        slug = values.get("expert")
        expert = self._found(entry, "expert", self._experts, [slug] if slug else [])
        candidates = self._found(entry, "candidates", self._experts, values.get("candidates", []))
        profiles = self._found(entry, "profiles", self._profiles, values.get("profiles", []))
        row = row or RoutingRule()
        for name in COLUMNS:
            setattr(row, name, values.get(name, default(name)))
        row.expert = expert[0] if expert else None
        if len(values) == len(entry):
            self._validate(entry, row, candidates, names_expert=bool(slug))
        after = _entry(
            row, candidates=sorted(one.slug for one in candidates), profiles=sorted(one.slug for one in profiles)
        )
        return _Change(
            row=row,
            candidates=candidates,
            profiles=profiles,
            is_new=before is None,
            is_change=before is not None and before != after,
        )

    def _values(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of ``entry`` that can be read."""
        values = {}
        for name, value in entry.items():
            if name not in NAMES:
                self._say(entry, str(name), f"there is no such field; there are {', '.join(NAMES)}")
                continue
            read = COLUMNS[name].read if name in COLUMNS else RELATIONS[name]
            try:
                values[name] = read(value)
            except Wrong as wrong:
                self._say(entry, name, str(wrong))
        return values

    def _found(self, entry: Mapping[str, Any], field: str, known: Mapping[str, Any], slugs: Iterable[str]) -> list[Any]:
        slugs = list(dict.fromkeys(slugs))
        for slug in slugs:
            if slug not in known:
                what = "profile" if field == "profiles" else "expert"
                self._say(entry, field, f"there is no {what} “{slug}”; create it first, or name another")
        return [known[slug] for slug in slugs if slug in known]

    def _validate(
        self, entry: Mapping[str, Any], row: RoutingRule, candidates: Sequence[Expert], *, names_expert: bool
    ) -> None:
        try:
            row.full_clean(exclude=["expert"])
            if names_expert == bool(row.expert) and len(candidates) == len(set(entry.get("candidates", []))):
                row.clean_actions(candidates)
        except ValidationError as error:
            for field, messages in error.update_error_dict({}).items():
                for message in ValidationError(messages).messages:
                    self._say(entry, "" if field == NON_FIELD_ERRORS else field, message)

    def _say(self, entry: Mapping[str, Any], field: str, message: str) -> None:
        where = f"{field}: " if field else ""
        self._problems.append(f"Rule “{entry['name']}”: {where}{message.rstrip('.')}.")


def _read(text: str) -> list[dict[str, Any]]:
    """Return the entries of ``text``, each with a name of its own; raises RuleFileError."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise RuleFileError([f"The file is larger than {MAX_BYTES // 1_000_000} MB."])
    try:
        content = read(text)
    except NotPlain as error:
        raise RuleFileError([str(error)]) from error
    entries = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(entries, list) or len(content) > 1:
        raise RuleFileError(["The file must hold “rules:” and below it a list; an export shows how."])
    if len(entries) > MAX_RULES:
        raise RuleFileError([f"The file holds more than {MAX_RULES} rules."])
    problems = []
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip():
            problems.append(f"Rule number {number} has no name that is a text.")
        elif name in seen:
            problems.append(f"Rule “{name}” is there twice; give each a name of its own.")
        else:
            seen.add(name)
    if problems:
        raise RuleFileError(problems)
    return entries
