"""Pages of rows that undo nothing of what was changed after they were opened, by a colleague or in another tab."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import AdminReadonlyField
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import TO_FIELD_VAR
from django.contrib.admin.utils import unquote
from django.contrib.contenttypes.models import ContentType
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

SENT = "_shown"
"""The hidden field in which a page sends back what it showed (templates/admin/change_form.html)."""
SALT = "routing.admin.meanwhile"
MOST_NAMED = 3
"""People, and rows of an inline, that are named at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a page showed: when, and a fingerprint of each field and of the rows of each inline."""

    at: datetime
    prints: Mapping[str, str]

    def signed(self) -> str:
        return signing.dumps([self.at.timestamp(), self.prints], salt=SALT, compress=True)

    @classmethod
    def sent(cls, text: str) -> "Shown | None":
        """Return what a page sent back; None where it sent nothing, or what is not from here."""
        try:
            at, prints = signing.loads(text, salt=SALT)
        except signing.BadSignature:
            return None
        return cls(at=datetime.fromtimestamp(at, UTC), prints=prints)


class Rows:
    """The rows of an inline that somebody may change; ``names`` are the fields in which they are changed."""

    def __init__(self, formset: Any, inline: Any) -> None:
        self.label = capfirst(inline.verbose_name_plural)
        fixed = (formset.model._meta.pk.name, formset.fk.name)
        self.names = [name for name in formset.form.base_fields if name not in fixed]
        self._formset, self._inline = formset, inline

    def of(self, request: HttpRequest, row: Model) -> QuerySet[Any]:
        rows: QuerySet[Any] = self._inline.get_queryset(request).filter(**{self._formset.fk.name: row})
        return rows.order_by("pk")

    def fingerprint(self, request: HttpRequest, row: Model) -> str:
        return fingerprint([(one.pk, _plain_all(model_to_dict(one, self.names))) for one in self.of(request, row)])

    def in_words(self, request: HttpRequest, row: Model) -> str:
        rows = list(self.of(request, row))
        return ", ".join(map(str, rows[:MOST_NAMED])) + (" and others" if len(rows) > MOST_NAMED else "") or "none"


class ComparedForm(forms.ModelForm):
    """Refuses what would undo a change that was made since the page was opened, and tells which."""

    page: "UndoesNothing"
    request: HttpRequest

    @cached_property
    def standing(self) -> Shown:
        """How the row stands now; fields that no one can fill in on the page do not count."""
        prints = {
            name: fingerprint(self.initial[name])
            for name, field in self.fields.items()
            if name in self.initial and not field.disabled and name not in self.page.written_elsewhere
        }
        row = self.instance
        inlines = {key: rows.fingerprint(self.request, row) for key, rows in self._inlines.items()}
        return Shown(at=timezone.now(), prints=prints | inlines)

    @property
    def shown(self) -> str:
        return self.standing.signed()

    @cached_property
    def _inlines(self) -> dict[str, Rows]:
        return dict(self.page.inlines_compared(self.request, self.instance))

    def full_clean(self) -> None:
        super().full_clean()
        shown = Shown.sent(str(self.data.get(SENT, "")))
        if shown is not None and (names := [name for name in self.standing.prints if self._would_undo(name, shown)]):
            self.add_error(None, list(self._told(shown, names)))

    def _would_undo(self, name: str, shown: Shown) -> bool:
        now = self.standing.prints[name]
        if shown.prints.get(name, now) == now:
            return False
        if name not in self.fields:
            return True
        # Not changed_data, which compares some fields with what the page showed (show_hidden_initial).
        field = self[name]
        return field.field.has_changed(field.initial, field.data) and self._sent(name) != now

    def _told(self, shown: Shown, names: Iterable[str]) -> Iterator[ValidationError]:
        """Yield who changed what, and how to go on; what was changed on one side alone is shown as it is now."""
        row = self.page.get_object(self.request, str(self.instance.pk))  # the form has filled in its own by now
        assert row is not None
        yield ValidationError(
            f"{_by_whom(row, shown.at, self.request)} changed this after you had opened the page, and nothing of yours "
            "was stored: it would have undone that."
        )
        now = type(self)(instance=row)
        for name in names:
            if rows := self._inlines.get(name):
                words = rows.in_words(self.request, row)
                told = format_html("“{}” are now: {}. Below they stand as you had them.", rows.label, words)
            else:
                told = self._field_told(name, now, untouched=self._sent(name) == shown.prints[name])
            yield ValidationError(told)
        yield ValidationError(
            format_html(
                "Look through the page and save it again: then it holds as it stands below. Or "
                '<a href="{}" target="_blank">open it anew</a> beside this one.',
                self.request.get_full_path(),
            )
        )

    def _field_told(self, name: str, now: forms.ModelForm, *, untouched: bool) -> SafeString:
        value = _in_words(now, name, self.page)
        if untouched:
            self._take_over(name)
        yours = "below it stands so too, as you had left it alone" if untouched else "below it stands as you had it"
        return format_html("“{}” is now: {} ({})", self[name].label, value, yours)

    def _sent(self, name: str) -> str:
        """Return the fingerprint of what was sent, "" where that is no value at all."""
        return fingerprint(self.cleaned_data[name]) if name in self.cleaned_data else ""

    def _take_over(self, name: str) -> None:
        """Show a field as it is now: whoever sent the form had left it as it was."""
        setattr(self.fields[name], "bound_data", lambda data, initial: initial)  # noqa: B010


class UndoesNothing(admin.ModelAdmin):
    """Stores nothing from a page on which a row does not stand as it does now.

    Forms without the hidden field, as scripts send them, are stored as they are.
    """

    written_elsewhere: tuple[str, ...] = ()
    """Fields of the form that programs write by themselves."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "POST" or object_id is None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        with transaction.atomic():
            # Nobody changes it between the comparison and the writing.
            row = self.get_object(request, unquote(object_id), request.POST.get(TO_FIELD_VAR))
            if row is not None:
                same = self.model._base_manager.filter(pk=row.pk)
                list(same.select_for_update(no_key=True).values_list("pk"))
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if not change or obj is None or not self.has_change_permission(request, obj):
            return form
        return type(form.__name__, (ComparedForm, form), {"page": self, "request": request})

    def inlines_compared(self, request: HttpRequest, row: Model) -> Iterator[tuple[str, Rows]]:
        """Yield the inlines in which the one who asks can change something, each by a name that no field has."""
        for number, (formset, inline) in enumerate(self.get_formsets_with_inlines(request, row)):
            may = (inline.has_change_permission, inline.has_add_permission, inline.has_delete_permission)
            rows = Rows(formset, inline)
            if rows.names and any(allowed(request, row) for allowed in may):
                yield f"inline {number}", rows


