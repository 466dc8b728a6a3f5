"""Who answers a request."""

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest

from routing import features
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import AUTO, Catalog, Expert, Profile, Replica
from routing.classifying import Opinion
from routing.decision import Decision, Outlook
from routing.exceptions import BadRequest, EndpointError, ModelNotFound, Unavailable
from routing.features import Asker
from routing.named import decide_embedding, no_embedder, no_model, to_fill_in
from routing.preparing import prepare, without_images
from routing.router import Router
from routing.rules import Rule
from tests.requests import HELLO, chat_request, image, text, tool, tool_turn

SERVER = ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box:11434")
PICTURE = {"messages": [{"role": "user", "content": [text("What is this?"), image("data:image/png;base64,AAAA")]}]}


def replica(*capabilities: str, tag: str = "m") -> Replica:
    """Return a replica whose model tells ``capabilities``; without any, its server tells nothing."""
    told = frozenset(capabilities) if capabilities else None
    return Replica(server=SERVER, embedded=False, model=tag, capabilities=told)


CHATS = replica("completion")
USES_TOOLS = replica("completion", "tools")
SEES = replica("completion", "vision")
UNTOLD = replica()


def catalog(
    *rules: tuple[str, str] | Rule,
    models: dict[str, Replica] | None = None,
    default: str | None = "general",
    profile: dict[str, Any] | None = None,
    profiles: tuple[Profile, ...] = (),
    **experts: Any,
) -> Catalog:
    """Return a catalog of ``experts`` (their replicas, or one); each of ``rules`` is one, or a keyword and an expert.

    ``profile`` is what is special about auto, ``profiles`` are others.
    """
    rows = {slug: found if isinstance(found, tuple) else (found,) for slug, found in experts.items()}
    return Catalog(
        experts={
            slug: Expert(slug=slug, id=number, replicas=found) for number, (slug, found) in enumerate(rows.items())
        },
        models={tag: Expert(slug=tag, replicas=(found,)) for tag, found in (models or {}).items()},
        rules=tuple(
            rule
            if isinstance(rule, Rule)
            else Rule(id=number, name=f"{rule[0]} words", priority=number, expert=rule[1], keywords=(rule[0],))
            for number, rule in enumerate(rules)
        ),
        default=default,
        profiles={one.slug: one for one in (Profile(slug=AUTO, **(profile or {})), *profiles)},
    )


async def decide(request: Any, shelf: Catalog, *, router: Router | None = None, **how: Any) -> Decision:
    return await (router or Router()).decide(request, shelf, **how)


async def asked(content: Any = "Hello", **fields: Any) -> Decision:
    """Return the decision on one user message; ``catalog``, and perhaps a ``router``, are among ``fields``."""
    shelf, router = fields.pop("catalog"), fields.pop("router", None)
    request = chat_request(**{"messages": [{"role": "user", "content": content}]} | fields)
    return await decide(request, shelf, router=router)


# What a request looks like


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, set()),
        ({"tools": [tool()]}, {"tools"}),
        ({"tools": [tool()], "tool_choice": "none"}, set()),
        ({"tools": []}, set()),
        (PICTURE, {"vision"}),
        (PICTURE | {"tools": [tool()]}, {"vision", "tools"}),
        ({"messages": [*PICTURE["messages"], {"role": "assistant", "content": "A cat."}, HELLO]}, {"vision"}),
    ],
    ids=["text", "tools", "tools withheld", "no tools", "image", "both", "image in an earlier turn"],
)
def test_images_need_vision_and_tools_need_tools(fields, needs):
    assert features.extract(chat_request(**fields)).needs == needs


@pytest.mark.parametrize(
    ("messages", "seen"),
    [
        ([HELLO], "Hello"),
        ([HELLO, {"role": "assistant", "content": "python"}, {"role": "user", "content": "Thanks"}], "Thanks"),
        ([HELLO, {"role": "assistant", "content": "python"}], "Hello"),
        ([{"role": "system", "content": "python"}, HELLO], "Hello"),
        ([HELLO, {"role": "tool", "tool_call_id": "a", "content": "python"}], "Hello"),
        ([{"role": "user", "content": [text("one "), text("two")]}], "one two"),
        ([{"role": "system", "content": "python"}], ""),
        ([HELLO, {"role": "user", "content": [image("data:;base64,AAAA")]}], ""),
    ],
)
def test_the_last_user_turn_is_what_rules_read(messages, seen):
    assert features.extract(chat_request(messages=messages)).text == seen


