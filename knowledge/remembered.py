"""An embedder that makes no vector twice: texts that were embedded before are looked up (routing/vectorcache.py).

Passages are looked up in the table, a batch in one step: a document that comes back, or a collection made anew, finds
its vectors there, when no chunk holds them any more (staging.py copies from those that do). Questions are, where a
model server would have to be asked; in this process embedding one takes hardly longer than the table, so that only
memory is looked into.
"""

from collections.abc import Sequence

from knowledge.embedding import Embedder, ModelSpec, Vector
from routing.catalog import catalog
from routing.vectorcache import PASSAGE, QUERY, vectors


class Remembered:
    """``embedder`` as ``spec`` has it; raises what it raises."""

    def __init__(self, embedder: Embedder, spec: ModelSpec) -> None:
        self._embedder = embedder
        self._spec = spec

    def count(self, text: str) -> int:
        return self._embedder.count(text)

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        model = await self._model(PASSAGE)
        known: dict[str, Vector] = {
            text: vector for text, vector in (await vectors.find(model, texts)).items() if self._fits(vector)
        }
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        made = await self._embedder.passages(missing) if missing else []
        for text, vector in zip(missing, made, strict=True):
            vectors.set(model, text, vector, stored=True)
        known |= zip(missing, made, strict=True)
        return [known[text] for text in texts]

    async def question(self, text: str) -> Vector:
        model, is_far = await self._model(QUERY), not self._spec.in_process
        found = (await vectors.find(model, [text])).get(text) if is_far else vectors.get(model, text)
        if found is not None and self._fits(found):
            return found
        vector = await self._embedder.question(text)
        vectors.set(model, text, vector, stored=is_far)
        return vector

    def _fits(self, vector: Vector) -> bool:
        return len(vector) == self._spec.dimensions

    async def _model(self, kind: str) -> str:
        """Return what vectors of this kind are kept under: the model, its files where they are told, its prefix."""
        spec = self._spec
        if spec.in_process:
            return spec.name + kind
        found = (await catalog.aget()).find_embedder(spec.name)
        revisions = sorted({replica.revision[:16] for replica in found.replicas}) if found else []
        prefix = spec.query_prefix if kind == QUERY else spec.passage_prefix
        return f"{spec.name}@{','.join(revisions)}{kind} {prefix}"[:200]
