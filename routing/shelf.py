"""The standard shelf: the experts an installation starts with, proposed from what is installed.

Everything here becomes rows an administrator edits; nothing is read again once they exist.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from routing.models import Expert, InstalledModel, ModelServer, Replica, RoutingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place on the shelf: the expert that stands there and what marks a model made for it."""

    slug: str
    name: str
    description: str
    system_prompt: str = ""
    keywords: tuple[str, ...] = ()
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
        keywords=(
            "translate",
            "translation",
            "how do you say",
            "traduce",
            "traduis",
            "traduire",
            "übersetze",
            "übersetzung",
            "traduci",
            "traduza",
            "翻译",
            "翻譯",
            "переведи",
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
        keywords=(
            "summarize",
            "summarise",
            "summary",
            "tl;dr",
            "tldr",
            "recap",
            "key points",
            "resume este",
            "resumen",
            "résume",
            "résumé",
            "zusammenfassung",
            "fasse zusammen",
            "riassunto",
            "总结",
            "摘要",
            "概括",
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
        keywords=(
            "extract",
            "pull out",
            "list all the names",
            "named entities",
            "as json",
            "extrae",
            "extraire",
            "extrahiere",
            "estrai",
            "提取",
            "抽取",
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
        keywords=(
            "python",
            "javascript",
            "typescript",
            "java",
            "c++",
            "c#",
            "rust",
            "golang",
            "sql",
            "html",
            "css",
            "bash",
            "shell script",
            "regex",
            "regular expression",
            "function",
            "algorithm",
            "stack trace",
            "traceback",
            "compile",
            "compiler",
            "debug",
            "unit test",
            "api endpoint",
            "git",
            "docker",
            "kubernetes",
            "pandas",
            "django",
            "react",
            "def",
            "programa",
            "código",
            "代码",
            "函数",
            "编程",
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
        keywords=(
            "solve",
            "equation",
            "integral",
            "derivative",
            "calculate",
            "compute",
            "probability",
            "theorem",
            "prove",
            "how many",
            "percent",
            "square root",
            "matrix",
            "algebra",
            "geometry",
            "ecuación",
            "calcula",
            "berechne",
            "calcule",
            "计算",
            "方程",
            "求解",
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
        keywords=(
            "why",
            "explain why",
            "logic puzzle",
            "riddle",
            "step by step",
            "pros and cons",
            "trade-off",
            "tradeoffs",
            "analyze",
            "analyse",
            "what would happen if",
            "deduce",
            "por qué",
            "pourquoi",
            "warum",
            "perché",
            "为什么",
            "分析",
            "推理",
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
        keywords=(
            "write a",
            "write an",
            "poem",
            "story",
            "essay",
            "email",
            "e-mail",
            "blog post",
            "letter",
            "lyrics",
            "rewrite",
            "rephrase",
            "paraphrase",
            "proofread",
            "slogan",
            "speech",
            "escribe",
            "écris",
            "schreibe",
            "scrivi",
            "写一",
            "作文",
            "改写",
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
        expert = _create_expert(place, number)
        if place.keywords:
            RoutingRule.objects.create(
                name=f"{place.name} words",
                priority=number * 10,
                keywords=list(place.keywords),
                expert=expert,
                note="From the standard shelf. Edit, reorder or disable it as you like.",
            )


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
    match = re.match(r"(?:(\d+)X)?([\d.]+)\s*([KMBT])", model.parameter_size.upper())
    if match:
        return int(match[1] or 1) * float(match[2]) * {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[match[3]], model.name
    # The usual four-bit quantisation takes about 0.6 bytes a parameter.
    return (model.size_bytes or 0) / 0.6, model.name
