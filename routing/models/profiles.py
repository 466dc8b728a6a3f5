"""Profiles: the virtual models a client can ask for."""

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from routing.catalog import AUTO
from routing.models.experts import Expert, validate_defaults

_WEIGHT = [MinValueValidator(0), MaxValueValidator(10)]
_SHARE = [MinValueValidator(0), MaxValueValidator(1)]


class RoutingProfile(models.Model):
    class Failover(models.TextChoices):
        REPLICAS = "replicas", "only another replica of the same expert"
        FALLBACKS = "fallbacks", "another replica, then the expert's fallbacks"

    class Mode(models.TextChoices):
        ROUTE = "route", "one expert answers"
        MIXTURE = "mixture", "several experts answer, and one makes their answers one"
        CASCADE = "cascade", "the smallest expert answers, and larger ones where it is not confident"

    class Cache(models.TextChoices):
        ENDPOINT = "", "as RESPONSE_CACHE says"
        OFF = "off", "never"
        EXACT = "exact", "to the same request"
        SEMANTIC = "semantic", "to the same request and to similar questions"

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

    asks_program = models.BooleanField(
        "asks the program",
        default=True,
        help_text="Where rules and classifier are unsure, the active program may be asked, which takes a model's time.",
    )

    # --- how many answer
    mode = models.CharField(
        "who answers",
        max_length=20,
        choices=Mode.choices,
        default=Mode.ROUTE,
        help_text="Requests with tools and chat clients' background jobs are always answered by one expert.",
    )
    breadth = models.PositiveSmallIntegerField(
        "experts asked",
        default=3,
        validators=[MinValueValidator(2), MaxValueValidator(8)],
        help_text="Mixture: how many experts are asked at the same time.",
    )
    breadth_most = models.PositiveSmallIntegerField(
        "experts at most",
        default=5,
        validators=[MinValueValidator(2), MaxValueValidator(8)],
        help_text="Mixture: how many are asked where the first disagree or are not confident. "
        "Cascade: how many experts are tried, one after the other.",
    )
    aggregator = models.ForeignKey(
        Expert,
        null=True,
        blank=True,
        related_name="+",
        on_delete=models.SET_NULL,
        help_text="Mixture: who makes the answers one. None chosen: the expert that would have answered alone.",
    )
    agreement = models.FloatField(
        "least agreement",
        default=0.6,
        validators=_SHARE,
        help_text="Mixture: mean similarity of the answers, 0 to 1, below which further experts are asked.",
    )
    confidence = models.FloatField(
        "least confidence",
        default=0.6,
        validators=_SHARE,
        help_text="Mixture and cascade: a model's confidence in its answer, 0 to 1 (the geometric mean of its tokens' "
        "probabilities), below which further experts are asked.",
    )
    patience = models.PositiveSmallIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(600)],
        help_text="Mixture: seconds that the others are waited for once half of the experts have answered.",
    )
    aggregator_prompt = models.TextField(
        blank=True, default="", help_text="Mixture: what the aggregator is told, instead of the usual instructions."
    )

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

    # --- answers given again
    cache = models.CharField(
        "answers given again",
        max_length=10,
        choices=Cache.choices,
        blank=True,
        default="",
        help_text="Only where the client asks for temperature 0, without tools and images, and only to the same key. "
        "Questions and answers are stored for it, also those of keys whose texts are not kept.",
    )
    cache_threshold = models.FloatField(
        "least similarity",
        default=0.95,
        validators=_SHARE,
        help_text="Cosine similarity of two questions, 0 to 1, from which one's answer is given to the other, if their "
        "words agree too.",
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
        if self.breadth and self.breadth_most and self.breadth_most < self.breadth:
            raise ValidationError({"breadth_most": "Experts at most cannot be fewer than those asked at first."})
        validate_defaults(self.defaults)
