"""What the classifier learns from, and what it learned."""

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction

from routing.classifier.reading import read
from routing.language import language_of
from routing.models.experts import Expert


def prompt_digest(prompt: str) -> str:
    """Return what tells two prompts apart: case, white space and Unicode's ways of writing are not."""
    plain = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What became of a prompt that should have gone to another expert; ``before`` is None where it was no example."""

    example: "RouteExample"
    before: Expert | None

    def __str__(self) -> str:
        expert = self.example.expert
        if self.before is None:
            return f"The prompt is an example for “{expert}” now."
        if self.before == expert:
            return f"The prompt was an example for “{expert}” already."
        return f"The prompt was an example for “{self.before}”; it is one for “{expert}” now."


class RouteExampleQuerySet(models.QuerySet["RouteExample"]):
    def usable(self) -> "RouteExampleQuerySet":
        return self.filter(enabled=True, expert__enabled=True)

    def training(self) -> "RouteExampleQuerySet":
        return self.usable().filter(split=RouteExample.Split.TRAINING)

    def evaluation(self) -> "RouteExampleQuerySet":
        return self.usable().filter(split=RouteExample.Split.EVALUATION)

    def of(self, prompt: str) -> "RouteExample | None":
        """Return the example that ``prompt`` is, if it is one."""
        return self.filter(digest=prompt_digest(prompt)).select_related("expert").first()

    @transaction.atomic
    def correct(self, prompt: str, expert: Expert, *, user: Any = None) -> Correction:
        """Make ``prompt`` an example for ``expert``; one that says otherwise is moved."""
        values = {"prompt": prompt, "expert": expert, "source": RouteExample.Source.CORRECTED, "created_by": user}
        example, is_new = self.select_for_update(of=("self",)).get_or_create(
            digest=prompt_digest(prompt), defaults=values
        )
        if is_new:
            return Correction(example=example, before=None)
        before = example.expert
        if before != expert or not example.enabled:
            example.expert, example.enabled = expert, True
            example.source, example.created_by = RouteExample.Source.CORRECTED, user
            example.save()
        return Correction(example=example, before=before)


class RouteExample(models.Model):
    class Source(models.TextChoices):
        STARTER = "starter", "came with the project"
        CURATED = "curated", "written here"
        CORRECTED = "corrected", "a correction"
        IMPORTED = "imported", "imported"

    class Split(models.TextChoices):
        TRAINING = "training", "training: learnt from"
        EVALUATION = "evaluation", "evaluation: only measured with"

    prompt = models.TextField(help_text="As a user would send it.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expert = models.ForeignKey(
        Expert, on_delete=models.CASCADE, related_name="examples", help_text="Who should answer."
    )
    language = models.CharField(max_length=8, blank=True, default="", editable=False)
    source = models.CharField(max_length=20, choices=Source.choices, default=Source.CURATED)
    split = models.CharField("use", max_length=20, choices=Split.choices, default=Split.TRAINING)
    enabled = models.BooleanField(default=True)
    note = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )

    objects = RouteExampleQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "example"

    def __str__(self) -> str:
        line = " ".join(self.prompt.split())
        return line if len(line) <= 80 else f"{line[:79]}…"

    def save(self, *args: object, **kwargs: object) -> None:
        self.derive()
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def clean(self) -> None:
        # Browsers send the line ends of forms as two characters.
        self.prompt = self.prompt.replace("\r\n", "\n")
        self.derive()
        other = RouteExample.objects.filter(digest=self.digest).exclude(pk=self.pk).select_related("expert").first()
        if other is not None:
            raise ValidationError(
                {"prompt": f"This prompt is example {other.pk} already, for “{other.expert}”. Change that one instead."}
            )

    def derive(self) -> None:
        """Set what follows from the prompt; whoever writes rows past ``save`` calls it."""
        self.digest = prompt_digest(self.prompt)
        self.language = language_of(read(self.prompt).instruction)


class ClassifierVersion(models.Model):
    """A trained classifier. ``weights`` are numpy's own format without pickles (see routing/classifier/model.py)."""

    created_at = models.DateTimeField(auto_now_add=True)
    active = models.BooleanField(default=False, editable=False)
    fingerprint = models.CharField(
        max_length=64, editable=False, help_text="Of the examples and the settings it was trained with."
    )
    experts = models.JSONField(default=list, editable=False)
    examples = models.PositiveIntegerField(default=0, editable=False)
    metrics = models.JSONField(default=dict, editable=False)
    weights = models.BinaryField(editable=False)
    weights_sha256 = models.CharField(max_length=64, editable=False)
    note = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["active"], condition=models.Q(active=True), name="one_active_classifier")
        ]

    def __str__(self) -> str:
        return f"Classifier {self.pk}"