# Asked for by name


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("code", "code"),
        ("llama3.2:3b", "llama3.2:3b"),
        ("mistral", "mistral:latest"),
        ("mistral:latest", "mistral:latest"),
        ("general", "general"),
    ],
)
async def test_who_is_asked_for_by_name_answers(name, slug):
    shelf = catalog(
        ("python", "code"),
        general=CHATS,
        code=CHATS,
        models={"llama3.2:3b": CHATS, "mistral:latest": CHATS, "general": CHATS},
    )
    decision = await asked("some python", model=name, catalog=shelf)
    assert (decision.expert.slug, decision.route) == (slug, "explicit")
    assert name in decision.why


async def test_an_expert_goes_before_a_model_of_the_same_name():
    shelf = catalog(general=USES_TOOLS, models={"general": CHATS})
    assert (await asked(model="general", catalog=shelf)).expert is shelf.experts["general"]


@pytest.mark.parametrize("name", ["gpt-4o", "Code", "llama3.2", "auto:latest", "\ud83d"], ids=ascii)
async def test_an_unknown_name_is_not_found_and_says_where_to_look(name):
    with pytest.raises(ModelNotFound, match="GET /v1/models") as caught:
        await asked(model=name, catalog=catalog(general=CHATS, code=CHATS, models={"llama3.2:3b": CHATS}))
    error = caught.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert f"'{name}'" in error.message


@pytest.mark.parametrize("refusal", [no_model, no_embedder])
def test_who_may_not_ask_for_auto_is_not_told_to(refusal):
    assert "'auto'" in refusal("gpt-4o").message.partition("does not exist")[2]
    assert "'auto'" not in refusal("auto").message.partition("does not exist")[2]


@pytest.mark.parametrize(
    ("fields", "missing"),
    [({"tools": [tool()]}, "tools"), (PICTURE, "vision"), (PICTURE | {"tools": [tool()]}, "tools, vision")],
    ids=["tools", "image", "both"],
)
async def test_who_is_asked_for_by_name_must_be_able(fields, missing):
    with pytest.raises(BadRequest, match=f"needs: {missing}. Ask for 'auto'") as caught:
        await decide(chat_request(model="code", **fields), catalog(general=UNTOLD, code=CHATS))
    assert (caught.value.param, caught.value.code) == ("model", "unsupported_value")


async def test_an_expert_without_replicas_is_unavailable_when_asked_for():
    with pytest.raises(Unavailable, match="no replica") as caught:
        await asked(model="code", catalog=catalog(general=CHATS, code=()))
    assert caught.value.retry_after is not None


# Auto: rules


async def test_a_rule_that_fits_decides():
    shelf = catalog(("python", "code"), ("translate", "translation"), general=CHATS, code=CHATS, translation=CHATS)
    decision = await asked("Translate this", catalog=shelf)
    assert (decision.expert.slug, decision.route) == ("translation", "rule")
    assert decision.why == "rule “translate words” fits: found “Translate”"


async def test_the_first_rule_in_order_decides():
    shelf = catalog(("python", "code"), ("translate", "translation"), general=CHATS, code=CHATS, translation=CHATS)
    assert (await asked("translate this python", catalog=shelf)).expert.slug == "code"


@pytest.mark.parametrize(
    ("code", "chosen"),
    [
        (CHATS, "hands"),
        (USES_TOOLS, "code"),
        (UNTOLD, "code"),
        ((CHATS, USES_TOOLS), "code"),
        ((), "hands"),
    ],
    ids=["cannot", "can", "not told", "one replica can", "no replica"],
)
async def test_a_rule_whose_expert_cannot_take_the_request_is_passed_over(code, chosen):
    shelf = catalog(("python", "code"), ("script", "hands"), general=CHATS, code=code, hands=USES_TOOLS)
    decision = await asked("a python script", tools=[tool()], catalog=shelf)
    assert (decision.expert.slug, decision.route) == (chosen, "rule")
    assert decision.needs == {"tools"}


