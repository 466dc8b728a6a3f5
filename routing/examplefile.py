"""Examples as a file of JSON lines: to keep, to prepare elsewhere, and to carry to another installation."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from routing.models import Expert, RouteExample
from routing.models.examples import prompt_digest

MAX_BYTES = 20_000_000
_BATCH = 2_000
_SHOWN_CHARACTERS = 80
_SETTABLE = ("expert", "source", "split", "enabled", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownExpert:
    """A line that is left out, since there is no expert of that name."""

    line: int
    expert: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedExample:
    """An example that exists and becomes another; ``before`` and ``after`` are slugs of experts."""

    line: int
    prompt: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did, or would do; with ``errors`` it did nothing."""

    new: int = 0
    changed: tuple[ChangedExample, ...] = ()
    unchanged: int = 0
    unknown: tuple[UnknownExpert, ...] = ()
    errors: tuple[str, ...] = ()
    applied: bool = False

    def __str__(self) -> str:
        parts = [f"{self.new} new", f"{len(self.changed)} changed", f"{self.unchanged} unchanged"]
        if self.unknown:
            parts.append(f"{len(self.unknown)} left out for want of an expert")
        return ", ".join(parts)


def examples_export(queryset: QuerySet[RouteExample]) -> Iterator[str]:
    """Yield a line for each example, oldest first: prompt and expert, and what differs from the defaults."""
    for example in queryset.select_related("expert").order_by("pk").iterator(chunk_size=_BATCH):
        entry: dict[str, Any] = {"prompt": example.prompt, "expert": example.expert.slug}
        if example.split != RouteExample.Split.TRAINING:
            entry["use"] = str(example.split)
        if not example.enabled:
            entry["enabled"] = False
        if example.note:
            entry["note"] = example.note
        yield json.dumps(entry, ensure_ascii=False) + "\n"


@transaction.atomic
def examples_import(
    text: str,
    *,
    user: Any = None,
    source: str = RouteExample.Source.IMPORTED,
    split: str = RouteExample.Split.TRAINING,
    apply: bool,
) -> ImportReport:
    """Take the examples of ``text``, all of them or none, and report; without ``apply`` only report.

    A line is an object with "prompt" and "expert" (or "label"), the expert's slug, and may have "use", "enabled" and
    "note"; a new one that does not say gets ``split``. Lines that name an unknown expert are left out. What is an
    example already moves to the expert of the line.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return ImportReport(errors=(f"The file is larger than {MAX_BYTES // 1_000_000} MB. Split it.",))
    reader = _Reader(Expert.objects.in_bulk(field_name="slug"))
    entries = reader.read(text)
    if reader.errors:
        return ImportReport(errors=tuple(reader.errors), unknown=tuple(reader.unknown))
    rows: list[RouteExample] = []
    changed: list[ChangedExample] = []
    existing = _existing(entries, lock=apply)
    for digest, entry in entries.items():
        row = existing.get(digest)
        if row is None:
            rows.append(entry.into(RouteExample(prompt=entry.prompt, split=split), source, user))
        elif entry.differs(row):
            changed.append(entry.change(row))
            rows.append(entry.into(row, source, user))
    if apply:
        _write(rows)
    return ImportReport(
        new=len(rows) - len(changed),
        changed=tuple(changed),
        unchanged=len(entries) - len(rows),
        unknown=tuple(reader.unknown),
        applied=apply,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A line that can be taken; ``values`` are columns the line sets beside the expert."""

    line: int
    prompt: str
    expert: Expert
    values: Mapping[str, Any]

    def differs(self, row: RouteExample) -> bool:
        return row.expert_id != self.expert.pk or any(getattr(row, name) != self.values[name] for name in self.values)

    def change(self, row: RouteExample) -> ChangedExample:
        return ChangedExample(line=self.line, prompt=str(row), before=row.expert.slug, after=self.expert.slug)

    def into(self, row: RouteExample, source: str, user: Any) -> RouteExample:
        row.expert, row.source = self.expert, source
        row.created_by = row.created_by if row.pk else user
        for name, value in self.values.items():
            setattr(row, name, value)
        return row


class _Wrong(Exception):
    """What is wrong with a line, in words."""


class _Reader:
    """Lines into entries by their prompts' digests; what cannot be taken is in ``errors`` and ``unknown``."""

    def __init__(self, experts: Mapping[str, Expert]) -> None:
        self._experts = experts
        self.errors: list[str] = []
        self.unknown: list[UnknownExpert] = []

    def read(self, text: str) -> dict[str, _Entry]:
        entries: dict[str, _Entry] = {}
        # Not splitlines(): JSON texts may hold the other characters that it takes for line ends.
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                entry = self._entry(number, line)
                if entry is not None:
                    self._add(entries, entry)
            except _Wrong as error:
                self.errors.append(f"Line {number}: {error}")
        return entries

    def _add(self, entries: dict[str, _Entry], entry: _Entry) -> None:
        first = entries.setdefault(prompt_digest(entry.prompt), entry)
        if first.expert != entry.expert:
            raise _Wrong(f"the prompt of line {first.line} again, for another expert. Keep one of them.")

    def _entry(self, number: int, line: str) -> _Entry | None:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _Wrong(f"this is no JSON ({_shortened(str(error))}).") from error
        if not isinstance(value, dict):
            raise _Wrong('this is no object such as {"prompt": "…", "expert": "…"}.')
        prompt = _text(value, "prompt").strip()
        slug = _text(value, "expert" if "expert" in value else "label").strip()
        if not prompt:
            raise _Wrong("the prompt is empty.")
        values = _values(value)
        expert = self._experts.get(slug)
        if expert is None:
            self.unknown.append(UnknownExpert(line=number, expert=_shortened(slug)))
            return None
        return _Entry(line=number, prompt=prompt, expert=expert, values=values)


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if name == "label" and found is None:
        raise _Wrong('"expert" is missing.')
    if not isinstance(found, str):
        raise _Wrong(f'"{name}" is missing.' if found is None else f'"{name}" must be a text.')
    if "\0" in found:
        raise _Wrong(f'"{name}" holds a null character.')
    if not found.isascii():
        try:
            found.encode()
        except UnicodeEncodeError as error:
            raise _Wrong(f'"{name}" holds half of a surrogate pair.') from error
    return found


def _values(value: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "use" in value:
        values["split"] = value["use"]
        if value["use"] not in RouteExample.Split.values:
            raise _Wrong(f'"use" must be {" or ".join(RouteExample.Split.values)}.')
    if "enabled" in value:
        values["enabled"] = value["enabled"]
        if not isinstance(value["enabled"], bool):
            raise _Wrong('"enabled" must be true or false.')
    if "note" in value:
        values["note"] = _text(value, "note")
    return values


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _existing(digests: Iterable[str], *, lock: bool) -> dict[str, RouteExample]:
    # Not joined: PostgreSQL leaves a row out that got another expert while its lock was waited for.
    rows = RouteExample.objects.prefetch_related("expert")
    if lock:
        rows = rows.select_for_update()
    found: dict[str, RouteExample] = {}
    wanted = list(digests)
    for start in range(0, len(wanted), _BATCH):
        found |= {row.digest: row for row in rows.filter(digest__in=wanted[start : start + _BATCH])}
    return found


def _write(rows: list[RouteExample]) -> None:
    for row in rows:
        row.derive()
        row.pk = None  # the digest says which row it is; so new ones and changed ones go in one statement
    RouteExample.objects.bulk_create(
        rows, batch_size=_BATCH, update_conflicts=True, unique_fields=["digest"], update_fields=list(_SETTABLE)
    )
