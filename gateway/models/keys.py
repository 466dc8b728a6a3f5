"""API keys and groups of them."""

import hashlib
import secrets
from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils import timezone

from gateway.models.policies import Policy

KEY_START = "sk-moe-"
SHOWN_CHARACTERS = len(KEY_START) + 6


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> "ApiKeyQuerySet":
        """Keys that are not revoked; expiry is checked at each request, since it passes without a change."""
        return self.filter(revoked_at=None)

    def issue(
        self, *, name: str, group: str = "", expires_at: datetime | None = None, note: str = ""
    ) -> "tuple[ApiKey, str]":
        """Create a key and return it with its text, which is not kept anywhere."""
        text = new_key_text()
        row = self.create(
            name=name,
            group=group,
            prefix=text[:SHOWN_CHARACTERS],
            digest=key_digest(text),
            expires_at=expires_at,
            note=note,
        )
        return row, text


class Priority(models.TextChoices):
    HIGH = "high", "high"
    NORMAL = "normal", "normal"
    LOW = "low", "low"


# How many turns in a queue a key of this priority gets, beside one of normal.
WEIGHTS = {Priority.HIGH: 4.0, Priority.NORMAL: 1.0, Priority.LOW: 0.5}


class KeyGroup(Policy):
    """What holds for a group's keys together: each may what both it and its group may, and they share its limits."""

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

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def state(self) -> str:
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