async def test_a_rule_for_an_expert_that_is_gone_is_passed_over():
    decision = await asked("python", catalog=catalog(("python", "gone"), general=CHATS))
    assert (decision.expert.slug, decision.route) == ("general", "default")


# Auto: default and fallback


async def test_the_default_expert_answers_when_no_rule_fits():
    decision = await asked("Hello", catalog=catalog(("python", "code"), code=CHATS, general=CHATS))
    assert (decision.expert.slug, decision.route) == ("general", "default")


@pytest.mark.parametrize("default", ["general", None, "gone"])
async def test_another_expert_answers_when_the_default_cannot(default):
    shelf = catalog(general=CHATS, first=CHATS, eyes=SEES, more_eyes=SEES, models={"llava": SEES}, default=default)
    decision = await decide(chat_request(**PICTURE), shelf)
    assert (decision.expert.slug, decision.route) == ("eyes", "fallback")


@pytest.mark.parametrize("general", [CHATS, ()], ids=["cannot", "no replica"])
async def test_an_installed_model_answers_when_no_expert_can(general):
    shelf = catalog(general=general, models={"llama3.2:3b": CHATS, "llava:7b": SEES})
    decision = await decide(chat_request(**PICTURE), shelf)
    assert (decision.expert.slug, decision.route) == ("llava:7b", "fallback")


async def test_whose_server_tells_no_capabilities_is_trusted():
    decision = await decide(chat_request(tools=[tool()], **PICTURE), catalog(general=UNTOLD))
    assert (decision.expert.slug, decision.route) == ("general", "default")


# Nobody


@pytest.mark.parametrize(
    ("fields", "param", "missing"),
    [
        ({"tools": [tool()]}, "tools", "tools"),
        (PICTURE, "messages", "vision"),
        (PICTURE | {"tools": [tool()]}, "tools", "tools, vision"),
    ],
    ids=["tools", "image", "both"],
)
@pytest.mark.parametrize(
    "shelf",
    [catalog(general=CHATS), catalog(general=(), models={"m": CHATS}), catalog(default=None, models={"m": CHATS})],
    ids=["experts", "models", "only models"],
)
async def test_what_no_model_here_can_take_is_a_bad_request(fields, param, missing, shelf):
    with pytest.raises(BadRequest, match=f"needs: {missing}") as caught:
        await decide(chat_request(**fields), shelf)
    assert caught.value.param == param


@pytest.mark.parametrize("fields", [{}, {"tools": [tool()]}, PICTURE], ids=["text", "tools", "image"])
@pytest.mark.parametrize(
    "shelf", [catalog(general=()), catalog(default=None), catalog(general=(), code=())], ids=["general", "none", "two"]
)
async def test_without_any_model_the_service_is_unavailable(fields, shelf):
    with pytest.raises(Unavailable, match="administrator") as caught:
        await decide(chat_request(**fields), shelf)
    assert caught.value.status == 503
    assert caught.value.retry_after is not None


async def test_every_decision_has_an_id_of_its_own():
    ids = {(await asked(catalog=catalog(general=CHATS))).id for _ in range(100)}
    assert len(ids) == 100


@pytest.mark.parametrize("error", [ModelNotFound, BadRequest])
def test_what_the_client_asked_wrongly_is_tried_nowhere_else(error: type[EndpointError]):
    assert not error.may_fail_over


class TestWithoutImages:
    def shelf(self, *, allowed):
        expert = Expert(slug="general", replicas=(CHATS,), text_only=allowed)
        return Catalog(experts={"general": expert}, models={}, rules=(), default="general")

    @pytest.mark.parametrize("model", ["auto", "general"])
    async def test_only_where_an_administrator_allowed_it(self, model):
        request = chat_request(model=model, **PICTURE)
        decision = await decide(request, self.shelf(allowed=True))
        assert (decision.expert.slug, decision.without_images) == ("general", True)
        sent = without_images(request)
        assert not sent.has_images
        assert "cannot see" in sent.messages[0].text
        with pytest.raises(BadRequest):
            await decide(request, self.shelf(allowed=False))


