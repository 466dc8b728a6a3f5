"""Collections: what belongs together, how it is cut and searched, and who may see it."""

import datetime as dt
import re
import uuid
from collections.abc import Iterable
from functools import reduce
from operator import or_

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, OuterRef, Q, Value
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from simple_history.models import HistoricalRecords

from knowledge.access import Access, Level, regex
from knowledge.models.embeddingmodels import EmbeddingModel
from knowledge.models.keeping import NamedHistory
from knowledge.passages import Fusion, Mode

_SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class CollectionQuerySet(models.QuerySet["Collection"]):
    def open_to(self, access: Access, level: Level = Level.READ) -> "CollectionQuerySet":
        """Collections that somebody may use at ``level``; to everybody else they do not exist."""
        rows = self._within(access, level) if access.narrowed else self
        if access.everything:
            return rows
        subject = Q(group=access.group) if access.group else Q(pk__in=())
        if access.key_id is not None:
            subject |= Q(key_id=access.key_id)
        granted = Exists(Grant.objects.filter(subject, collection=OuterRef("pk"), level__gte=level))
        open_level = Q(everyone__gte=level)
        return rows.filter(open_level | granted)

    def _within(self, access: Access, level: Level) -> "CollectionQuerySet":
        """Collections that ``access`` is not narrowed away from."""
        rows = self
        for patterns in access.patterns(level):
            fitting = (Q(slug__regex=regex(pattern)) for pattern in patterns)
            rows = rows.filter(reduce(or_, fitting, Q(pk__in=())))
        return rows

    def lasting(self) -> "CollectionQuerySet":
        """Collections that were made to stay, without those of a running evaluation."""
        return self.filter(scratch=False)

    def named(self, names: Iterable[str]) -> "CollectionQuerySet":
        """Collections that are called one of ``names``: by their slugs, or by their ids as vector stores."""
        wanted = list(names)
        ids = [uuid.UUID(found[1]) for found in map(STORE_ID.fullmatch, wanted) if found]
        return self.filter(Q(slug__in=wanted) | Q(uid__in=ids))

    def keeping(self, model: EmbeddingModel) -> "CollectionQuerySet":
        """Collections that have vectors by ``model`` kept in step: searched by it, or one step away from that."""
        return self.filter(Q(embedding_model=model) | Q(previous_model=model) | Q(next_model=model))

    def expired(self) -> "CollectionQuerySet":
        """Collections that nobody searched for as long as they are kept without."""
        days = F("expires_after_days") * Value(dt.timedelta(days=1))
        since = Coalesce("last_active_at", "created_at")
        ends = ExpressionWrapper(since + days, output_field=DateTimeField())
        return self.filter(expires_after_days__isnull=False).alias(ends=ends).filter(ends__lte=Now())


STORE_START = "vs_"
"""How the id of a collection begins, where it is spoken of as a vector store."""
STORE_ID = re.compile(STORE_START + r"([0-9a-f]{32})")


