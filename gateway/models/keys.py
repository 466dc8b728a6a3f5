"""API keys and groups of them."""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from gateway.errors import Conflict
from gateway.models.policies import Policy
from gateway.policy import ANY_SCOPE
from knowledge.access import Access

KEY_START = "sk-moe-"
SHOWN_CHARACTERS = len(KEY_START) + 6
LONGEST_OVERLAP = timedelta(days=30)
"""For which a former text may work beside a new one."""
EXPIRY_YEARS = range(2000, 9999)
"""In any time zone these are times that can be read back from the database; one that cannot would stop all keys."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> "ApiKeyQuerySet":
        """Keys that are not revoked; expiry is checked at each request, since it passes without a change."""
        return self.filter(revoked_at=None)

    def issue(self, *, name: str, **fields: Any) -> "tuple[ApiKey, str]":
        """Create a key and return it with its text, which is not kept anywhere; raises ValidationError."""
        row = ApiKey(name=name, **fields)
        text = row.renew()
        row.full_clean(validate_unique=False)
        row.save(force_insert=True)
        return row, text

    def in_state(self, state: str) -> "ApiKeyQuerySet":
        """Keys that are in one of ``ApiKey.STATES`` now."""
        if state == "revoked":
            return self.exclude(revoked_at=None)
        expired = Q(expires_at__lte=timezone.now())
        return self.usable().filter(expired if state == "expired" else Q(expires_at=None) | ~expired)

    def beginning(self, start: str) -> "ApiKeyQuerySet":
        """Keys whose text begins like this, or whose former one does while it still works."""
        former = Q(previous_prefix=start, previous_until__gt=timezone.now())
        return self.filter(Q(prefix=start) | former)


class Priority(models.TextChoices):
    HIGH = "high", "high"
    NORMAL = "normal", "normal"
    LOW = "low", "low"


# How many turns in a queue a key of this priority gets, beside one of normal.
WEIGHTS = {Priority.HIGH: 4.0, Priority.NORMAL: 1.0, Priority.LOW: 0.5}


class KeyGroup(Policy):
    """What holds for a group's keys together: each may what both it and its group may, and they share its limits."""

    unscoped = ANY_SCOPE

    name = models.CharField(
        max_length=100, unique=True, help_text="As it stands on its keys, for example <i>marketing</i>."
    )
    note = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["name"]
        verbose_name = "group of keys"
        verbose_name_plural = "groups of keys"

    def __str__(self) -> str:
        return self.name

    @property
    def subject(self) -> str:
        return f"group:{self.name}"


class ApiKey(Policy):
    name = models.CharField(max_length=200, help_text="Who or what uses it, for example <i>Open WebUI</i>.")
    group = models.CharField(
        max_length=100,
        blank=True,
        default="",
        help_text="Whose it is, for example <i>marketing</i>; rules may look at it. Several keys may be of one group.",
    )
    prefix = models.CharField(max_length=20, editable=False, help_text="How the key begins, to recognise it by.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    previous_prefix = models.CharField(max_length=20, blank=True, default="", editable=False)
    previous_digest = models.CharField(
        max_length=64,
        unique=True,
        null=True,
        blank=True,
        editable=False,
        help_text="The text before a rotation.",
    )
    previous_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Until then its former text works too."
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who answers for it.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it does not expire.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    priority = models.CharField(
        max_length=10,
        choices=Priority.choices,
        default=Priority.NORMAL,
        help_text="Its share of a busy model: high gets four turns for one of normal, low one for two.",
    )
    note = models.TextField(blank=True, default="")

    STATES = ("active", "expired", "revoked")

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def clean(self) -> None:
        super().clean()
        if broken := [field for field in ("name", "group") if _CONTROLS.search(getattr(self, field))]:
            words = "It must be one line, without characters that steer a terminal: lists show it so."
            raise ValidationError(dict.fromkeys(broken, words))
        if self.expires_at and self.expires_at.year not in EXPIRY_YEARS:
            words = f"The year must be from {EXPIRY_YEARS[0]} to {EXPIRY_YEARS[-1]}. Leave it empty for no end."
            raise ValidationError({"expires_at": words})

    @property
    def subject(self) -> str:
        return f"key:{self.pk}"

    def renew(self) -> str:
        """Give it a new text, which is not kept anywhere, and return that; saves nothing."""
        text = new_key_text()
        self.prefix, self.digest = text[:SHOWN_CHARACTERS], key_digest(text)
        return text

    @transaction.atomic
    def rotate(self, overlap: timedelta, *, prefix: str = "") -> str:
        """Give it a new text and return that; the one it has works for as long as ``overlap`` says.

        One that was to go on working from a rotation before ends now. Raises Conflict for a key that works no more, and
        for one whose text begins otherwise than with ``prefix``, by which its caller knows it: somebody was quicker,
        and the text that clients still use would end.
        """
        self.refresh_from_db(from_queryset=ApiKey.objects.select_for_update())
        if self.state != "active":
            raise Conflict(f"The key '{self}' is {self.state}; a new text would not work either. Make another key.")
        if prefix not in ("", self.prefix):
            raise Conflict(
                f"The key '{self.name}' got a new text meanwhile, which begins with {self.prefix}; so it was given no "
                "other. If nobody has copied that one, give it a new one again."
            )
        former = self.prefix, self.digest, timezone.now() + overlap
        self.previous_prefix, self.previous_digest, self.previous_until = former if overlap else ("", None, None)
        text = self.renew()
        self.save(update_fields=["prefix", "digest", "previous_prefix", "previous_digest", "previous_until"])
        return text

    def revoke(self) -> None:
        """Have it, and a former text of it, refused from now on; one that is revoked stays as it is."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])

    @property
    def access(self) -> Access:
        """What of the knowledge base may be seen with it; asks the database for its group."""
        rows = (self, *KeyGroup.objects.filter(name=self.group))
        return Access(
            key_id=self.pk,
            group=self.group,
            everything=not settings.REQUIRE_API_KEY,
            narrowed=tuple(row.rules for row in rows if row.rules),
        )

    @property
    def former_until(self) -> datetime | None:
        """Until when a text from before a rotation works; None where none does."""
        ends = min(filter(None, (self.previous_until, self.expires_at)), default=None)
        is_working = self.previous_until and self.state == "active" and ends and ends > timezone.now()
        return ends if is_working else None

    @property
    def state(self) -> str:
        """Which of ``STATES`` it is in."""
        if self.revoked_at:
            return "revoked"
        if self.expires_at and self.expires_at <= timezone.now():
            return "expired"
        return "active"


class KeyUse(models.Model):
    """When a key was used last; beside its row, as every change there is a notice to all processes."""

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="use")
    last_used_at = models.DateTimeField()
    last_address = models.CharField(max_length=45, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.key} at {self.last_used_at:%Y-%m-%d %H:%M}"


def new_key_text() -> str:
    return KEY_START + secrets.token_urlsafe(32)


def key_digest(text: str) -> str:
    """Return the stored form of a key. Its 256 random bits need no slow hash to withstand guessing."""
    return hashlib.sha256(text.encode()).hexdigest()