# The classifier


class Says:
    """A classifier that says of each text what it was told to; ``asked`` is what it was asked."""

    def __init__(self, texts: dict[str, dict[str, float]] | None = None, *, abstain: float = 0.6, **always: float):
        self.texts = texts or {}
        self.always = always
        self.abstain = abstain
        self.asked: list[str] = []

    async def opinion(self, prompt: str, reading: Any) -> Opinion:
        self.asked.append(prompt)
        return Opinion(probabilities=self.texts.get(prompt, self.always), abstain=self.abstain, layer="quick")


def routed(classifying: Any = None, **starts: float | Outlook) -> Router:
    """Return a router; ``starts`` is how soon each expert would start, or how it stands."""

    def look(expert: Expert, needs: frozenset[str]) -> Outlook:
        found = starts.get(expert.slug, 0.3)
        return found if isinstance(found, Outlook) else Outlook(start=found)

    return Router(classifying=classifying, look=look)


THREE = {"general": CHATS, "code": CHATS, "math": CHATS}


async def test_the_classifier_decides_where_no_rule_does():
    decision = await asked(
        "Sort this", catalog=catalog(**THREE), router=routed(Says(code=0.8, math=0.15, general=0.05))
    )
    assert (decision.expert.slug, decision.route, decision.sure) == ("code", "classifier", True)
    assert decision.confidence == pytest.approx(0.8)
    assert [one.expert for one in decision.candidates] == ["code", "math", "general"]


async def test_a_rule_goes_before_the_classifier_which_is_not_asked():
    says = Says(code=0.9)
    decision = await asked("A sum", catalog=catalog(("sum", "math"), **THREE), router=routed(says))
    assert (decision.expert.slug, decision.route, says.asked) == ("math", "rule", [])


async def test_an_unsure_classifiers_best_guess_answers():
    decision = await asked(catalog=catalog(**THREE), router=routed(Says(code=0.45, math=0.25, general=0.3)))
    assert (decision.expert.slug, decision.route, decision.sure) == ("code", "classifier", False)
    assert "not sure" in decision.why


@pytest.mark.parametrize("says", [Says(code=0.05, math=0.06), Says(poetry=0.9), Says()], ids=["low", "foreign", "none"])
async def test_of_a_kind_nobody_knows_the_default_answers(says):
    decision = await asked(catalog=catalog(**THREE), router=routed(says))
    assert (decision.expert.slug, decision.route) == ("general", "default")


async def test_a_classifier_that_fails_is_passed_over_and_named():
    class Broken:
        async def opinion(self, text: str, reading: Any) -> Opinion:
            raise RuntimeError("weights are gone")

    shelf = catalog(("python", "code"), **THREE)
    decision = await asked(catalog=shelf, router=routed(Broken()))
    assert (decision.expert.slug, decision.route) == ("general", "default")
    assert "weights are gone" in decision.skipped[0]
    assert (await asked("python", catalog=shelf, router=routed(Broken()))).route == "rule"


async def test_a_rules_candidates_are_all_the_classifier_may_choose_from():
    only = Rule(id=1, name="numbers", keywords=("sum",), candidates=("math", "general"), stop=False)
    says = Says(code=0.6, math=0.3, general=0.1)
    decision = await asked("a sum", catalog=catalog(only, **THREE), router=routed(says))
    assert (decision.expert.slug, decision.route) == ("math", "classifier")


async def test_a_rule_may_look_at_who_asks_and_at_labels():
    rules = (
        Rule(id=1, name="sales", groups=("sales",), expert="math"),
        Rule(id=2, name="editor", headers={"user-agent": "vscode*"}, expert="code"),
        Rule(id=3, name="labelled", metadata={"team": "dev*"}, expert="code"),
    )
    shelf = catalog(*rules, **THREE)
    request = chat_request()
    chosen = [
        (await decide(request, shelf, asker=Asker(group="sales"))).expert.slug,
        (await decide(request, shelf, asker=Asker(headers={"user-agent": "vscode/1"}))).expert.slug,
        (await decide(chat_request(metadata={"team": "devops"}), shelf)).expert.slug,
        (await decide(request, shelf)).expert.slug,
    ]
    assert chosen == ["math", "code", "code", "general"]