class Collection(models.Model):
    class Everyone(models.IntegerChoices):
        NOTHING = 0, "nothing: only those it is granted to see it"
        READ = Level.READ.value, "read"
        WRITE = Level.WRITE.value, "read and add documents"
        MANAGE = Level.MANAGE.value, "everything"

    slug = models.SlugField(max_length=100, unique=True, help_text="What clients ask for, for example <i>handbook</i>.")
    name = models.CharField(max_length=200, help_text="For people.")
    description = models.TextField(blank=True, default="", help_text="What it holds, in a sentence or two.")
    language = models.CharField(
        max_length=8,
        blank=True,
        default="",
        help_text="A code such as <i>de</i>. Empty: the language of each document is recognised.",
    )
    trusted = models.BooleanField(
        default=True,
        help_text="Whether its texts are your own. Others, such as fetched pages, are marked as untrusted in prompts.",
    )
    everyone = models.PositiveSmallIntegerField(
        "everyone may",
        choices=Everyone.choices,
        default=Everyone.MANAGE,
        help_text="What every API key may do with it; grants add to that for single keys and groups.",
    )
    scratch = models.BooleanField(default=False, editable=False)
    uid = models.UUIDField(
        unique=True,
        default=uuid.uuid4,
        db_default=RandomUUID(),
        editable=False,
        help_text="What a vector store's id is made of.",
    )
    metadata = models.JSONField(blank=True, default=dict, help_text="What clients keep with a vector store.")
    expires_after_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text="Days without a search after which it expires. Empty: never.",
    )
    last_active_at = models.DateTimeField(null=True, blank=True, editable=False)

    keeps_texts = models.BooleanField(
        "keep texts",
        default=False,
        help_text="Store prompts and answers that rest on it, for as long as TEXT_RETENTION_DAYS says.",
    )

    # --- what goes live
    review = models.BooleanField(
        "changes are reviewed",
        default=False,
        help_text="New documents and changed ones are found only once somebody has approved them.",
    )
    gate = models.FloatField(
        "largest fall of recall",
        null=True,
        blank=True,
        validators=_SHARE,
        help_text="A change by which recall@5 on the golden queries would fall by more than this, 0 to 1, does not go "
        "live. Empty: nothing is held back.",
    )
    keeps_tools = models.BooleanField(
        "tools beside doubtful text",
        default=False,
        help_text="Leave a request's tools on although passages of this collection that are not trusted, or look like "
        "orders to a model, are in its prompt. Off: such a request is answered without its tools, and says so.",
    )

    # --- how documents are cut and embedded
    embedding_model = models.ForeignKey(
        EmbeddingModel,
        on_delete=models.PROTECT,
        related_name="collections",
        help_text="What its chunks are embedded by.",
    )
    previous_model = models.ForeignKey(
        EmbeddingModel,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="What it was searched by before; its vectors are kept, so that going back takes a moment.",
    )
    next_model = models.ForeignKey(
        EmbeddingModel,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        help_text="What is filled beside, to be compared and perhaps switched to.",
    )
    chunk_tokens = models.PositiveIntegerField(
        default=190,
        validators=[MinValueValidator(32), MaxValueValidator(2000)],
        help_text="Longest chunk in tokens of the embedding model, its title and headings included.",
    )
    chunk_overlap = models.PositiveIntegerField(
        default=20, validators=[MaxValueValidator(400)], help_text="Tokens repeated where running text is cut."
    )
    embed_headings = models.BooleanField(
        default=True, help_text="Embed a chunk together with its document's title and the headings above it."
    )

    # --- how it is searched
    mode = models.CharField(max_length=10, choices=[(mode.value, mode.value) for mode in Mode], default=Mode.HYBRID)
    fusion = models.CharField(
        max_length=12, choices=[(fusion.value, fusion.value) for fusion in Fusion], default=Fusion.NORMALISED
    )
    vector_weight = models.FloatField(
        null=True,
        blank=True,
        validators=_SHARE,
        help_text="Share of meaning against words in hybrid search, 0 to 1. Empty: by how well the embedding model "
        "knows the language.",
    )
    threshold = models.FloatField(
        default=0.45,
        validators=_SHARE,
        help_text="Below this strength of its best passage, evidence counts as weak, and answers say so.",
    )
    neighbours = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(5)], help_text="Chunks before and after a passage shown with it."
    )
    reranker = models.ForeignKey(
        "routing.Expert",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Expert that puts the best passages in order; slow. Empty: none.",
    )
    condenser = models.ForeignKey(
        "routing.Expert",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Small expert that rewrites a follow-up question so that it can be searched for. Empty: the question "
        "before it is searched for as well.",
    )

    # --- what it holds, kept in step with its chunks
    chunk_count = models.PositiveIntegerField(default=0, editable=False)
    term_count = models.PositiveBigIntegerField(default=0, editable=False)
    languages = ArrayField(models.CharField(max_length=8), default=list, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CollectionQuerySet.as_manager()
    # Of what people set; what it holds is counted by updates, which make no history.
    history = HistoricalRecords(
        excluded_fields=["chunk_count", "term_count", "languages", "last_active_at"],
        cascade_delete_history=True,
        bases=[NamedHistory],
    )

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name or self.slug

    def clean(self) -> None:
        if self.chunk_overlap * 2 > self.chunk_tokens:
            raise ValidationError({"chunk_overlap": "At most half of a chunk may be repeated."})

    @property
    def public_id(self) -> str:
        """What it is called as a vector store."""
        return f"{STORE_START}{self.uid.hex}"

    @property
    def names(self) -> frozenset[str]:
        """What clients may call it by."""
        return frozenset((self.slug, self.public_id))

    @property
    def expires_at(self) -> dt.datetime | None:
        """When it expires if nobody searches it until then; None: never."""
        if self.expires_after_days is None:
            return None
        return (self.last_active_at or self.created_at) + dt.timedelta(days=self.expires_after_days)

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def models_beside(self) -> frozenset[int]:
        """Ids of the models whose vectors are kept in step with those that are searched."""
        return frozenset(filter(None, (self.previous_model_id, self.next_model_id))) - {self.embedding_model_id}

    @property
    def longest_chunk(self) -> int:
        """Tokens of a chunk as its embedding model allows them."""
        return min(self.chunk_tokens, self.embedding_model.max_tokens)

    @property
    def recipe(self) -> str:
        """What of the settings goes into chunks and their vectors; documents made by another one are made anew."""
        return self.recipe_for(self.longest_chunk, self.chunk_overlap)

    def recipe_for(self, tokens: int, overlap: int) -> str:
        """Return the recipe of chunks of at most ``tokens``, of which ``overlap`` are repeated."""
        return f"1:{self.embedding_model_id}:{tokens}:{overlap}:{int(self.embed_headings)}"

    def cut_of(self, tokens: int | None, overlap: int | None) -> tuple[int, int]:
        """Return a chunk's tokens and those repeated, for a document that wishes for ``tokens`` and ``overlap``.

        None: as the collection has it. No wish goes beyond what the embedding model reads.
        """
        if tokens is None:
            return self.longest_chunk, self.chunk_overlap
        longest = min(tokens, self.embedding_model.max_tokens)
        return longest, min(self.chunk_overlap if overlap is None else overlap, longest // 2)


class Grant(models.Model):
    class GrantLevel(models.IntegerChoices):
        READ = Level.READ.value, "read"
        WRITE = Level.WRITE.value, "read and add documents"
        MANAGE = Level.MANAGE.value, "everything"

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="grants")
    key = models.ForeignKey(
        "gateway.ApiKey", on_delete=models.CASCADE, null=True, blank=True, related_name="+", verbose_name="API key"
    )
    group = models.CharField(max_length=100, blank=True, default="", help_text="Every API key of this group.")
    level = models.PositiveSmallIntegerField("may", choices=GrantLevel.choices, default=GrantLevel.READ)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(key__isnull=False, group="") | (Q(key__isnull=True) & ~Q(group="")),
                name="knowledge_grant_one_subject",
                violation_error_message="Choose an API key or a group, not both.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.key or self.group}: {self.get_level_display()}"
