"""What each request took, and its sums by hour."""

from typing import Any

from django.contrib.postgres.indexes import BrinIndex
from django.db import models

_PRICE: dict[str, Any] = {"max_digits": 16, "decimal_places": 8, "default": 0}
_NAME: dict[str, Any] = {"max_length": 300, "blank": True, "default": ""}


class UsageRecord(models.Model):
    """A request as it ended; keys, experts and replicas by name too, as they may be gone when it is read.

    Milliseconds are None where a request never came so far. ``is_estimated`` tells that no server counted the tokens,
    as its answer was cut short.
    """

    created_at = models.DateTimeField(help_text="When it came.")
    request_id = models.CharField(max_length=200)
    decision = models.CharField(max_length=40, blank=True, default="")
    what = models.CharField(max_length=30, help_text="The kind of request.")

    # --- who
    key_id = models.BigIntegerField(null=True)
    key_name = models.CharField(max_length=200, blank=True, default="")
    key_prefix = models.CharField(max_length=20, blank=True, default="")
    group = models.CharField(max_length=100, blank=True, default="")

    # --- by whom
    asked = models.CharField(**_NAME)
    profile = models.CharField(**_NAME)
    expert = models.CharField(**_NAME)
    replica = models.CharField(**_NAME)
    route = models.CharField(max_length=20, blank=True, default="", help_text="The stage that decided.")

    # --- what it took
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0, help_text="Thinking included.")
    thinking_tokens = models.BigIntegerField(default=0)
    is_estimated = models.BooleanField(default=False)
    cost = models.DecimalField(**_PRICE)
    queue_ms = models.FloatField(null=True)
    load_ms = models.FloatField(null=True)
    first_token_ms = models.FloatField(null=True)
    total_ms = models.FloatField()

    # --- how it ended
    status = models.PositiveSmallIntegerField(
        help_text="Of the HTTP answer, or of the error in its middle; 499: its client left."
    )
    outcome = models.CharField(max_length=100, help_text="Why it finished, or the code of its error.")
    is_cancelled = models.BooleanField(default=False)
    is_streamed = models.BooleanField(default=False)
    is_fallback = models.BooleanField(default=False, help_text="Another expert than the chosen one answered.")
    failed_attempts = models.PositiveSmallIntegerField(default=0)
    grounding = models.CharField(max_length=20, blank=True, default="")
    passages = models.PositiveSmallIntegerField(default=0)
    cache = models.CharField(max_length=20, blank=True, default="", help_text="Which cache the answer came from.")

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "request"
        indexes = [
            BrinIndex(fields=["created_at"], name="usage_created_brin", autosummarize=True),
            models.Index(fields=["key_id", "-created_at"], name="usage_key_created"),
            models.Index(fields=["request_id"], name="usage_request"),
        ]

    def __str__(self) -> str:
        return self.request_id


class UsageHour(models.Model):
    """The sums of an hour's records of one key, expert and kind; written together with them, and kept longer."""

    hour = models.DateTimeField()
    key_id = models.BigIntegerField(default=0, help_text="0: without a key.")
    key_name = models.CharField(max_length=200, blank=True, default="")
    group = models.CharField(max_length=100, blank=True, default="")
    what = models.CharField(max_length=30)
    asked = models.CharField(**_NAME)
    expert = models.CharField(**_NAME)

    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    cancelled = models.BigIntegerField(default=0)
    cached = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    thinking_tokens = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=20, decimal_places=8, default=0)
    total_ms = models.FloatField(default=0)
    first_token_ms = models.FloatField(default=0, help_text="The sum over those that have one.")
    first_tokens = models.BigIntegerField(default=0, help_text="How many have one.")

    class Meta:
        ordering = ["-hour"]
        verbose_name = "hour of usage"
        verbose_name_plural = "usage by hour"
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "key_id", "key_name", "group", "what", "asked", "expert"], name="usage_hour_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00"