async def test_a_rules_hour_is_the_one_it_is_asked_at():
    shelf = catalog(Rule(id=1, name="night", from_time=dt.time(22), until_time=dt.time(6), expert="math"), **THREE)
    for hour, expert in ((23, "math"), (12, "general")):
        decision = await decide(chat_request(), shelf, now=dt.datetime(2026, 1, 5, hour, tzinfo=dt.UTC))
        assert decision.expert.slug == expert


async def test_what_rules_demand_is_applied_to_the_request():
    rule = Rule(
        id=1,
        name="brief",
        keywords=("hello",),
        overrides={"max_tokens": 9},
        system_mode="append",
        system_text="Be brief.",
    )
    request = chat_request()
    applied = (await decide(request, catalog(rule, general=CHATS))).applied_to(request)
    assert (applied.sampling.max_tokens, applied.messages[0].text) == (9, "Be brief.")


# Profiles

CODERS = Profile(slug="coders", experts=frozenset({"code", "math"}))


async def test_a_profile_restricts_who_answers():
    shelf = catalog(("cook", "general"), profiles=(CODERS,), **THREE)
    says = Says(general=0.8, code=0.05, math=0.15)
    decision = await asked("cook", model="coders", catalog=shelf, router=routed(says))
    assert (decision.expert.slug, decision.route) == ("math", "classifier")
    assert ("general", "not one of profile coders") in decision.filtered
    assert (await asked("cook", model="coders", catalog=shelf)).route == "fallback"
    assert (await asked("cook", catalog=shelf)).expert.slug == "general"


async def test_what_none_of_a_profiles_experts_can_take_goes_to_nobody_else():
    shelf = catalog(models={"llava": SEES, "tooled": USES_TOOLS}, profiles=(CODERS,), general=USES_TOOLS, code=CHATS)
    for fields in ({"tools": [tool()]}, PICTURE):
        with pytest.raises(BadRequest, match="'coders'") as caught:
            await decide(chat_request(model="coders", **fields), shelf)
        assert caught.value.param == "model"
    with pytest.raises(Unavailable, match="'coders'"):
        await asked(model="coders", catalog=catalog(models={"m": CHATS}, profiles=(CODERS,), general=CHATS, code=()))


async def test_a_gap_is_filled_by_one_of_the_profiles_experts():
    filler = replica("completion", "insert")
    shelf = catalog(profiles=(CODERS,), general=filler, code=filler, math=CHATS, models={"m": filler})
    decision = await asked(model="coders", catalog=shelf, router=routed(Says(math=0.9)))
    assert decision.expert.slug == "math"
    assert to_fill_in(decision, "coders", shelf).expert.slug == "code"


@pytest.mark.parametrize(
    ("fields", "system", "temperature"),
    [({}, "The profile's.", 0.1), ({"temperature": 0.9}, "The profile's.", 0.9)],
    ids=["nothing said", "the client says"],
)
async def test_a_profiles_prompt_and_defaults_go_before_the_experts(fields, system, temperature):
    expert = Expert(
        slug="general", system_prompt="The expert's.", defaults={"temperature": 0.5, "top_p": 0.7}, replicas=(CHATS,)
    )
    profile = {"system_prompt": "The profile's.", "defaults": {"temperature": 0.1}}
    shelf = replace(catalog(profile=profile), experts={"general": expert})
    request = chat_request(**fields)
    decision = await decide(request, shelf)
    call = prepare(decision.expert, CHATS, decision.applied_to(request))
    assert (call.messages[0].text, call.request.sampling.temperature) == (system, temperature)
    assert call.request.sampling.top_p == 0.7
    named = await decide(chat_request(model="general"), shelf)
    assert prepare(named.expert, CHATS, request).messages[0].text == "The expert's."


