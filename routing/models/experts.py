"""Experts, who answers in their place, and where they run."""

import re
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from routing.catalog import AUTO
from routing.models.servers import ModelServer

# Go's time.ParseDuration, which Ollama uses; a bare number as text is refused by it.
GO_DURATION = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+\Z")


def validate_keep_alive(value: str) -> None:
    if value not in ("0", "-1") and not GO_DURATION.match(value):
        raise ValidationError(
            'Enter a duration such as "5m", "1h30m" or "30s", "-1" for ever, or "0" to unload at once.'
        )


class Expert(models.Model):
    slug = models.SlugField(
        max_length=100,
        unique=True,
        help_text="What clients ask for as <i>model</i>, for example <i>code</i>.",
    )
    name = models.CharField(max_length=200, help_text="For people, for example <i>Programming</i>.")
    description = models.TextField(
        blank=True,
        default="",
        help_text="What this expert is good at, in a sentence or two. Routing reads it, and so do colleagues.",
    )
    system_prompt = models.TextField(
        blank=True,
        default="",
        help_text="Put before the conversation when the client sends no system message of its own.",
    )
    defaults = models.JSONField(
        blank=True,
        default=dict,
        help_text='Sampling used when the client does not say, for example {"temperature": 0.2}. '
        "Leave empty to keep the model's own.",
    )
    is_default = models.BooleanField(
        "default",
        default=False,
        help_text="Answers when nothing else decides. Exactly one expert should be it.",
    )
    answers_while_loading = models.BooleanField(
        "fallback while loading",
        default=False,
        help_text="While this expert's model loads, let a fallback whose model is in memory answer. "
        "The header X-MoE-Fallback says so.",
    )
    text_only = models.BooleanField(
        "images may be left out",
        default=False,
        help_text="When no model here sees, answer a request with images from its text alone. "
        "The header X-MoE-Degraded says so.",
    )
    price_in = models.DecimalField(
        "price of a million tokens read",
        max_digits=10,
        decimal_places=4,
        default=0,
        validators=[MinValueValidator(0)],
        help_text="In your own currency; 0 for models that cost nothing beside the electricity.",
    )
    price_out = models.DecimalField(
        "price of a million tokens written",
        max_digits=10,
        decimal_places=4,
        default=0,
        validators=[MinValueValidator(0)],
        help_text="Profiles that mind the cost choose the cheaper of experts that suit about equally.",
    )
    enabled = models.BooleanField(default=True, help_text="A disabled expert does not exist for clients.")
    position = models.PositiveIntegerField(default=100, help_text="Order in lists; smaller comes first.")

    class Meta:
        ordering = ["position", "slug"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="one_default_expert",
                violation_error_message="Another expert is the default already; take the mark from it first.",
            )
        ]

    def __str__(self) -> str:
        return self.name or self.slug

    def clean(self) -> None:
        if self.slug == AUTO or apps.get_model("routing", "RoutingProfile").objects.filter(slug=self.slug).exists():
            raise ValidationError({"slug": f"“{self.slug}” is the name of a profile, a virtual model; choose another."})
        validate_defaults(self.defaults)


DEFAULT_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "max_tokens": (1, 10_000_000),
    "seed": (-(2**63), 2**63 - 1),
}


def validate_defaults(defaults: object) -> None:
    """Raise ValidationError unless ``defaults`` holds sampling parameters in their ranges."""
    if not isinstance(defaults, dict):
        raise ValidationError({"defaults": 'Enter a JSON object such as {"temperature": 0.2}.'})
    for name, value in defaults.items():
        if name not in DEFAULT_RANGES:
            raise ValidationError({"defaults": f"“{name}” is not one of {', '.join(DEFAULT_RANGES)}."})
        low, high = DEFAULT_RANGES[name]
        whole = name in ("max_tokens", "seed")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or (whole and value != int(value)):
            raise ValidationError({"defaults": f"“{name}” must be a number from {low:g} to {high:g}."})


class ExpertFallback(models.Model):
    """Who answers instead when none of an expert's replicas can."""

    expert = models.ForeignKey(Expert, on_delete=models.CASCADE, related_name="fallbacks")
    fallback = models.ForeignKey(Expert, on_delete=models.CASCADE, related_name="falls_back_for")
    position = models.PositiveSmallIntegerField(default=10, help_text="Smaller is asked first.")

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["expert", "fallback"], name="fallback_once"),
            models.CheckConstraint(
                condition=~models.Q(expert=models.F("fallback")),
                name="fallback_is_another",
                violation_error_message="An expert cannot fall back to itself.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.expert} → {self.fallback}"


class Replica(models.Model):
    """An expert on a model server."""

    expert = models.ForeignKey(Expert, on_delete=models.CASCADE, related_name="replicas")
    server = models.ForeignKey(ModelServer, on_delete=models.CASCADE, related_name="replicas")
    model = models.CharField(max_length=300, help_text="The model's tag on that server, for example <i>qwen3:8b</i>.")
    num_ctx = models.PositiveIntegerField(
        "context window",
        null=True,
        blank=True,
        help_text="In tokens, the same for every request and every expert on this model, since changing it makes "
        "Ollama load the model again: saving one replica sets the others. Empty: the server's own.",
    )
    concurrency = models.PositiveSmallIntegerField(
        default=4,
        validators=[MinValueValidator(1)],
        help_text="How many requests this endpoint sends at once; more wait in its fair queue. "
        "For Ollama, OLLAMA_NUM_PARALLEL of that server.",
    )
    keep_alive = models.CharField(
        max_length=20,
        blank=True,
        default="",
        validators=[validate_keep_alive],
        help_text="How long the model stays in memory after a request, for example <i>30m</i>, or <i>-1</i> for ever. "
        "Empty: the server's own.",
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["expert", "server", "model"]
        constraints = [models.UniqueConstraint(fields=["expert", "server", "model"], name="replica_once")]

    def __str__(self) -> str:
        return f"{self.model}@{self.server}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        tag = self.model.removesuffix(":latest")
        siblings = Replica.objects.filter(server=self.server_id, model__in=[tag, f"{tag}:latest"]).exclude(pk=self.pk)
        siblings.update(num_ctx=self.num_ctx)

    def clean(self) -> None:
        if self.server_id and self.server.kind != ModelServer.Kind.OLLAMA and (self.num_ctx or self.keep_alive):
            raise ValidationError("Context window and keep-alive can be set for Ollama servers only; leave them empty.")
