"""What people say of decisions, and what is proposed to learn from it."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Coalesce

from routing.models.experts import Expert
from routing.models.rules import RoutingRule


class Proposal(models.Model):
    """A change of rules or examples that corrections speak for, with its measured effect, for a person to decide on.

    ``signature`` tells what is proposed, so that what was dismissed is not proposed again. ``effect`` was measured on
    the last decisions; ``before`` and ``after`` are evaluations of the router around its acceptance.
    """

    class Kind(models.TextChoices):
        RULE = "rule", "a rule"
        EXAMPLES = "examples", "examples"

    class Status(models.TextChoices):
        OPEN = "open", "waits for a decision"
        ACCEPTED = "accepted", "accepted"
        DISMISSED = "dismissed", "dismissed"

    created_at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.OPEN, db_index=True)
    signature = models.CharField(max_length=64, db_index=True, editable=False)
    was = models.CharField("instead of", max_length=300, help_text="Who answered.")
    expert = models.ForeignKey(
        Expert, on_delete=models.CASCADE, related_name="+", help_text="Who should have answered."
    )
    summary = models.TextField()
    content = models.JSONField(default=dict, help_text="The rule's conditions, or the prompts.")
    effect = models.JSONField(default=dict)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    rule = models.ForeignKey(RoutingRule, null=True, blank=True, editable=False, on_delete=models.SET_NULL)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )
    reason = models.TextField(blank=True, default="", help_text="Why it was accepted or dismissed.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["signature"], condition=models.Q(status="open"), name="one_open_proposal_of_a_kind"
            )
        ]

    def __str__(self) -> str:
        return self.summary or f"Proposal {self.pk}"


class FeedbackQuerySet(models.QuerySet["Feedback"]):
    def corrections(self) -> "FeedbackQuerySet":
        """Those that name an enabled expert other than the one that was chosen."""
        return self.filter(expert__enabled=True).exclude(expert__slug=models.F("was"))

    def learnable(self) -> "FeedbackQuerySet":
        """Corrections whose prompt is there to learn from."""
        return self.corrections().exclude(prompt="")


class Feedback(models.Model):
    """What somebody said of a decision: whether it was good, and who should have answered.

    ``prompt`` is there where the sender gave it or the profile keeps prompts; without it nothing can be learnt.
    """

    class Source(models.TextChoices):
        API = "api", "a client"
        ADMIN = "admin", "an administrator"

    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    decision = models.CharField(max_length=40, db_index=True)
    rating = models.SmallIntegerField(default=0, validators=[MinValueValidator(-1), MaxValueValidator(1)])
    was = models.CharField("answered", max_length=300, help_text="The expert that was chosen.")
    expert = models.ForeignKey(
        Expert,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Who should have answered.",
    )
    comment = models.TextField(blank=True, default="")
    prompt = models.TextField(blank=True, default="")
    source = models.CharField(max_length=20, choices=Source.choices, default=Source.API)
    key_name = models.CharField(max_length=200, blank=True, default="")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL)
    proposal = models.ForeignKey(
        Proposal, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="corrections"
    )

    objects = FeedbackQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "feedback"
        constraints = [
            # A sender has one say on a decision; the last one counts.
            models.UniqueConstraint(
                "decision", "source", "key_name", Coalesce("user_id", 0), name="one_feedback_of_a_sender"
            )
        ]

    def __str__(self) -> str:
        return f"{self.decision}: {self.rating:+d}"

    @property
    def is_learnable(self) -> bool:
        """Whether it says who should have answered instead, and has the prompt."""
        return bool(self.prompt) and self.expert is not None and self.expert.slug != self.was