async def test_a_profile_says_whether_an_experts_fallbacks_may_answer():
    experts = {
        "code": Expert(slug="code", fallbacks=("general", "math"), replicas=(CHATS,)),
        "general": Expert(slug="general", replicas=(CHATS,)),
        "math": Expert(slug="math", replicas=(CHATS,)),
    }
    alone = Profile(slug="alone", fallbacks=False)
    shelf = replace(catalog(("python", "code"), profiles=(alone, CODERS)), experts=experts)
    found = {
        model: [expert.slug for expert in (await asked("python", model=model, catalog=shelf)).fallbacks]
        for model in ("auto", "alone", "coders", "code")
    }
    assert found == {"auto": ["general", "math"], "alone": [], "coders": ["math"], "code": ["general", "math"]}


@pytest.mark.parametrize(("allowed", "expert_allows"), [(True, False), (None, True)])
async def test_a_profile_may_allow_images_to_be_left_out(allowed, expert_allows):
    experts = {"general": Expert(slug="general", replicas=(CHATS,), text_only=expert_allows)}
    decision = await decide(chat_request(**PICTURE), replace(catalog(profile={"text_only": allowed}), experts=experts))
    assert decision.without_images
    with pytest.raises(BadRequest):
        await decide(chat_request(**PICTURE), replace(catalog(profile={"text_only": False}), experts=experts))


async def test_a_disabled_profile_does_not_exist():
    with pytest.raises(ModelNotFound):
        await asked(model="auto-fast", catalog=catalog(general=CHATS))


def test_a_profile_makes_no_embeddings_but_auto():
    shelf = catalog(profiles=(CODERS,), general=CHATS)
    assert decide_embedding("auto", shelf).route == "default"
    with pytest.raises(BadRequest, match="no embeddings"):
        decide_embedding("coders", shelf)


# Experts that suit about equally

AUTO_FAST = Profile(slug="auto-fast", speed=2.0)
AUTO_BEST = Profile(slug="auto-best", speed=0.0, strength=1.0)
AUTO_CHEAP = Profile(slug="auto-cheap", speed=0.1, cost=2.0)


def contest() -> Catalog:
    """Return a catalog where code suits best, math starts soonest, reasoning is largest and writing cheapest."""
    rows = {"code": (7.0, 5.0), "math": (7.0, 5.0), "reasoning": (70.0, 9.0), "writing": (7.0, 0.1)}
    experts = {
        slug: Expert(
            slug=slug, price_in=price, price_out=price, replicas=(replace(CHATS, model=slug, parameters=size),)
        )
        for slug, (size, price) in rows.items()
    }
    return replace(catalog(default=None, profiles=(AUTO_FAST, AUTO_BEST, AUTO_CHEAP)), experts=experts)


@pytest.mark.parametrize(
    ("model", "chosen"),
    [("auto", "code"), ("auto-fast", "math"), ("auto-best", "reasoning"), ("auto-cheap", "writing")],
)
async def test_of_those_that_suit_alike_the_profile_tells_which(model, chosen):
    router = routed(Says(code=0.28, math=0.24, reasoning=0.24, writing=0.24), code=6, math=0.1, reasoning=6, writing=6)
    decision = await asked(model=model, catalog=contest(), router=router)
    assert (decision.expert.slug, decision.route) == (chosen, "classifier")


@pytest.mark.parametrize("model", ["auto", "auto-fast", "auto-best", "auto-cheap"])
async def test_who_clearly_suits_best_answers_in_any_case(model):
    router = routed(Says(code=0.85, math=0.05, reasoning=0.05, writing=0.05), code=30, math=0.1)
    assert (await asked(model=model, catalog=contest(), router=router)).expert.slug == "code"


async def test_even_auto_does_not_wait_for_a_load_where_it_makes_no_difference():
    router = routed(Says(code=0.26, math=0.25, reasoning=0.25, writing=0.24), code=12, math=0.1)
    assert (await asked(catalog=contest(), router=router)).expert.slug == "math"


# Who cannot take it at the moment


def windowed(**tokens: int) -> dict[str, Replica]:
    return {slug: replace(CHATS, model=slug, context_length=window) for slug, window in tokens.items()}


async def test_a_prompt_goes_to_who_has_the_room():
    shelf = catalog(("python", "code"), **windowed(code=100, general=100_000))
    assert (await asked("python", catalog=shelf)).expert.slug == "code"
    decision = await asked("python " * 2000, catalog=shelf)
    assert (decision.expert.slug, decision.route) == ("general", "default")
    assert dict(decision.filtered)["code"].endswith("do not fit its window of 100")


