"""Who answers a request."""

from typing import Any

import pytest

from routing import features
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Replica
from routing.exceptions import BadRequest, EndpointError, ModelNotFound, Unavailable
from routing.pool import without_images
from routing.router import Decision, decide
from routing.rules import Rule
from tests.requests import HELLO, chat_request, image, text, tool

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
    *rules: tuple[str, str], models: dict[str, Replica] | None = None, default: str | None = "general", **experts: Any
) -> Catalog:
    """Return a catalog of ``experts`` (their replicas, or one); each of ``rules`` is a keyword and an expert."""
    rows = {slug: found if isinstance(found, tuple) else (found,) for slug, found in experts.items()}
    return Catalog(
        experts={
            slug: Expert(slug=slug, id=number, replicas=found) for number, (slug, found) in enumerate(rows.items())
        },
        models={tag: Expert(slug=tag, replicas=(found,)) for tag, found in (models or {}).items()},
        rules=tuple(
            Rule(id=number, name=f"{word} words", priority=number, expert=expert, keywords=(word,))
            for number, (word, expert) in enumerate(rules)
        ),
        default=default,
    )


def asked(content: Any = "Hello", **fields: Any) -> Decision:
    """Return the decision on one user message; ``catalog`` is among ``fields``."""
    shelf = fields.pop("catalog")
    return decide(chat_request(**{"messages": [{"role": "user", "content": content}]} | fields), shelf)


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
def test_who_is_asked_for_by_name_answers(name, slug):
    shelf = catalog(
        ("python", "code"),
        general=CHATS,
        code=CHATS,
        models={"llama3.2:3b": CHATS, "mistral:latest": CHATS, "general": CHATS},
    )
    decision = asked("some python", model=name, catalog=shelf)
    assert (decision.expert.slug, decision.route) == (slug, "explicit")
    assert name in decision.why


def test_an_expert_goes_before_a_model_of_the_same_name():
    shelf = catalog(general=USES_TOOLS, models={"general": CHATS})
    assert asked(model="general", catalog=shelf).expert is shelf.experts["general"]


@pytest.mark.parametrize("name", ["gpt-4o", "Code", "llama3.2", "auto:latest", "\ud83d"], ids=ascii)
def test_an_unknown_name_is_not_found_and_says_where_to_look(name):
    with pytest.raises(ModelNotFound, match="GET /v1/models") as caught:
        asked(model=name, catalog=catalog(general=CHATS, code=CHATS, models={"llama3.2:3b": CHATS}))
    error = caught.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert f"'{name}'" in error.message


@pytest.mark.parametrize(
    ("fields", "missing"),
    [({"tools": [tool()]}, "tools"), (PICTURE, "vision"), (PICTURE | {"tools": [tool()]}, "tools, vision")],
    ids=["tools", "image", "both"],
)
def test_who_is_asked_for_by_name_must_be_able(fields, missing):
    with pytest.raises(BadRequest, match=f"needs: {missing}. Ask for 'auto'") as caught:
        decide(chat_request(model="code", **fields), catalog(general=UNTOLD, code=CHATS))
    assert (caught.value.param, caught.value.code) == ("model", "unsupported_value")


def test_an_expert_without_replicas_is_unavailable_when_asked_for():
    with pytest.raises(Unavailable, match="no replica") as caught:
        asked(model="code", catalog=catalog(general=CHATS, code=()))
    assert caught.value.retry_after is not None


# Auto: rules


def test_a_rule_that_fits_decides():
    shelf = catalog(("python", "code"), ("translate", "translation"), general=CHATS, code=CHATS, translation=CHATS)
    decision = asked("Translate this", catalog=shelf)
    assert (decision.expert.slug, decision.route) == ("translation", "rule")
    assert decision.why == "rule 'translate words' found “Translate”"


