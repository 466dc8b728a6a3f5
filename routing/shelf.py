"""The standard shelf: the experts an installation starts with, proposed from what is installed.

Everything here becomes rows an administrator edits; nothing is read again once they exist.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from routing.models import Expert, InstalledModel, ModelServer, Replica, RoutingRule
from routing.shelfrules import RULE_NOTE, RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place on the shelf: the expert that stands there and what marks a model made for it."""

    slug: str
    name: str
    description: str
    system_prompt: str = ""
    made_for: str = r"(?!)"
    capability: str | None = None
    optional: bool = False


SHELF: Sequence[Place] = (
    Place(
        slug="general",
        name="General",
        description="Everyday questions, short facts, advice, recipes, travel, small talk.",
        system_prompt="You are a helpful assistant. Answer clearly and briefly, and say so when you do not know.",
    ),
    Place(
        slug="translation",
        name="Translation",
        description="Translates between languages and explains how something is said in another language.",
        system_prompt=(
            "You are a professional translator. Answer with the translation alone, in the language asked for. "
            "Keep names, numbers, tone and formatting."
        ),
        made_for=r"translat|\baya\b|madlad|towerinstruct",
    ),
    Place(
        slug="summarization",
        name="Summarization",
        description="Shortens, recaps or merges a text that is given.",
        system_prompt=(
            "You summarise texts. Keep to what the text says, put the most important first, and leave out your "
            "own opinion."
        ),
    ),
    Place(
        slug="extraction",
        name="Extraction",
        description="Pulls named fields, entities or facts out of a text that is given, as a list, table or JSON.",
        system_prompt=(
            "You extract information from texts. Give exactly the fields asked for, copied from the text, in the "
            "format asked for. Write null for what the text does not say."
        ),
    ),
    Place(
        slug="code",
        name="Code",
        description="Writes, fixes, explains and designs software: programs, shell, SQL, regular expressions, tools.",
        system_prompt=(
            "You are an experienced programmer. Give correct, complete code in a fenced block with its language, "
            "then explain only what is not obvious."
        ),
        made_for=r"cod(?:er|e|estral)|devstral|starcoder",
    ),
    Place(
        slug="math",
        name="Math",
        description="Calculates, proves and solves: a number, a formula or a proof is the answer.",
        system_prompt=(
            "You are a careful mathematician. Work step by step, check the result, and end with the answer on a "
            "line of its own."
        ),
        made_for=r"math",
    ),
    Place(
        slug="reasoning",
        name="Reasoning",
        description="Logic puzzles, explanations of why and how, trade-offs, analysis of a situation.",
        system_prompt=(
            "You reason carefully. State the assumptions, weigh the alternatives one after another, and end with a "
            "clear conclusion."
        ),
        made_for=r"\br1\b|deepseek-r|qwq|reason|gpt-oss|magistral",
        capability="thinking",
    ),
    Place(
        slug="writing",
        name="Writing",
        description="Stories, poems, mails, posts, titles, role play; rewriting, paraphrasing and proof-reading.",
        system_prompt=(
            "You are a skilled writer and editor. Match the form, tone and length asked for, and write no preface "
            "about what you are going to do."
        ),
    ),
    Place(
        slug="simple-code",
        name="Quick code",
        description="Small programming asks a quick model does well: one-liners, a command, a short regex, syntax.",
        system_prompt="You are a quick programming helper. Give the shortest correct answer, code first.",
    ),
    Place(
        slug="enterprise",
        name="Enterprise",
        description="Business and office matters: policies, compliance, procurement, HR processes, risks, projects.",
        system_prompt=(
            "You advise companies on policies, processes, compliance and projects. Be precise, structured and "
            "practical, and name what depends on local law or on facts you do not have."
        ),
    ),
    Place(
        slug="aggregation",
        name="Aggregation",
        description="Merges several given answers, drafts or opinions into one, and says where they disagree.",
        system_prompt=(
            "You are given several answers or texts on one matter. Merge them into one that is correct and complete, "
            "without repeating, and say where they contradict each other."
        ),
    ),
    Place(
        slug="lookup",
        name="Lookup",
        description="Answers from the organisation's own documents: policies, handbooks, release notes, contracts.",
        system_prompt=(
            "You answer from the documents you are given, and quote them. When they do not hold the answer, say so "
            "instead of guessing."
        ),
    ),
    Place(
        slug="vision",
        name="Vision",
        description="Looks at images: describes, reads and compares them.",
        system_prompt="You look at images closely. Say what is there, and say so when something cannot be made out.",
        made_for=r"vision|llava|-vl\b|moondream|minicpm-v",
        capability="vision",
        optional=True,
    ),
)


@transaction.atomic
def shelf_seed() -> None:
    """Create the standard experts and their keyword rules, once: only where there is no expert at all."""
    if Expert.objects.exists():
        return
    for number, place in enumerate(SHELF, start=1):
        if place.optional:
            continue
        rules_seed(_create_expert(place, number))


def rules_seed(expert: Expert) -> None:
    """Create the rules the shelf has for ``expert``."""
    for number, (slug, fields) in enumerate(RULES, start=1):
        if slug == expert.slug and not RoutingRule.objects.filter(name=fields["name"]).exists():
            RoutingRule.objects.create(priority=number * 10, expert=expert, note=RULE_NOTE, **fields)


def _create_expert(place: Place, number: int) -> Expert:
    return Expert.objects.create(
        slug=place.slug,
        name=place.name,
        description=place.description,
        system_prompt=place.system_prompt,
        is_default=place.slug == "general",
        position=number * 10,
    )


@transaction.atomic
def replicas_propose(server: ModelServer) -> int:
    """Put each expert of the shelf on ``server``'s best model for it, and return how many replicas were made.

    Done once a server (``proposed_at``), when it first shows models, so that nothing an administrator removed
    comes back.
    """
    installed = [model for model in server.installed_models.all() if model.answers_chats]
    if not installed or server.proposed_at:
        return 0
    made = 0
    for number, place in enumerate(SHELF, start=1):
        model = best_model(place, installed)
        if model is None:
            continue
        expert = Expert.objects.filter(slug=place.slug).first()
        if expert is None and place.optional:
            expert = _create_expert(place, number)
            rules_seed(expert)
        if expert is not None:
            _, created = Replica.objects.get_or_create(expert=expert, server=server, model=model.name)
            made += created
    server.proposed_at = timezone.now()
    server.save(update_fields=["proposed_at"])
    return made


def best_model(place: Place, installed: Iterable[InstalledModel]) -> InstalledModel | None:
    """Return the model of ``installed`` that suits ``place`` best, or None if the place is for special models only.

    A model made for the place wins, then one that tells the place's capability, then the largest general one:
    places without a model of their own share one, so that the server does not swap models between them.
    """
    installed = list(installed)
    special = [model for model in installed if re.search(place.made_for, model.name, re.IGNORECASE)]
    if place.capability:
        able = [model for model in installed if place.capability in (model.capabilities or ())]
        special = [model for model in special if model.capabilities is None or model in able] or able
    if special:
        return max(special, key=_size)
    if place.optional:
        return None
    others = "|".join(other.made_for for other in SHELF)
    general = [model for model in installed if not re.search(others, model.name, re.IGNORECASE)]
    return max(general or installed, key=_size, default=None)


def _size(model: InstalledModel) -> tuple[float, str]:
    """Return the number of parameters, guessed from the file where the server does not tell, and the name for ties."""
    # The usual four-bit quantisation takes about 0.6 bytes a parameter.
    return model.parameters or (model.size_bytes or 0) / 0.6e9, model.name