async def test_what_fits_nobodys_window_still_gets_somebody_who_says_so():
    assert (await asked("word " * 5000, catalog=catalog(**windowed(code=100, general=100)))).expert.slug == "general"


async def test_an_expert_whose_replicas_fail_is_passed_over():
    shelf = catalog(("python", "code"), **THREE)
    decision = await asked("python", catalog=shelf, router=routed(code=Outlook(works=False)))
    assert (decision.expert.slug, decision.route) == ("general", "default")
    assert ("code", "its replicas fail at the moment") in decision.filtered


async def test_when_everybody_fails_somebody_is_still_chosen():
    gone = Outlook(works=False)
    shelf = catalog(("python", "code"), **THREE)
    decision = await asked("python", catalog=shelf, router=routed(code=gone, general=gone, math=gone))
    assert (decision.expert.slug, decision.route) == ("code", "rule")


# Background jobs of chat clients

TITLE = "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n\n<chat_history>…"


def sized(slug: str, size: float) -> Expert:
    return Expert(slug=slug, replicas=(replace(CHATS, model=slug, parameters=size),))


async def test_a_clients_background_job_goes_to_a_small_expert_in_memory():
    experts = {slug: sized(slug, size) for slug, size in (("general", 70), ("small", 3), ("tiny", 0.5))}
    shelf = replace(catalog(("title", "general")), experts=experts)
    says = Says(general=0.9)
    decision = await asked(TITLE, catalog=shelf, router=routed(says, general=0.3, small=0.3, tiny=12))
    assert (decision.expert.slug, decision.route, decision.task) == ("small", "task", "title")
    assert says.asked == []


# Conversations


