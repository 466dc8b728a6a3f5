"""What a grounded answer has beside its text: citations, sources, and how it was grounded. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from knowledge.citations import Citation, Citations
from knowledge.packing import Cut, Packed, Source
from knowledge.passages import Passage
from routing.backends.protocol import ChatEvent, Delta, Json

Link = Callable[[Source], str]
"""The address at which a source can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """Comes before the Finish of each grounded answer; ``extension`` (sources, grounding) before the last one's.

    ``annotations`` is None where no citations were asked for.
    """

    index: int = 0
    annotations: tuple[Json, ...] | None = None
    extension: Json | None = None


class Citing:
    """The events of one request's answers, their citations held against what was packed.

    With ``cites`` False texts pass as they are: an answer that is JSON has no room for markers. ``told`` is what is
    known of the grounding before the answers come.
    """

    def __init__(self, packed: Packed, *, answers: int, cites: bool, link: Link, told: Json) -> None:
        self._sources = {source.n: source for source in packed.sources}
        self._answers = answers
        self._cites = cites
        self._urls = {source.n: link(source) for source in packed.sources}
        self._told = told
        self._citations: dict[int, Citations] = {}
        self._ended = 0

    @property
    def cited(self) -> frozenset[int]:
        """The numbers that were cited so far."""
        return frozenset(one.n for citations in self._citations.values() for one in citations.found)

    @property
    def invented(self) -> int:
        return sum(citations.invented for citations in self._citations.values())

    def take(self, event: ChatEvent) -> Iterator[ChatEvent | Cited]:
        """Yield what ``event`` is for the client."""
        citations = self._citations.setdefault(event.index, Citations(self._sources))
        if isinstance(event, Delta):
            yield from self._delta(event, citations)
            return
        if rest := citations.finish():
            yield Delta(index=event.index, content=rest)
        self._ended += 1
        yield Cited(
            index=event.index,
            annotations=tuple(map(self._annotation, citations.found)) if self._cites else None,
            extension=self.extension() if self._ended == self._answers else None,
        )
        yield event

    def _delta(self, delta: Delta, citations: Citations) -> Iterator[Delta]:
        if not self._cites or not delta.content:
            yield delta
            return
        delta = replace(delta, content=citations.feed(delta.content))
        if delta != Delta(index=delta.index):
            yield delta

    def extension(self) -> dict[str, Any]:
        """Return the objects beside OpenAI's: every source that the model was shown, and how they came about."""
        cited = self.cited
        sources = [
            source_object(source, self._urls[source.n]) | {"cited": source.n in cited}
            for source in self._sources.values()
        ]
        return {"sources": sources, "grounding": dict(self._told) | {"invented_citations": self.invented}}

    def _annotation(self, citation: Citation) -> Json:
        """Return OpenAI's url_citation; content[start_index:end_index] is the marker."""
        source = self._sources[citation.n]
        return {
            "type": "url_citation",
            "url_citation": {
                "start_index": citation.start,
                "end_index": citation.end,
                "title": title_of(source.passage),
                "url": self._urls[citation.n],
            },
        }


def title_of(passage: Passage) -> str:
    return passage.title or passage.source


def source_object(source: Source, url: str) -> dict[str, Any]:
    passage = source.passage
    return {
        "n": source.n,
        "chunk": passage.chunk,
        "chunks": list(source.chunks),
        "document": passage.document,
        "revision": passage.revision,
        "collection": passage.collection,
        "title": title_of(passage),
        "heading": passage.heading or None,
        "page": passage.page,
        "url": url,
        "original": passage.url or None,
        "score": round(passage.score, 4),
        "similarity": rounded(passage.similarity),
    }


def cut_object(cut: Cut) -> dict[str, Any]:
    passage = cut.passage
    return {
        "chunk": passage.chunk,
        "document": passage.document,
        "title": title_of(passage),
        "tokens": cut.tokens,
        "reason": cut.reason,
    }


def passage_object(passage: Passage) -> dict[str, Any]:
    """Return a passage as a trace keeps it: where it stood in each ranking; the text is where it always is."""
    return {
        "chunk": passage.chunk,
        "document": passage.document,
        "revision": passage.revision,
        "collection": passage.collection,
        "title": title_of(passage),
        "score": round(passage.score, 4),
        "similarity": rounded(passage.similarity),
        "text_score": rounded(passage.text_score),
        "vector_rank": passage.vector_rank,
        "text_rank": passage.text_rank,
        "rerank_score": rounded(passage.rerank_score),
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
