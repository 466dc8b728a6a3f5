"""Profiles: the virtual models a client can ask for."""

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from routing.catalog import AUTO
from routing.models.experts import Expert, validate_defaults

_WEIGHT = [MinValueValidator(0), MaxValueValidator(10)]


class RoutingProfile(models.Model):
    class Failover(models.TextChoices):
        REPLICAS = "replicas", "only another replica of the same expert"
        FALLBACKS = "fallbacks", "another replica, then the expert's fallbacks"

    slug = models.SlugField(
        max_length=100, unique=True, help_text="What clients ask for as <i>model</i>, for example <i>auto-fast</i>."
    )
    name = models.CharField(max_length=200, help_text="For people.")
    description = models.TextField(blank=True, default="", help_text="Shown to clients that list the models.")
    enabled = models.BooleanField(default=True, help_text="A disabled profile does not exist for clients.")
    position = models.PositiveIntegerField(default=100, help_text="Order in lists; smaller comes first.")
    experts = models.ManyToManyField(
        Expert, blank=True, related_name="profiles", help_text="Who may answer. None chosen: every expert."
    )

    # --- between experts that suit about equally
    quality = models.FloatField(default=1.0, validators=_WEIGHT, help_text="Weight of how well the expert suits.")
    speed = models.FloatField(
        default=0.2,
        validators=_WEIGHT,
        help_text="Weight of how soon it can answer: loading, queue, size of the model.",
    )
    cost = models.FloatField(default=0.0, validators=_WEIGHT, help_text="Weight of what it costs.")
    strength = models.FloatField(default=0.0, validators=_WEIGHT, help_text="Weight of how large its model is.")

    # --- what every request of the profile gets
    system_prompt = models.TextField(
        blank=True, default="", help_text="Used where the client sends no system message, instead of the expert's."
    )
    defaults = models.JSONField(
        blank=True, default=dict, help_text="Sampling used when the client does not say, before the expert's own."
    )
    collections = ArrayField(
        models.SlugField(max_length=100),
        blank=True,
        default=list,
        help_text="Collections of the knowledge base to ground answers in, one a line.",
    )
    sticky = models.BooleanField(
        "holds conversations",
        default=True,
        help_text="A conversation stays with the expert that took it, unless that one cannot take its next turn.",
    )
    failover = models.CharField(max_length=20, choices=Failover.choices, default=Failover.FALLBACKS)
    answers_while_loading = models.BooleanField(
        "fallback while loading", null=True, blank=True, help_text="Unknown: as the expert says."
    )
    text_only = models.BooleanField(
        "images may be left out", null=True, blank=True, help_text="Unknown: as the expert says."
    )

    # --- what is kept
    log_share = models.PositiveSmallIntegerField(
        "decisions kept, in percent",
        default=100,
        validators=[MaxValueValidator(100)],
        help_text="Of the decisions, so many are stored to be looked up and corrected.",
    )
    log_prompts = models.BooleanField(
        "keep prompts", default=False, help_text="Store the last user message with the decision. Off: only its length."
    )

    class Meta:
        ordering = ["position", "slug"]

    def __str__(self) -> str:
        return self.name or self.slug

    def clean(self) -> None:
        if Expert.objects.filter(slug=self.slug).exists():
            raise ValidationError({"slug": f"“{self.slug}” is the name of an expert; choose another."})
        if self.pk and self.slug != AUTO and RoutingProfile.objects.filter(pk=self.pk, slug=AUTO).exists():
            raise ValidationError(
                {"slug": "Clients count on “auto”; it cannot be renamed. Add another profile instead."}
            )
        if self.slug == AUTO and not self.enabled:
            raise ValidationError({"enabled": "Clients count on “auto”; it cannot be disabled."})
        validate_defaults(self.defaults)