def conversation(*turns: str, **fields: Any) -> dict[str, Any]:
    """Return the fields of a request whose user turns are ``turns``, each but the last one answered."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": "Well."}]
    return {"messages": messages[:-1]} | fields


FIRST, NEXT = "Write a script", "And why is that?"
CODE_THEN_CHAT = {FIRST: {"code": 0.9, "general": 0.1}, NEXT: {"general": 0.9, "code": 0.1}}


async def turns(router: Router, shelf: Catalog, *texts: str, tenant: str = "", **fields: Any) -> Decision:
    """Return the decision on the last of ``texts``, after those on the ones before it."""
    for count in range(1, len(texts) + 1):
        request = chat_request(**conversation(*texts[:count], **fields))
        decision = await decide(request, shelf, router=router, asker=Asker(tenant=tenant))
    return decision


async def test_a_conversation_stays_with_its_specialist():
    decision = await turns(routed(Says(CODE_THEN_CHAT)), catalog(**THREE), FIRST, NEXT, NEXT)
    assert (decision.expert.slug, decision.route, decision.held) == ("code", "held", "code")


async def test_the_default_expert_lets_go_of_a_conversation():
    decision = await turns(routed(Says(CODE_THEN_CHAT)), catalog(**THREE), NEXT, FIRST)
    assert (decision.expert.slug, decision.route) == ("code", "classifier")


async def test_a_profile_may_not_hold_conversations():
    shelf = catalog(profile={"sticky": False}, **THREE)
    assert (await turns(routed(Says(CODE_THEN_CHAT)), shelf, FIRST, NEXT)).expert.slug == "general"


async def test_a_tool_loop_stays_with_whoever_began_it():
    says = Says({FIRST: {"general": 0.9}})
    router, shelf = routed(says), catalog(general=USES_TOOLS, code=USES_TOOLS)
    asked_first = [{"role": "user", "content": FIRST}]
    await decide(chat_request(messages=asked_first, tools=[tool()]), shelf, router=router)
    says.texts = {FIRST: {"code": 0.9}}  # it was trained anew meanwhile
    loop = [tool_turn(("a", "get_weather", "{}")), {"role": "tool", "tool_call_id": "a", "content": "sunny"}]
    decision = await decide(chat_request(messages=[*asked_first, *loop], tools=[tool()]), shelf, router=router)
    assert (decision.expert.slug, decision.route) == ("general", "held")


async def test_another_process_tells_the_expert_from_earlier_turns():
    decision = await decide(
        chat_request(**conversation(FIRST, NEXT)), catalog(**THREE), router=routed(Says(CODE_THEN_CHAT))
    )
    assert (decision.expert.slug, decision.route) == ("code", "held")


async def test_another_process_does_not_guess_from_turns_it_is_not_sure_of():
    says = Says({FIRST: {"code": 0.5, "general": 0.3}, NEXT: {"math": 0.9, "code": 0.1}})
    decision = await decide(chat_request(**conversation(FIRST, NEXT)), catalog(**THREE), router=routed(says))
    assert (decision.expert.slug, decision.route) == ("math", "classifier")


async def test_conversations_that_begin_alike_are_each_keys_own():
    says = Says(CODE_THEN_CHAT)
    router, shelf = routed(says), catalog(**THREE)
    await turns(router, shelf, FIRST, tenant="one")
    says.texts = {NEXT: {"math": 0.9}}
    request = chat_request(**conversation(FIRST, NEXT))
    assert (await decide(request, shelf, router=router, asker=Asker(tenant="one"))).expert.slug == "code"
    assert (await decide(request, shelf, router=router, asker=Asker(tenant="two"))).expert.slug == "math"


async def test_a_turn_that_the_holder_cannot_take_moves_the_conversation():
    router, shelf = routed(Says(CODE_THEN_CHAT)), catalog(general=CHATS, code=CHATS, eyes=SEES)
    await turns(router, shelf, FIRST)
    fields = conversation(FIRST, "Look")
    fields["messages"][-1]["content"] = [text("Look"), image("data:image/png;base64,AAAA")]
    assert (await decide(chat_request(**fields), shelf, router=router)).expert.slug == "eyes"


@pytest.mark.parametrize(("interrupts", "chosen"), [(False, "code"), (True, "math")])
async def test_only_a_rule_that_interrupts_moves_a_conversation(interrupts, chosen):
    rule = Rule(id=1, name="why", keywords=("why",), expert="math", interrupts=interrupts)
    decision = await turns(routed(Says(CODE_THEN_CHAT)), catalog(rule, **THREE), FIRST, NEXT)
    assert decision.expert.slug == chosen


# The whole why


async def test_a_decision_tells_everything_but_the_prompt():
    shelf = catalog(("python", "code"), profiles=(CODERS,), general=CHATS, code=CHATS, eyes=())
    decision = await asked("My secret is out", catalog=shelf, router=routed(Says(general=0.7, code=0.3)))
    body = json.loads(json.dumps(decision.body()))
    assert (body["expert"], body["route"], body["decision"]) == ("general", "classifier", decision.id)
    explain = body["explain"]
    assert [stage["stage"] for stage in explain["stages"]] == ["features", "filters", "rules", "classifier"]
    assert explain["filtered"] == [{"expert": "eyes", "reason": "no replica on an enabled model server"}]
    assert [rule["fits"] for rule in explain["rules"]] == [False]
    assert [one["expert"] for one in explain["candidates"]] == ["general", "code"]
    assert "secret" not in json.dumps(body)


ABOUT_PYTHON = "### Task:\nGenerate a concise, 3-5 word title for this chat about python"


async def test_a_background_job_does_not_get_round_a_rule_about_who_asks():
    ours = Rule(id=1, name="Legal stays here", groups=("legal",), candidates=("local",))
    shelf = catalog(ours, general=UNTOLD, local=UNTOLD)
    request = chat_request(model="auto", messages=[{"role": "user", "content": ABOUT_PYTHON}])
    decision = await Router().decide(request, shelf, asker=Asker(group="legal"))
    assert (decision.expert.slug, decision.route) == ("local", "task")
    assert (await Router().decide(request, shelf)).expert.slug == "general"


async def test_the_words_a_background_job_is_about_choose_nobody():
    decision = await asked(ABOUT_PYTHON, catalog=catalog(("python", "code"), general=UNTOLD, code=UNTOLD))
    assert (decision.expert.slug, decision.route) == ("general", "task")
