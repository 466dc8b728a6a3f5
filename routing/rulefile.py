"""Rules as a YAML file: to keep, to compare, and to carry to another installation."""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models, transaction

from routing.exceptions import BadRequest
from routing.models import Expert, RoutingProfile, RoutingRule
from routing.rules import WEEKDAYS, Rule
from routing.ruleset import prefetched, rules_load

MAX_BYTES = 2_000_000
MAX_RULES = 2_000
_MAX_DEPTH = 10
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
    body = yaml.dump(
        {"rules": entries}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False
    )
    return f"{_HEADER}{body}"


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


# --- fields -----------------------------------------------------------------------------------------------------


class _Wrong(Exception):
    """A value of the wrong type; the message says which is right."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"must be a text; put {_shown(value)} in quotes")
    if "\0" in value:
        raise _Wrong("holds a null character")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be true or false")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Wrong("must be a whole number")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Wrong("must be a number")
    return float(value)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _Wrong("must be a list of texts")
    return [_text(item) for item in value]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise _Wrong("must be names with values, such as {temperature: 0}")
    if "\0" in repr(value) or r"\x00" in repr(value):
        raise _Wrong("holds a null character")
    return value


def _time(value: Any) -> dt.time:
    if not isinstance(value, str) or not re.fullmatch(r"\d\d?:\d\d(:\d\d(\.\d{1,6})?)?", value):
        raise _Wrong("must be a time such as 22:00")
    try:
        return dt.time.fromisoformat(value.zfill(5) if value.count(":") == 1 else value)
    except ValueError as error:
        raise _Wrong("must be a time such as 22:00") from error


def _shown_time(value: dt.time) -> str:
    return value.isoformat() if value.second or value.microsecond else value.isoformat("minutes")


def _weekdays(value: Any) -> list[int]:
    days = [day.lower() for day in WEEKDAYS]
    named = _texts(value)
    if strange := [name for name in named if name.lower() not in days]:
        raise _Wrong(f"must be names of weekdays such as monday; {_shown(strange[0])} is none")
    return [days.index(name.lower()) for name in named]


def _shown_weekdays(value: Iterable[int]) -> list[str]:
    return [WEEKDAYS[day].lower() for day in value]


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class _Field:
    """How a column is read from a file's value, and shown as one."""

    read: Callable[[Any], Any]
    show: Callable[[Any], Any] = _same


# In the order they are written.
_COLUMNS: Mapping[str, _Field] = {
    "name": _Field(_text),
    "priority": _Field(_whole),
    "enabled": _Field(_bool),
    "note": _Field(_text),
    "look_in": _Field(_text),
    "keywords": _Field(_texts),
    "all_keywords": _Field(_texts),
    "none_keywords": _Field(_texts),
    "pattern": _Field(_text),
    "has_images": _Field(_bool),
    "has_tools": _Field(_bool),
    "wants_json": _Field(_bool),
    "min_tokens": _Field(_whole),
    "max_tokens": _Field(_whole),
    "languages": _Field(_texts),
    "keys": _Field(_texts),
    "groups": _Field(_texts),
    "headers": _Field(_mapping),
    "metadata": _Field(_mapping),
    "weekdays": _Field(_weekdays, _shown_weekdays),
    "from_time": _Field(_time, _shown_time),
    "until_time": _Field(_time, _shown_time),
    "min_evidence": _Field(_number),
    "evidence_collections": _Field(_texts),
    "collections": _Field(_texts),
    "overrides": _Field(_mapping),
    "system_mode": _Field(_text),
    "system_text": _Field(_text),
    "stop": _Field(_bool),
    "interrupts": _Field(_bool),
}
_RELATIONS: Mapping[str, Callable[[Any], Any]] = {"profiles": _texts, "expert": _text, "candidates": _texts}
_NAMES = (*_COLUMNS, *_RELATIONS)
_ALWAYS = ("name", "priority")


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
        for name, column in _COLUMNS.items()
        if name in _ALWAYS or getattr(row, name) != _default(name)
    }
    relations = {"profiles": list(profiles), "expert": row.expert and row.expert.slug, "candidates": list(candidates)}
    return entry | {name: value for name, value in relations.items() if value}


def _default(name: str) -> Any:
    # Lists and objects are made anew each time.
    column = RoutingRule._meta.get_field(name)
    assert isinstance(column, models.Field)
    return column.get_default()


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
        for name in _COLUMNS:
            setattr(row, name, values.get(name, _default(name)))
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
            if name not in _NAMES:
                self._say(entry, str(name), f"there is no such field; there are {', '.join(_NAMES)}")
                continue
            read = _COLUMNS[name].read if name in _COLUMNS else _RELATIONS[name]
            try:
                values[name] = read(value)
            except _Wrong as wrong:
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
    content = _parsed(text)
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


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


# --- YAML -------------------------------------------------------------------------------------------------------


def _parsed(text: str) -> Any:
    try:
        _check_shape(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (it is a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"Line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        # libyaml has a limit of its own and may meet it before _check_shape does.
        too_deep = "nesting depth" in problem
        said = "this is nested too deeply" if too_deep else f"this is no YAML: {problem}"
        raise RuleFileError([f"{where}{said}."]) from error
    except (ValueError, OverflowError) as error:
        raise RuleFileError([f"This is no YAML: {error}."]) from error


def _check_shape(text: str) -> None:
    """Refuse, before anything is built, what a small file could grow out of bounds with."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        where = f"Line {event.start_mark.line + 1}" if event.start_mark else "The file"
        if isinstance(event, yaml.AliasEvent):
            raise RuleFileError([f"{where}: write it out; references with * are not read."])
        if getattr(event, "tag", None):
            raise RuleFileError([f"{where}: put it in quotes; tags with ! are not read."])
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise RuleFileError([f"{where}: this is nested too deeply."])


# libyaml's parser where PyYAML was built with it: a large file takes a second instead of ten.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """SafeLoader that reads plain words as YAML 1.2 does: the language no is not false, and 22:00 is not 1320.

    What it takes for a number is a number to PyYAML's dumper too, which so quotes a text that looks like one.
    """

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"“{name.value}” is there twice", name.start_mark)
            seen.add(str(name.value))
        return super().construct_mapping(node, deep=deep)


for _tag, _expression, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?$", "-+0123456789."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_expression), list(_first))


class _Dumper(yaml.SafeDumper):
    """SafeDumper that writes several lines as several lines."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    if any(character in text for character in "\r\x85\u2028\u2029\ufeff"):
        style = '"'  # other styles would read them back as plain line ends
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