def test_the_first_rule_in_order_decides():
    shelf = catalog(("python", "code"), ("translate", "translation"), general=CHATS, code=CHATS, translation=CHATS)
    assert asked("translate this python", catalog=shelf).expert.slug == "code"


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
def test_a_rule_whose_expert_cannot_take_the_request_is_passed_over(code, chosen):
    shelf = catalog(("python", "code"), ("script", "hands"), general=CHATS, code=code, hands=USES_TOOLS)
    decision = asked("a python script", tools=[tool()], catalog=shelf)
    assert (decision.expert.slug, decision.route) == (chosen, "rule")
    assert decision.needs == {"tools"}


def test_a_rule_for_an_expert_that_is_gone_is_passed_over():
    decision = asked("python", catalog=catalog(("python", "gone"), general=CHATS))
    assert (decision.expert.slug, decision.route) == ("general", "default")


# Auto: default and fallback


def test_the_default_expert_answers_when_no_rule_fits():
    decision = asked("Hello", catalog=catalog(("python", "code"), code=CHATS, general=CHATS))
    assert (decision.expert.slug, decision.route) == ("general", "default")


@pytest.mark.parametrize("default", ["general", None, "gone"])
def test_another_expert_answers_when_the_default_cannot(default):
    shelf = catalog(general=CHATS, first=CHATS, eyes=SEES, more_eyes=SEES, models={"llava": SEES}, default=default)
    decision = decide(chat_request(**PICTURE), shelf)
    assert (decision.expert.slug, decision.route) == ("eyes", "fallback")


@pytest.mark.parametrize("general", [CHATS, ()], ids=["cannot", "no replica"])
def test_an_installed_model_answers_when_no_expert_can(general):
    shelf = catalog(general=general, models={"llama3.2:3b": CHATS, "llava:7b": SEES})
    decision = decide(chat_request(**PICTURE), shelf)
    assert (decision.expert.slug, decision.route) == ("llava:7b", "fallback")


def test_whose_server_tells_no_capabilities_is_trusted():
    decision = decide(chat_request(tools=[tool()], **PICTURE), catalog(general=UNTOLD))
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
def test_what_no_model_here_can_take_is_a_bad_request(fields, param, missing, shelf):
    with pytest.raises(BadRequest, match=f"needs: {missing}") as caught:
        decide(chat_request(**fields), shelf)
    assert caught.value.param == param


@pytest.mark.parametrize("fields", [{}, {"tools": [tool()]}, PICTURE], ids=["text", "tools", "image"])
@pytest.mark.parametrize(
    "shelf", [catalog(general=()), catalog(default=None), catalog(general=(), code=())], ids=["general", "none", "two"]
)
def test_without_any_model_the_service_is_unavailable(fields, shelf):
    with pytest.raises(Unavailable, match="administrator") as caught:
        decide(chat_request(**fields), shelf)
    assert caught.value.status == 503
    assert caught.value.retry_after is not None


def test_every_decision_has_an_id_of_its_own():
    ids = {asked(catalog=catalog(general=CHATS)).id for _ in range(100)}
    assert len(ids) == 100


@pytest.mark.parametrize("error", [ModelNotFound, BadRequest])
def test_what_the_client_asked_wrongly_is_tried_nowhere_else(error: type[EndpointError]):
    assert not error.may_fail_over


class TestWithoutImages:
    def shelf(self, *, allowed):
        expert = Expert(slug="general", replicas=(CHATS,), text_only=allowed)
        return Catalog(experts={"general": expert}, models={}, rules=(), default="general")

    @pytest.mark.parametrize("model", ["auto", "general"])
    def test_only_where_an_administrator_allowed_it(self, model):
        request = chat_request(model=model, **PICTURE)
        decision = decide(request, self.shelf(allowed=True))
        assert (decision.expert.slug, decision.without_images) == ("general", True)
        sent = without_images(request)
        assert not sent.has_images
        assert "cannot see" in sent.messages[0].text
        with pytest.raises(BadRequest):
            decide(request, self.shelf(allowed=False))
