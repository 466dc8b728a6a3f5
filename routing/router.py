"""Who answers a request: the stages, in their order, and the decision they come to.

explicit model → who can take it → a client's background job → the conversation's expert → rules → classifier →
default. A stage that fails is noted and passed over: what is left decides.
"""

import datetime as dt
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from django.utils import timezone

from routing import features, rules
from routing.backends.local import LocalEmbedder
from routing.backends.protocol import ChatRequest, ServerAddress, ServerKind
from routing.catalog import AUTO, Catalog, Expert, Profile, Replica
from routing.classifier.reading import read
from routing.classifying import Classifying, Opinion, shared_classifying
from routing.conversations import turn_keys
from routing.decision import Candidate, Decision, Outlook, Stage, new_id
from routing.exceptions import BadRequest, ModelNotFound, Unavailable
from routing.features import Asker, Features
from routing.pool import shared_pool
from routing.rules import Outcome

logger = logging.getLogger(__name__)

FLOOR = 0.2
"""Where no expert at all is this probable, the prompt is of no kind the classifier knows."""
WINDOW_DOUBT = 0.6
"""An estimate of tokens must pass a window by this much before an expert is passed over for it."""
EARLIER_TURNS = 3
CONVERSATIONS_KEPT = 20_000
NO_HURRY = 10.0  # seconds until a first token that count as one whole lack of speed


Look = Callable[[Expert, frozenset[str]], Outlook]


def _no_outlook(expert: Expert, needs: frozenset[str]) -> Outlook:
    return Outlook()


class Held:
    """Which expert each conversation was last with, in this process; the oldest are forgotten."""

    def __init__(self) -> None:
        self._experts: OrderedDict[str, str] = OrderedDict()

    def get(self, turn: str) -> str | None:
        return self._experts.get(turn)

    def set(self, turn: str, expert: str) -> None:
        self._experts[turn] = expert
        self._experts.move_to_end(turn)
        while len(self._experts) > CONVERSATIONS_KEPT:
            self._experts.popitem(last=False)


