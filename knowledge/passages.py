"""A question to the knowledge base and what it finds. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    HYBRID = "hybrid"
    VECTOR = "vector"
    TEXT = "text"


class Fusion(StrEnum):
    NORMALISED = "normalised"
    RRF = "rrf"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A question; what is None or empty is as each collection says, ``collections`` () means all that may be read.

    ``filters`` is a tree of comparisons as OpenAI's vector stores have them (see filters.py), already checked.
    ``threshold`` leaves out passages whose score is below it. ``also`` are further wordings of the same question,
    searched beside it. ``model`` is the id of an embedding model whose vectors are searched in place of the
    collections' own, for comparisons.
    """

    query: str
    collections: tuple[str, ...] = ()
    top_k: int = 5
    mode: Mode | None = None
    fusion: Fusion | None = None
    vector_weight: float | None = None
    filters: Mapping[str, Any] | None = None
    threshold: float | None = None
    neighbours: int | None = None
    rerank: bool | None = None
    also: tuple[str, ...] = ()
    model: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk as retrieved for a question.

    ``score`` is the fused one, 0 to 1; ``strength`` how well it fits, 0 to 1, comparable between questions;
    ``similarity`` the cosine to the question (-1 to 1) and ``text_score`` its
    BM25, each None where that leg was not asked. ``vector_rank`` and ``text_rank`` are its places in the two legs,
    from 1, None where the leg's list did not hold it. ``text`` is the chunk's own; ``before`` and ``after`` hold its
    neighbours' where the window was widened. ``heading`` is its path of headings, joined with " › ". ``trusted``
    says whether its collection's texts are the administrator's own, ``keeps_tools`` whether tools may be called
    although its text is in the prompt, and ``signals`` what in it and its neighbours looks like an order to a model.
    """

    chunk: int
    document: int
    revision: int
    ordinal: int
    collection: str
    title: str
    source: str
    text: str
    heading: str = ""
    page: int | None = None
    url: str = ""
    mime: str = ""
    language: str = ""
    score: float = 0.0
    strength: float = 0.0
    similarity: float | None = None
    text_score: float | None = None
    vector_rank: int | None = None
    text_rank: int | None = None
    rerank_score: float | None = None
    before: str = ""
    after: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trusted: bool = True
    keeps_tools: bool = False
    signals: tuple[str, ...] = ()

    @property
    def is_doubtful(self) -> bool:
        """Whether somebody may have written it to mislead a model."""
        return not self.trusted or bool(self.signals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a search: what it came to, and how long it took."""

    name: str
    milliseconds: float
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What a search found, best first.

    ``strength`` is how well the best passage fits, 0 to 1, comparable between questions; ``weak`` whether that is
    below what the collections ask for. ``notes`` say in words what was given up (a collection without vectors yet, an
    embedder that is missing, …). ``keeping`` are those of the passages' collections by whose setting prompts and
    answers that rest on them are kept.
    """

    query: str
    passages: tuple[Passage, ...] = ()
    collections: tuple[str, ...] = ()
    keeping: tuple[str, ...] = ()
    strength: float = 0.0
    weak: bool = False
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