def fingerprint(value: Any) -> str:
    """Return what tells whether a value is the same, and nothing else of it: some are secrets."""
    return salted_hmac(SALT, repr(_plain(value)), algorithm="sha256").hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return a value as both a row and the form that was filled in for it have it."""
    if isinstance(value, Model):
        return value.pk
    if isinstance(value, str):
        return value.replace("\r\n", "\n")  # browsers send the line ends of forms as two characters
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(microsecond=0)  # as forms have it
    if isinstance(value, QuerySet) or (isinstance(value, list) and all(isinstance(one, Model) for one in value)):
        return sorted(one.pk for one in value)
    return value


def _plain_all(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items()}


def _in_words(form: forms.ModelForm, name: str, page: admin.ModelAdmin) -> SafeString:
    """Return a value as pages show it to those who may only look."""
    if isinstance(form.fields[name].widget, forms.PasswordInput):
        return format_html("{}", "another, which is not shown")
    shown: SafeString = AdminReadonlyField(form, name, is_first=True, model_admin=page).contents()
    return shown


def _by_whom(row: Model, since: datetime, request: HttpRequest) -> str:
    """Return who changed a row and when, "Somebody" where nothing tells."""
    named: dict[str, datetime] = {}
    for name, at in _changes(row, since):
        named[name or "somebody"] = at
    own = request.user.get_username()
    words = [
        f"{'you' if name == own else name} ({timezone.localtime(at):%Y-%m-%d %H:%M})"
        for name, at in list(named.items())[-MOST_NAMED:]
    ]
    return capfirst(" and ".join(words) or "somebody")


def _changes(row: Any, since: datetime) -> Iterator[tuple[str, datetime]]:
    """Yield who changed a row and when, from its history (django-simple-history) or else from the admin's own."""
    if history := getattr(row._meta, "simple_history_manager_attribute", ""):
        for record in getattr(row, history).filter(history_date__gt=since).order_by("history_date"):
            yield record.who, record.history_date
        return
    kind = ContentType.objects.get_for_model(row, for_concrete_model=False)
    entries = LogEntry.objects.filter(content_type=kind, object_id=str(row.pk), action_time__gt=since)
    for entry in entries.select_related("user").order_by("action_time"):
        yield entry.user.get_username(), entry.action_time
