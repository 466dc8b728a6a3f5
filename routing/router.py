"""Who answers a request: the stages, in their order, and the decision they come to.

explicit model → who can take it → a client's background job → the conversation's expert → rules → classifier →
program → default. A stage that fails is noted and passed over: what is left decides.
"""

import datetime as dt
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from django.utils import timezone

from routing import features
from routing.backends.protocol import ChatRequest
from routing.catalog import Catalog, Expert, Profile
from routing.choosing import Look, candidates, said, size
from routing.classifier.reading import read
from routing.classifying import Classifying, Opinion, shared_classifying
from routing.conversations import Held, turn_keys
from routing.decision import Candidate, Decision, Outlook, Stage, new_id
from routing.features import Asker, Features
from routing.judging import Outcome, judge_all
from routing.mixture.plan import planned
from routing.named import explicit, nobody, none_of
from routing.pool import shared_pool
from routing.program.deciding import Deciding, shared_deciding
from routing.program.opinion import ProgramOpinion

logger = logging.getLogger(__name__)

WINDOW_DOUBT = 0.6
"""An estimate of tokens must pass a window by this much before an expert is passed over for it."""
EARLIER_TURNS = 3


def _no_outlook(expert: Expert, needs: frozenset[str]) -> Outlook:
    return Outlook()


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
    program: ProgramOpinion | None = None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Decides; ``look`` tells how experts stand at the moment.

    ``classifying`` None leaves the classifier out, ``deciding`` None the program.
    """

    classifying: Classifying | None = None
    deciding: Deciding | None = None
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
            return _settled(decision, choice, catalog, clock, Outcome())
        chosen = await self._chosen(decision, request, seen, able, catalog, asker, now, clock)
        return planned(chosen, request, able, catalog)

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
        holder = await self._holder(turns, seen, able, catalog) if profile.sticky and not seen.task else None
        outcome = judge_all(
            # The words of a background job are those of the conversation it is about.
            (rule for rule in catalog.rules if not (seen.task and rule.reads_words)),
            seen,
            asker,
            request.metadata,
            profile.slug,
            now or timezone.localtime(),
            able=able.keys(),
            held=holder is not None,
        )
        clock.stage("rules", f"“{outcome.by.name}”" if outcome.by else "none named an expert")
        if outcome.expert:
            assert outcome.by is not None
            choice = _Choice(
                expert=able[outcome.expert], route="rule", why=f"rule “{outcome.by.name}” fits: {outcome.why}"
            )
        elif seen.task:
            choice = self._quickest({slug: able[slug] for slug in outcome.candidates or able}, seen, catalog)
            clock.stage("task", choice.expert.slug)
        elif holder:
            choice = _Choice(expert=able[holder], route="held", why=f"the conversation is with {holder}")
        else:
            allowed = {slug: able[slug] for slug in outcome.candidates or able}
            choice = await self._learned(allowed, profile, seen, catalog, clock)
        settled = _settled(replace(decision, held=holder), choice, catalog, clock, outcome)
        if turns[1]:
            lasts = choice.sure or choice.route in ("rule", "held")
            self.held.set(turns[1], choice.expert.slug, lasts=lasts)
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
            return self.look(expert, seen.needs).start + size(expert, seen.needs) / 20, slug != catalog.default, slug

        return _Choice(
            expert=able[min(able, key=burden)],
            route="task",
            why=f"a chat client's background job ({seen.task.replace('_', ' ')}): the quickest small expert does it",
        )

    async def _holder(
        self, turns: tuple[str, str], seen: Features, able: Mapping[str, Expert], catalog: Catalog
    ) -> str | None:
        """Return the expert that has the conversation, if one has and can take this turn.

        It has it once a rule, a classifier that was sure or the program gave it a turn. The default expert takes what
        nobody else does, so it lets go of a conversation that becomes somebody's. Within a tool loop whoever began it
        goes on.
        """
        if seen.in_tool_loop and (found := self.held.get(turns[1])) and found[0] in able:
            return found[0]
        if not seen.earlier or not turns[0]:
            return None
        before = self.held.get(turns[0])
        if before is None:
            return await self._earlier_expert(seen, able, catalog)
        expert, lasts = before
        return expert if lasts and expert in able and expert != catalog.default else None

    async def _earlier_expert(self, seen: Features, able: Mapping[str, Expert], catalog: Catalog) -> str | None:
        """Return the first expert that an earlier turn was surely for: another process may have decided it."""
        for text in seen.earlier[:EARLIER_TURNS]:
            opinion = await self._opinion(Features(text=text, reading=read(text)))
            best = max(able, key=lambda slug: opinion.probabilities.get(slug, 0.0))
            if opinion.probabilities.get(best, 0.0) >= opinion.abstain and best != catalog.default:
                return best
        return None

    async def _learned(
        self, allowed: Mapping[str, Expert], profile: Profile, seen: Features, catalog: Catalog, clock: Clock
    ) -> _Choice:
        """Return what the classifier chooses or, where it is not sure and the profile has it asked, the program."""
        opinion = await self._opinion(seen)
        choice = self._by_opinion(opinion, allowed, profile, seen, catalog)
        clock.stage(
            "classifier",
            f"{opinion.layer or 'skipped'}{', remembered' if opinion.remembered else ''}: "
            f"{choice.expert.slug if choice.route == 'classifier' else 'no answer'}",
        )
        choice = replace(choice, skipped=opinion.skipped)
        if choice.sure or self.deciding is None or not profile.asks_program or len(allowed) < 2:
            return choice
        program = await self.deciding.opinion(seen, allowed)
        if program is None:
            return choice
        clock.stage("program", program.result)
        choice = replace(choice, program=program, skipped=(*choice.skipped, *program.skipped))
        return _by_program(choice, program, allowed)

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
        found = candidates(opinion, allowed, profile, seen.needs, self.look)
        if not found:
            return _nobody_knows(opinion, allowed, catalog)
        best = max(candidate.probability for candidate in found)
        first = found[0]
        sure = best >= opinion.abstain
        return _Choice(
            expert=allowed[first.expert],
            route="classifier",
            why=said(found, sure=sure),
            confidence=first.probability,
            sure=sure,
            candidates=found,
        )


NOBODY = Expert(slug="")
_held = Held()


def shared_router() -> Router:
    """Return the router of this process, with the running event loop's pool to tell how experts stand."""
    return Router(classifying=shared_classifying(), deciding=shared_deciding(), look=shared_pool().outlook, held=_held)