@dataclass(slots=True)
class Clock:
    """The stages so far, with their times."""

    stages: list[Stage] = field(default_factory=list)
    since: float = field(default_factory=time.perf_counter)

    def stage(self, name: str, result: str) -> None:
        now = time.perf_counter()
        self.stages.append(Stage(name=name, milliseconds=(now - self.since) * 1000, result=result))
        self.since = now


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    expert: Expert
    route: str
    why: str
    confidence: float | None = None
    sure: bool = False
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Decides; ``classifying`` None leaves the classifier out, ``look`` tells how experts stand at the moment."""

    classifying: Classifying | None = None
    look: Look = _no_outlook
    held: Held = field(default_factory=Held)

    async def decide(
        self,
        request: ChatRequest,
        catalog: Catalog,
        *,
        asker: Asker = Asker(),  # noqa: B008 - an immutable value
        now: dt.datetime | None = None,
    ) -> Decision:
        """Return the decision for ``request``; raises ModelNotFound, BadRequest or Unavailable if nobody can answer."""
        profile = catalog.profiles.get(request.model)
        if profile is None:
            return explicit(request, catalog)
        clock = Clock()
        seen = features.extract(request)
        clock.stage("features", seen.language or "language unknown")
        able, filtered, seen, without_images = self._able(request, seen, catalog, profile)
        clock.stage("filters", f"{len(able)} of {len(able) + len(filtered)} experts can take it")
        decision = Decision(
            id=new_id(),
            expert=NOBODY,
            route="",
            why="",
            needs=seen.needs,
            without_images=without_images,
            profile=profile,
            filtered=filtered,
            language=seen.language,
            task=seen.task,
            tokens=seen.tokens,
            text=seen.text,
        )
        if not able:
            choice = _installed_model(seen.needs, catalog, profile)
            return _settled(decision, choice, catalog, clock, Outcome(), ())
        if seen.task:
            choice = self._quickest(able, seen, catalog)
            clock.stage("task", choice.expert.slug)
            return _settled(decision, choice, catalog, clock, Outcome(), ())
        return await self._chosen(decision, request, seen, able, catalog, asker, now, clock)

    async def _chosen(
        self,
        decision: Decision,
        request: ChatRequest,
        seen: Features,
        able: Mapping[str, Expert],
        catalog: Catalog,
        asker: Asker,
        now: dt.datetime | None,
        clock: Clock,
    ) -> Decision:
        profile = decision.profile
        assert profile is not None
        turns = turn_keys(request, asker.tenant) if profile.sticky else ("", "")
        holder = await self._holder(turns, seen, able, catalog) if profile.sticky else None
        outcome = rules.judge_all(
            catalog.rules,
            seen,
            asker,
            request.metadata,
            profile.slug,
            now or timezone.localtime(),
            able=able.keys(),
            held=holder is not None,
        )
        clock.stage("rules", f"“{outcome.by.name}”" if outcome.by else "none named an expert")
        skipped: tuple[str, ...] = ()
        if outcome.expert:
            assert outcome.by is not None
            choice = _Choice(
                expert=able[outcome.expert], route="rule", why=f"rule “{outcome.by.name}” fits: {outcome.why}"
            )
        elif holder:
            choice = _Choice(expert=able[holder], route="held", why=f"the conversation is with {holder}")
        else:
            allowed = {slug: able[slug] for slug in outcome.candidates or able}
            opinion = await self._opinion(seen)
            skipped = opinion.skipped
            choice = self._by_opinion(opinion, allowed, profile, seen, catalog)
            clock.stage(
                "classifier",
                f"{opinion.layer or 'skipped'}{', remembered' if opinion.remembered else ''}: "
                f"{choice.expert.slug if choice.route == 'classifier' else 'no answer'}",
            )
        settled = _settled(replace(decision, held=holder), choice, catalog, clock, outcome, skipped)
        if turns[1]:
            self.held.set(turns[1], choice.expert.slug)
        return settled

    # --- who can -------------------------------------------------------------------------------------------------

    def _able(
        self, request: ChatRequest, seen: Features, catalog: Catalog, profile: Profile
    ) -> tuple[dict[str, Expert], tuple[tuple[str, str], ...], Features, bool]:
        """Return who can take the request, who cannot and why, and it without images if that is what it takes."""
        able, filtered = self._sorted_out(seen, catalog, profile)
        seeing = not profile.experts and any(model.replicas_that(seen.needs) for model in catalog.models.values())
        if able or "vision" not in seen.needs or seeing:
            return able, filtered, seen, False
        blind = replace(seen, needs=seen.needs - {"vision"})
        found, _ = self._sorted_out(blind, catalog, profile)
        allowed = {
            slug: expert
            for slug, expert in found.items()
            if (expert.text_only if profile.text_only is None else profile.text_only)
        }
        return (allowed, filtered, blind, True) if allowed else (able, filtered, seen, False)

    def _sorted_out(
        self, seen: Features, catalog: Catalog, profile: Profile
    ) -> tuple[dict[str, Expert], tuple[tuple[str, str], ...]]:
        able: dict[str, Expert] = {}
        later: dict[str, str] = {}
        filtered: list[tuple[str, str]] = []
        for slug, expert in catalog.experts.items():
            reason, hard = self._reason_against(expert, seen, profile)
            if not reason:
                able[slug] = expert
            elif hard:
                filtered.append((slug, reason))
            else:
                later[slug] = reason
        if not able:  # too long for everybody, or everybody fails: whoever comes closest says so best
            return {slug: catalog.experts[slug] for slug in later}, tuple(filtered)
        return able, (*filtered, *later.items())

    def _reason_against(self, expert: Expert, seen: Features, profile: Profile) -> tuple[str, bool]:
        """Return why an expert is passed over ("" when it is not), and whether it could not answer at all."""
        if profile.experts and expert.slug not in profile.experts:
            return f"not one of profile {profile.slug}", True
        if not expert.replicas:
            return "no replica on an enabled model server", True
        replicas = expert.replicas_that(seen.needs)
        if not replicas:
            return f"cannot do {', '.join(sorted(seen.needs))}", True
        windows = [replica.num_ctx or replica.context_length for replica in replicas]
        known = [window for window in windows if window]
        if len(known) == len(windows) and seen.tokens * WINDOW_DOUBT > max(known):
            return f"about {seen.tokens} tokens do not fit its window of {max(known)}", False
        if not self.look(expert, seen.needs).works:
            return "its replicas fail at the moment", False
        return "", False

    # --- stages --------------------------------------------------------------------------------------------------

    def _quickest(self, able: Mapping[str, Expert], seen: Features, catalog: Catalog) -> _Choice:
        """Return the smallest expert that is in memory, for a background job nobody should wait for."""

        def burden(slug: str) -> tuple[float, bool, str]:
            expert = able[slug]
            return self.look(expert, seen.needs).start + _size(expert, seen.needs) / 20, slug != catalog.default, slug

        return _Choice(
            expert=able[min(able, key=burden)],
            route="task",
            why=f"a chat client's background job ({seen.task.replace('_', ' ')}): the quickest small expert does it",
        )

    async def _holder(
        self, turns: tuple[str, str], seen: Features, able: Mapping[str, Expert], catalog: Catalog
    ) -> str | None:
        """Return the expert that has the conversation, if one has and can take this turn.

        The default expert takes what nobody else does, so it lets go of a conversation that becomes somebody's; within
        a tool loop it does not.
        """
        if seen.in_tool_loop and (found := self.held.get(turns[1])) in able:
            return found
        if not seen.earlier or not turns[0]:
            return None
        found = self.held.get(turns[0])
        if found is None:
            found = await self._earlier_expert(seen, able)
        return found if found in able and found != catalog.default else None

    async def _earlier_expert(self, seen: Features, able: Mapping[str, Expert]) -> str | None:
        """Return the expert that earlier turns were surely for: another process may have decided them."""
        for text in seen.earlier[:EARLIER_TURNS]:
            opinion = await self._opinion(Features(text=text, reading=read(text)))
            best = max(able, key=lambda slug: opinion.probabilities.get(slug, 0.0))
            if opinion.probabilities.get(best, 0.0) >= opinion.abstain:
                return best
        return None

    async def _opinion(self, seen: Features) -> Opinion:
        if self.classifying is None:
            return Opinion(skipped=("classifier: left out",))
        if not seen.text.strip():
            return Opinion(skipped=("classifier: there is no text",))
        try:
            return await self.classifying.opinion(seen.text, seen.reading)
        except Exception as error:
            logger.exception("the classifier failed")
            return Opinion(skipped=(f"classifier: {type(error).__name__}: {error}",))

    def _by_opinion(
        self, opinion: Opinion, allowed: Mapping[str, Expert], profile: Profile, seen: Features, catalog: Catalog
    ) -> _Choice:
        candidates = self._candidates(opinion, allowed, profile, seen)
        best = max((candidate.probability for candidate in candidates), default=0.0)
        if not candidates:
            return _nobody_knows(opinion, allowed, catalog, candidates)
        first = candidates[0]
        sure = best >= opinion.abstain
        return _Choice(
            expert=allowed[first.expert],
            route="classifier",
            why=_said(candidates, sure=sure),
            confidence=first.probability,
            sure=sure,
            candidates=candidates,
        )

    def _candidates(
        self, opinion: Opinion, allowed: Mapping[str, Expert], profile: Profile, seen: Features
    ) -> tuple[Candidate, ...]:
        """Return ``allowed`` experts the classifier knows, the one to choose first.

        Of those that suit about equally the most useful comes first: how well it suits, how soon it starts, what it
        costs and how large its model is, weighted by the profile. The more a profile minds the rest, the more is
        "about equally".
        """
        known = {slug: opinion.probabilities[slug] for slug in allowed if slug in opinion.probabilities}
        total = sum(known.values())
        if not total or max(opinion.probabilities.values()) < FLOOR:
            return ()
        known = {slug: value / total for slug, value in known.items()}
        minds = profile.speed + profile.cost + profile.strength
        margin = min(0.35, 0.1 * minds / max(profile.quality, 0.1))
        best = max(known.values())
        near = [slug for slug, value in known.items() if value >= best - margin]
        dearest = max((allowed[slug].price for slug in near), default=0.0) or 1.0

        def candidate(slug: str) -> Candidate:
            expert, suits = allowed[slug], known[slug]
            start = self.look(expert, seen.needs).start if slug in near and minds else 0.0
            utility = (
                profile.quality * suits
                - profile.speed * (min(1.0, start / NO_HURRY) + 0.1 * _size_share(expert, seen.needs))
                - profile.cost * expert.price / dearest
                + profile.strength * _size_share(expert, seen.needs)
            )
            return Candidate(expert=slug, probability=suits, utility=utility, start=start, price=expert.price)

        found = [candidate(slug) for slug in known]
        found.sort(key=lambda one: (one.expert not in near, -one.utility if one.expert in near else -one.probability))
        return tuple(found)


NOBODY = Expert(slug="")
_held = Held()


def shared_router() -> Router:
    """Return the router of this process, with the running event loop's pool to tell how experts stand."""
    return Router(classifying=shared_classifying(), look=shared_pool().outlook, held=_held)


