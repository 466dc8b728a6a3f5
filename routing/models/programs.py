"""Compiled routing programs, with what was measured of them."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from routing.models.experts import Expert


class RouterProgram(models.Model):
    """A version of the DSPy program that decides where rules and classifier are unsure.

    ``state`` is what DSPy saves of it (plain JSON), from which ``instructions`` and ``demos`` are shown; ``metrics``
    were measured on examples that it was not compiled with.
    """

    class Optimizer(models.TextChoices):
        NONE = "none", "as it is written"
        BOOTSTRAP = "bootstrap", "BootstrapFewShot with random search"
        MIPRO = "mipro", "MIPROv2"
        GEPA = "gepa", "GEPA"

    class Status(models.TextChoices):
        RUNNING = "running", "is being compiled"
        DONE = "done", "compiled and evaluated"
        FAILED = "failed", "failed"

    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )
    active = models.BooleanField(default=False, editable=False)
    shown_to_help_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When it was last switched on because it was better than what was on: going back to it is free.",
    )
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.RUNNING, editable=False)
    progress = models.TextField(
        blank=True, default="", editable=False, help_text="How far compiling is, or how it ended."
    )
    optimizer = models.CharField(max_length=20, choices=Optimizer.choices, default=Optimizer.BOOTSTRAP)
    runs_on = models.ForeignKey(
        Expert,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The expert whose model answers the program's question.",
    )
    time_limit = models.FloatField(
        default=1.5,
        validators=[MinValueValidator(0.1), MaxValueValidator(30)],
        help_text="Seconds that a request waits for the program; then the classifier's best guess answers.",
    )
    loads_model = models.BooleanField(
        default=False,
        help_text="Ask it even if its model is not in memory. Off: it is passed over then, and nothing is loaded.",
    )
    accept_from = models.FloatField(
        "least confidence",
        default=0.0,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="The program's confidence, 0 to 1, below which the classifier's best guess answers.",
    )
    experts = models.JSONField(default=list, editable=False, help_text="Those it was compiled to tell apart.")
    state = models.JSONField(default=dict, editable=False)
    instructions = models.TextField(blank=True, default="", editable=False)
    demos = models.JSONField(default=list, editable=False)
    examples = models.PositiveIntegerField(default=0, editable=False)
    fingerprint = models.CharField(max_length=64, blank=True, default="", editable=False)
    metrics = models.JSONField(default=dict, editable=False)
    note = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-id"]
        verbose_name = "program"
        constraints = [
            models.UniqueConstraint(fields=["active"], condition=models.Q(active=True), name="one_active_program")
        ]

    def __str__(self) -> str:
        return f"Program {self.pk}"
