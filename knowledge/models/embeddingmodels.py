"""The models that turn texts into vectors."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models


class EmbeddingSource(models.TextChoices):
    IN_PROCESS = "in_process", "in this process"
    MODEL_SERVER = "model_server", "model servers"


class EmbeddingModelQuerySet(models.QuerySet["EmbeddingModel"]):
    def that_know(self, language: str) -> "EmbeddingModelQuerySet":
        """Models that know ``language`` (ISO 639-1), those made for few languages included."""
        return self.filter(models.Q(languages=[]) | models.Q(languages__contains=[language]))


class EmbeddingModel(models.Model):
    name = models.CharField(
        max_length=200,
        unique=True,
        help_text="Of a model on model servers its tag there, for example <i>nomic-embed-text</i>.",
    )
    source = models.CharField(max_length=20, choices=EmbeddingSource.choices, default=EmbeddingSource.MODEL_SERVER)
    dimensions = models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(4000)],
        help_text="Numbers in a vector; at most 4,000 can be indexed.",
    )
    max_tokens = models.PositiveIntegerField(
        default=512,
        validators=[MinValueValidator(32)],
        help_text="Tokens of a text that the model reads; longer chunks are not made.",
    )
    query_prefix = models.CharField(
        max_length=200, blank=True, default="", help_text="Put before a question, as the model was trained with."
    )
    passage_prefix = models.CharField(
        max_length=200, blank=True, default="", help_text="Put before a chunk, as the model was trained with."
    )
    languages = ArrayField(
        models.CharField(max_length=8),
        blank=True,
        default=list,
        help_text="Codes such as <i>en</i>, one a line. Empty: it knows every language.",
    )
    floor = models.FloatField(
        default=0.1, help_text="Cosine between a question and passages that have nothing to do with it, on average."
    )
    ceiling = models.FloatField(default=0.75, help_text="Cosine between a question and a passage that answers it well.")
    indexed = models.BooleanField(
        default=False, editable=False, help_text="Whether its vectors have an HNSW index; small numbers need none."
    )

    objects = EmbeddingModelQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def index_name(self) -> str:
        return f"knowledge_embedding_hnsw_{self.pk}"

    def knows(self, language: str) -> bool:
        return not self.languages or language in self.languages
