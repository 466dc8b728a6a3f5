"""What a key or a group of keys may do, and how much of it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from gateway.policy import CLIENT_SCOPES, Limits, Scope, collection_rule, model_pattern, network, scope, scopes_of
from gateway.policy import Policy as PolicyValue
from knowledge.access import Level, Rule

logger = logging.getLogger(__name__)

T = TypeVar("T")

NOWHERE = network("255.255.255.255")

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

    unscoped = CLIENT_SCOPES
    """What may be done where no scopes are chosen."""

    def clean(self) -> None:
        super().clean()
        problems = {name: found for name, read in READERS.items() if (found := _problems(read, getattr(self, name)))}
        for name in ("cost_per_day", "cost_per_month"):
            cost = getattr(self, name)
            if isinstance(cost, Decimal) and cost.is_finite() and cost < 0:
                problems[name] = ["What it may cost is not less than 0. With 0 it may ask for what has no price."]
        if problems:
            raise ValidationError(problems)

    @property
    def subject(self) -> str:
        """Whose limits they are, for example key:7."""
        raise NotImplementedError

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What it permits of collections; a line that cannot be read permits nothing."""
        return tuple(_readable(collection_rule, self.allowed_collections, self.subject, ("", Level.READ)))

    @property
    def _scopes(self) -> frozenset[Scope]:
        if self.scopes:
            return scopes_of(self.scopes)
        # Figures name every model and server; for who may use some models only, the others do not exist.
        return self.unscoped - {Scope.METRICS} if self.allowed_models else self.unscoped

    @property
    def policy(self) -> PolicyValue:
        """The value that requests are held to."""
        return PolicyValue(
            subject=self.subject,
            scopes=self._scopes,
            models=tuple(self.allowed_models),
            collections=self.rules,
            networks=tuple(_readable(network, self.allowed_addresses, self.subject, NOWHERE)),
            limits=Limits(**{name: getattr(self, name) for name in Limits.__slots__}),
        )


READERS: Mapping[str, Callable[[str], object]] = {
    "scopes": scope,
    "allowed_models": model_pattern,
    "allowed_collections": collection_rule,
    "allowed_addresses": network,
}
"""What reads a line of these fields, or raises ValueError that says what is wrong with it."""


def _problems(read: Callable[[str], object], lines: Iterable[str]) -> list[str]:
    found = []
    for line in lines:
        try:
            read(line)
        except ValueError as error:
            found.append(str(error))
    return found


def _readable(read: Callable[[str], T], lines: Iterable[str], subject: str, instead: T) -> Iterator[T]:
    for line in lines:
        try:
            yield read(line)
        except ValueError as error:
            logger.warning("a line of a policy permits nothing subject=%s error=%s", subject, error)
            yield instead