def _size(expert: Expert, needs: frozenset[str]) -> float:
    """Return the parameters of an expert's smallest model that can, in thousand millions; 7 where nobody tells."""
    return min((replica.parameters or 7.0 for replica in expert.replicas_that(needs)), default=7.0)


def _size_share(expert: Expert, needs: frozenset[str]) -> float:
    """Return how large an expert's model is, from 0 to 1 (100 thousand million parameters), on a logarithmic scale."""
    return min(1.0, math.log1p(_size(expert, needs)) / math.log1p(100))


def _said(candidates: Iterable[Candidate], *, sure: bool) -> str:
    first, *others = sorted(candidates, key=lambda one: -one.probability)[:3]
    rest = ", ".join(f"{one.expert} {one.probability:.0%}" for one in others)
    how = "the classifier is sure" if sure else "the classifier is not sure; its best guess answers"
    return f"{how}: {first.expert} {first.probability:.0%}" + (f", then {rest}" if rest else "")


def _nobody_knows(
    opinion: Opinion, allowed: Mapping[str, Expert], catalog: Catalog, candidates: tuple[Candidate, ...]
) -> _Choice:
    why = "no rule fitted"
    if opinion.probabilities:
        why += " and it looks like nothing the classifier knows"
    if catalog.default is not None and catalog.default in allowed:
        return _Choice(
            expert=allowed[catalog.default],
            route="default",
            why=f"{why}; the default expert answers",
            candidates=candidates,
        )
    expert = next(iter(allowed.values()))
    return _Choice(
        expert=expert,
        route="fallback",
        why=f"{why} and the default expert cannot take the request",
        candidates=candidates,
    )


