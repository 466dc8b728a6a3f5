"""What is retrieved, held to the guards of a request: passages masked or left out, or the request refused."""

from dataclasses import replace

from gateway.guards.findings import Action, Place
from gateway.guards.guard import Guard, Signals
from gateway.guards.guarding import Guarding, Objection, Occasion, as_turn, aside, worst
from gateway.guards.spoken import Spoken
from gateway.guards.texts import Rewrite
from knowledge.passages import Passage, Retrieval


async def retrieved(guarding: Guarding, retrieval: Retrieval) -> Retrieval:
    """Return what of ``retrieval`` a model may be shown; raises ContentRefused."""
    at = guarding.at(Place.RETRIEVED)
    if not at or not retrieval.passages:
        return retrieval
    occasion = Occasion(place=Place.RETRIEVED, param="messages", what="What was found for the request")
    kept = []
    for passage in retrieval.passages:
        objection = worst([*_objections(guarding, passage, at), *await _judged(guarding, passage, at)])
        if objection and objection[0].refuses:
            guard, categories = objection
            raise guarding.refusal(occasion, guard.name, f"a passage shows {', '.join(categories)}")
        if not (objection and objection[0].action is Action.MASK):
            kept.append(passage)
    characters = sum(len(passage.text) for passage in kept)
    rewrite = guarding.rewriter(occasion, at, (text for passage in kept for text in _texts(passage)))
    shown = await aside(characters, lambda: tuple(_rewritten(passage, rewrite) for passage in kept))
    if len(shown) == len(retrieval.passages):
        return replace(retrieval, passages=shown)
    note = f"{len(retrieval.passages) - len(shown)} of {len(retrieval.passages)} passages were left out by guards."
    return replace(retrieval, passages=shown, notes=(*retrieval.notes, note))


def _objections(guarding: Guarding, passage: Passage, at: tuple[Guard, ...]) -> list[Objection]:
    """Return what guards have against a passage as a whole; signals that somebody dismissed are no longer its own."""
    found = []
    for guard in at:
        categories: tuple[str, ...] = ()
        if isinstance(guard.work, Signals):
            categories = tuple(name for name in passage.signals if name in guard.work.names)
        elif isinstance(guard.work, Spoken):
            categories = guard.work.of(passage.text)
        for category in categories:
            guarding.tell(guard, Place.RETRIEVED, category)
        if categories:
            found.append((guard, categories))
    return found


async def _judged(guarding: Guarding, passage: Passage, at: tuple[Guard, ...]) -> list[Objection]:
    return await guarding.judged(at, (as_turn(passage.text),), Place.RETRIEVED)


def _texts(passage: Passage) -> tuple[str, ...]:
    """Return every text of a passage that a model is shown."""
    return passage.text, passage.before, passage.after, passage.title, passage.heading


def _rewritten(passage: Passage, rewrite: Rewrite) -> Passage:
    texts = _texts(passage)
    shown = tuple(rewrite(text) if text else text for text in texts)
    if shown == texts:
        return passage
    text, before, after, title, heading = shown
    return replace(passage, text=text, before=before, after=after, title=title, heading=heading)