def _by_program(choice: _Choice, program: ProgramOpinion, allowed: Mapping[str, Expert]) -> _Choice:
    """Return ``choice`` as the program makes it; what the classifier thought of the experts stays."""
    verdict = program.verdict
    if verdict is None or not program.accepted:
        return choice
    return replace(
        choice,
        expert=allowed[verdict.expert],
        route="program",
        why=f"the program chooses {verdict.expert} {verdict.confidence:.0%}{program.quoted}",
        confidence=verdict.confidence,
        sure=True,
    )


def _nobody_knows(opinion: Opinion, allowed: Mapping[str, Expert], catalog: Catalog) -> _Choice:
    why = "no rule fitted"
    if opinion.probabilities:
        why += " and it looks like nothing the classifier knows"
    if catalog.default is not None and catalog.default in allowed:
        return _Choice(expert=allowed[catalog.default], route="default", why=f"{why}; the default expert answers")
    expert = next(iter(allowed.values()))
    return _Choice(expert=expert, route="fallback", why=f"{why} and the default expert cannot take the request")


def _installed_model(needs: frozenset[str], catalog: Catalog, profile: Profile) -> _Choice:
    if profile.experts:
        raise none_of(profile, needs, catalog)
    for model in catalog.models.values():
        if model.replicas_that(needs):
            return _Choice(expert=model, route="fallback", why="no expert can take the request; an installed model can")
    raise nobody(needs, catalog)


def _settled(
    decision: Decision,
    choice: _Choice,
    catalog: Catalog,
    clock: Clock,
    outcome: Outcome,
) -> Decision:
    """Return ``decision`` with the choice, its fallbacks, and what profile and rules add."""
    profile = decision.profile
    assert profile is not None
    blind = decision.without_images
    chain = [catalog.experts[slug] for slug in choice.expert.fallbacks if slug in catalog.experts]
    fallbacks = tuple(
        profile.lends(expert)
        for expert in chain
        if profile.fallbacks
        and expert.replicas_that(decision.needs)
        and (not profile.experts or expert.slug in profile.experts)
        and (not blind or expert.text_only or profile.text_only)
    )
    return replace(
        decision,
        expert=profile.lends(choice.expert),
        route=choice.route,
        why=choice.why,
        confidence=choice.confidence,
        sure=choice.sure,
        candidates=choice.candidates,
        program=choice.program,
        fallbacks=fallbacks,
        outcome=outcome,
        collections=tuple(dict.fromkeys((*outcome.collections, *profile.collections))),
        skipped=choice.skipped,
        stages=tuple(clock.stages),
    )