def _installed_model(needs: frozenset[str], catalog: Catalog, profile: Profile) -> _Choice:
    if profile.experts:
        raise _none_of(profile, needs, catalog)
    for model in catalog.models.values():
        if model.replicas_that(needs):
            return _Choice(expert=model, route="fallback", why="no expert can take the request; an installed model can")
    raise _nobody(needs, catalog)


def _settled(
    decision: Decision,
    choice: _Choice,
    catalog: Catalog,
    clock: Clock,
    outcome: Outcome,
    skipped: tuple[str, ...],
) -> Decision:
    """Return ``decision`` with the choice, its fallbacks, and what profile and rules add."""
    profile = decision.profile
    assert profile is not None
    blind = decision.without_images
    chain = [catalog.experts[slug] for slug in choice.expert.fallbacks if slug in catalog.experts]
    fallbacks = tuple(
        _of_profile(expert, profile)
        for expert in chain
        if profile.fallbacks
        and expert.replicas_that(decision.needs)
        and (not profile.experts or expert.slug in profile.experts)
        and (not blind or expert.text_only or profile.text_only)
    )
    return replace(
        decision,
        expert=_of_profile(choice.expert, profile),
        route=choice.route,
        why=choice.why,
        confidence=choice.confidence,
        sure=choice.sure,
        candidates=choice.candidates,
        fallbacks=fallbacks,
        outcome=outcome,
        collections=tuple(dict.fromkeys((*outcome.collections, *profile.collections))),
        skipped=skipped,
        stages=tuple(clock.stages),
    )


def _of_profile(expert: Expert, profile: Profile) -> Expert:
    """Return ``expert`` as it answers for a profile."""
    while_loading = profile.answers_while_loading
    return replace(
        expert,
        system_prompt=profile.system_prompt or expert.system_prompt,
        defaults={**expert.defaults, **profile.defaults},
        answers_while_loading=expert.answers_while_loading if while_loading is None else while_loading,
    )


# --- an expert or model asked for by name ---------------------------------------------------------------------


def explicit(request: ChatRequest, catalog: Catalog) -> Decision:
    """Return the decision for a request that names who is to answer; raises as ``Router.decide``."""
    needs = features.needs_of(request)
    without_images = False
    try:
        expert = _named(request.model, needs, catalog)
    except BadRequest:
        found = catalog.find(request.model)
        if not ("vision" in needs and found and found.text_only):
            raise
        needs, without_images = needs - {"vision"}, True
        expert = _named(request.model, needs, catalog)
    chain = (catalog.experts[slug] for slug in expert.fallbacks if slug in catalog.experts)
    return Decision(
        id=new_id(),
        expert=expert,
        route="explicit",
        why=f"the client asked for '{request.model}'",
        needs=needs,
        fallbacks=tuple(other for other in chain if other.replicas_that(needs)),
        without_images=without_images,
    )


