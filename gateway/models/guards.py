"""Checks on what comes in, what is retrieved and what goes out."""

from collections import defaultdict
from collections.abc import Iterator

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from gateway.guards.options import problems
from routing.models.rules import validate_pattern


class Guard(models.Model):
    """A check and what is done where it finds something; those of a place are asked in the order of ``position``."""

    class Check(models.TextChoices):
        SIZE = "size", "size: more characters than the most"
        LANGUAGE = "language", "language: another than the permitted ones"
        SECRETS = "secrets", "secrets: keys, passwords, tokens"
        PERSONAL = "personal", "personal data: addresses, numbers of cards and accounts"
        INJECTION = "injection", "instructions to the model in retrieved text"
        WORDS = "words", "words and patterns of a list"
        EXPERT = "expert", "an expert judges (such as llama-guard)"

    class Place(models.TextChoices):
        INPUT = "input", "what the client sends"
        RETRIEVED = "retrieved", "passages of the knowledge base"
        OUTPUT = "output", "the answer"

    class Action(models.TextChoices):
        LOG = "log", "only note it"
        MASK = "mask", "mask what was found (a passage: leave it out)"
        REFUSE = "refuse", "refuse the request, or end the answer"

    name = models.CharField(max_length=100, unique=True, help_text="What decisions and logs call it.")
    check_kind = models.CharField("check", max_length=20, choices=Check.choices)
    places = ArrayField(models.CharField(max_length=20, choices=Place.choices), default=list)
    action = models.CharField(max_length=20, choices=Action.choices, default=Action.LOG)
    profile = models.ForeignKey(
        "routing.RoutingProfile",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty: every request.",
    )
    expert = models.ForeignKey(
        "routing.Expert",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who judges, where an expert does.",
    )
    settings = models.JSONField(blank=True, default=dict, help_text="What the check needs to know.")
    enabled = models.BooleanField(default=True)
    position = models.PositiveIntegerField(default=100, help_text="Smaller comes first.")
    note = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError for what makes no guard, and for patterns that could hold up a request."""
        found: dict[str, list[str]] = defaultdict(list)
        self.settings = {} if self.settings is None else self.settings  # the box was emptied
        for name, words in problems(
            check=self.check_kind,
            places=self.places or (),
            action=self.action,
            settings=self.settings,
            has_expert=self.expert_id is not None,
        ):
            found[name].append(words)
        if not found and self.check_kind == self.Check.WORDS:
            found |= {"settings": slow} if (slow := list(_slow(self.settings.get("patterns", ())))) else {}
        if found:
            raise ValidationError(dict(found))


def _slow(patterns: list[str]) -> Iterator[str]:
    for pattern in patterns:
        try:
            validate_pattern(pattern)
        except ValidationError as error:
            yield f"“{pattern}”: {' '.join(error.messages)}"
