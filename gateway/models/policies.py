"""What a key or a group of keys may do, and how much of it."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models

from gateway.policy import Scope

_POSITIVE = [MinValueValidator(1)]
_PRICE: dict[str, Any] = {"max_digits": 14, "decimal_places": 6, "null": True, "blank": True}


class Policy(models.Model):
    """Empty fields forbid and limit nothing; gateway/policy.py has the value that requests are held to."""

    # --- what
    scopes = ArrayField(
        models.CharField(max_length=20, choices=[(scope.value, scope.label) for scope in Scope]),
        blank=True,
        default=list,
        help_text="None chosen: everything a client does, which is all but administering.",
    )
    allowed_models = ArrayField(
        models.CharField(max_length=200),
        blank=True,
        default=list,
        help_text="Names of profiles, experts and models, one a line; * stands for anything. Others do not exist for "
        "the key. Empty: all. An expert that a permitted profile chooses need not be named.",
    )
    allowed_collections = ArrayField(
        models.CharField(max_length=120),
        blank=True,
        default=list,
        help_text="One a line, as <i>handbook: read</i>, <i>team-*: write</i> or <i>*: manage</i>. Narrows what the "
        "collections themselves allow. Empty: not narrowed.",
    )
    allowed_addresses = ArrayField(
        models.CharField(max_length=60),
        blank=True,
        default=list,
        help_text="Addresses and networks requests may come from, one a line, as <i>10.1.0.0/16</i>. Empty: anywhere.",
    )

    # --- how much
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=_POSITIVE)
    tokens_per_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=_POSITIVE, help_text="Read and written together, as are those below."
    )
    concurrent_requests = models.PositiveIntegerField(
        null=True, blank=True, validators=_POSITIVE, help_text="Requests that are answered at the same time."
    )
    tokens_per_day = models.PositiveBigIntegerField(null=True, blank=True, validators=_POSITIVE)
    tokens_per_month = models.PositiveBigIntegerField(null=True, blank=True, validators=_POSITIVE)
    cost_per_day = models.DecimalField(**_PRICE, help_text="In the currency of the experts' prices. Days begin in UTC.")
    cost_per_month = models.DecimalField(**_PRICE)

    # --- what is kept
    keeps_texts = models.BooleanField(
        "keep texts",
        default=False,
        help_text="Store prompts and answers, so that they can be looked up and continued by clients, for as long as "
        "TEXT_RETENTION_DAYS says.",
    )

    class Meta:
        abstract = True