def _named(name: str, needs: frozenset[str], catalog: Catalog) -> Expert:
    expert = catalog.find(name)
    if expert is None and (name == IN_PROCESS.slug or catalog.find_embedder(name)):
        raise BadRequest(
            f"The model '{name}' embeds texts and does not answer chats. Send it to /v1/embeddings, or ask for 'auto'.",
            param="model",
            code="unsupported_value",
        )
    if expert is None:
        raise ModelNotFound(
            f"The model '{name}' does not exist. Ask for 'auto', or for one that GET /v1/models lists.",
            param="model",
        )
    if not expert.replicas:
        raise Unavailable(
            f"The expert '{name}' has no replica on an enabled model server. An administrator can add one in admin.",
            retry_after=30,
        )
    if not expert.replicas_that(needs):
        missing = ", ".join(sorted(needs))
        raise BadRequest(
            f"The model '{name}' cannot take this request, which needs: {missing}. Ask for 'auto' or another model.",
            param="model",
            code="unsupported_value",
        )
    return expert


def _none_of(profile: Profile, needs: frozenset[str], catalog: Catalog) -> BadRequest | Unavailable:
    if needs and any(catalog.experts[slug].replicas for slug in profile.experts if slug in catalog.experts):
        return BadRequest(
            f"No expert of '{profile.slug}' can take this request, which needs: {', '.join(sorted(needs))}. "
            "Ask for 'auto' or another model.",
            param="model",
            code="unsupported_value",
        )
    return Unavailable(
        f"No expert of '{profile.slug}' has a replica on an enabled model server. An administrator can add one in "
        "admin.",
        retry_after=30,
    )


def _nobody(needs: frozenset[str], catalog: Catalog) -> BadRequest | Unavailable:
    if needs and (catalog.models or any(expert.replicas for expert in catalog.experts.values())):
        return BadRequest(
            f"No installed model can take this request, which needs: {', '.join(sorted(needs))}.",
            param="tools" if "tools" in needs else "messages",
            code="unsupported_value",
        )
    return Unavailable(
        "No model is available. An administrator should add a model server, or start one (see /health/ready).",
        retry_after=30,
    )


# --- other things than chats ----------------------------------------------------------------------------------

INSERT = frozenset({"insert"})
# The embedder in this process has no address: whoever runs a decision for it does so without the pool.
IN_PROCESS = Expert(
    slug=LocalEmbedder.model_id,
    name=LocalEmbedder.model_id,
    description="Makes embeddings, in this process.",
    replicas=(
        Replica(
            server=ServerAddress(name="in-process", kind=ServerKind.OPENAI, base_url=""),
            embedded=True,
            model=LocalEmbedder.model_id,
            context_length=LocalEmbedder.max_text_tokens,
            capabilities=frozenset({"embedding"}),
        ),
    ),
)


def decide_embedding(name: str, catalog: Catalog) -> Decision:
    """Return the decision for embeddings by ``name``; raises ModelNotFound or BadRequest.

    ``auto`` is always the embedder in this process: vectors of two models cannot be compared, so what answers must
    not change with what happens to be installed.
    """
    identity = new_id()
    if name == AUTO:
        return Decision(id=identity, expert=IN_PROCESS, route="default", why="'auto' embeds in this process")
    expert = IN_PROCESS if name == IN_PROCESS.slug else catalog.find_embedder(name)
    if expert is not None:
        return Decision(id=identity, expert=expert, route="explicit", why=f"the client asked for '{name}'")
    if catalog.find(name) or name in catalog.profiles:
        raise BadRequest(
            f"The model '{name}' makes no embeddings. Ask for 'auto', or for an embedding model.",
            param="model",
            code="unsupported_value",
        )
    raise ModelNotFound(
        f"The model '{name}' does not exist. Ask for 'auto', or for an embedding model that GET /v1/models lists.",
        param="model",
    )


def to_fill_in(decision: Decision, asked: str, catalog: Catalog) -> Decision:
    """Return ``decision`` for a completion that fills the gap before a suffix, which only some models can do.

    Raises BadRequest.
    """
    only = decision.profile.experts if decision.profile else frozenset()
    everybody = (*catalog.experts.values(), *catalog.models.values())
    able = (expert for expert in everybody if expert.replicas_that(INSERT) and (not only or expert.slug in only))
    if decision.expert.replicas_that(INSERT):
        return replace(decision, needs=decision.needs | INSERT)
    if asked in catalog.profiles and (expert := next(able, None)):
        why = "whom the router chose cannot fill in a gap; the first that can answers"
        return replace(decision, expert=expert, route="fallback", why=why, needs=decision.needs | INSERT)
    raise BadRequest(
        f"The model '{asked}' cannot complete between a prompt and a 'suffix'. Leave 'suffix' out, or ask for "
        "a model that can insert.",
        param="suffix",
        code="unsupported_value",
    )
