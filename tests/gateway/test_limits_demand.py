"""What a request is expected to take, and how limits are told: pure."""

import datetime as dt
from dataclasses import replace

import pytest

from gateway.limits.claims import NEVER, Claim, Limit, Standing, Taken
from gateway.limits.demand import ANSWER_GUESS, chat_demand, embedding_demand, text_demand
from gateway.limits.headers import ratelimit_headers, span
from gateway.limits.refusals import QuotaSpent, RateLimited, refusal
from routing.backends.generation import TextRequest
from routing.backends.protocol import ChatRequest, Message, Sampling, ServerAddress, ServerKind, Text
from routing.catalog import Expert, Mixing, Mode, Replica
from routing.decision import Decision
from routing.mixture.plan import Plan
from routing.tokens import TokenCounter

BOX = Replica(
    server=ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box"), embedded=False, model="m"
)
EXPERT = Expert(slug="general", replicas=(BOX,), price_in=1.0, price_out=10.0)
DECISION = Decision(id="dec", expert=EXPERT, route="default", why="")
WORDS = "x" * 380  # a hundred tokens
NOON = dt.datetime(2026, 11, 26, 12, 0, tzinfo=dt.UTC)


def asked(text=WORDS, *, max_tokens=None, **fields):
    message = Message(role="user", parts=(Text(text=text),))
    return ChatRequest(model="auto", messages=(message,), sampling=Sampling(max_tokens=max_tokens), **fields)


def chat(request, decision=DECISION, counter=None):
    return chat_demand(request, decision, counter or TokenCounter())


class TestChats:
    def test_prompt_and_the_longest_answer(self):
        demand = chat(asked(max_tokens=50))
        assert (demand.tokens, demand.least) == (155, 155)
        assert (demand.cost, demand.least_cost) == (60_500, 60_500)  # 0.000605 in hundred-millionths

    def test_an_answer_without_a_limit_is_guessed_and_need_not_fit(self):
        demand = chat(asked())
        assert (demand.tokens, demand.least) == (105 + ANSWER_GUESS, 106)

    @pytest.mark.parametrize(
        ("request_fields", "defaults", "answer"),
        [
            ({"options": {"num_predict": 7}}, {}, 7),
            ({"options": {"num_predict": -1}}, {}, ANSWER_GUESS),
            ({}, {"max_tokens": 9}, 9),
            ({"max_tokens": 50}, {"max_tokens": 9}, 50),
        ],
    )
    def test_whoever_limits_the_answer(self, request_fields, defaults, answer):
        decision = replace(DECISION, expert=replace(EXPERT, defaults=defaults))
        assert chat(asked(**request_fields), decision).tokens == 105 + answer

    def test_several_answers_read_the_prompt_once(self):
        assert chat(asked(max_tokens=50, n=3)).tokens == 105 + 150

    def test_several_experts_each_read_it_for_each_answer(self):
        others = tuple(replace(EXPERT, slug=name) for name in "abc")
        plan = Plan(mode=Mode.MIXTURE, members=others, aggregator=EXPERT, mixing=Mixing(breadth=3))
        demand = chat(asked(max_tokens=50, n=2), replace(DECISION, plan=plan))
        assert demand.tokens == 2 * 4 * 155

    def test_an_experts_own_words_count_and_what_servers_counted_before(self):
        counter = TokenCounter()
        for _ in range(20):
            counter.of("m").learn(100, 200)
        decision = replace(DECISION, expert=replace(EXPERT, system_prompt=WORDS))
        assert chat(asked(max_tokens=0), decision, counter).tokens == pytest.approx(2 * 205 + ANSWER_GUESS, abs=5)


def test_each_prompt_of_a_text_completion_has_its_answer():
    request = TextRequest(chat=asked(max_tokens=50), prompts=(WORDS, WORDS), suffix=WORDS)
    assert text_demand(request, DECISION, TokenCounter()).tokens == 2 * (200 + 50)


def test_embeddings_are_read_only():
    demand = embedding_demand((WORDS, WORDS), EXPERT, TokenCounter())
    assert (demand.tokens, demand.least, demand.cost) == (200, 200, 20_000)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0ms"),
        (20, "20ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1001, "2s"),
        (360_000, "6m0s"),
        (46_805_000, "13h0m5s"),
    ],
)
def test_times_are_written_as_openai_does(milliseconds, text):
    assert span(milliseconds) == text


def standing(name, most, used, *, subject="key:1", amount=10, granted=None, **fields):
    return Standing(Claim(Limit(subject, name, most), amount, amount), granted, used, **fields)


def test_of_a_minutes_and_a_days_tokens_the_fewest_left_are_told():
    minute = standing("tokens_per_minute", 1000, 100, granted=10, reset=30_000)
    day = standing("tokens_per_day", 5000, 4500, granted=10)
    assert ratelimit_headers([minute, day], NOON) == {
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "500",
        "x-ratelimit-reset-tokens": "12h0m0s",
    }


class TestRefusals:
    def told(self, *standings):
        return refusal(Taken(standings), NOON)

    def test_name_the_limit_that_lasts_longest(self):
        minute = standing("tokens_per_minute", 100, 95, wait=20_000)
        requests = standing("requests_per_minute", 3, 3, wait=50_000, subject="group:sales")
        error = self.told(minute, requests, standing("tokens_per_day", 9, 1, granted=3))
        assert isinstance(error, RateLimited)
        assert error.retry_after == 50
        assert error.message.startswith("The group 'sales' has sent 3 requests in the last minute")
        assert isinstance(self.told(minute, standing("tokens_per_month", 9, 9)), QuotaSpent)

    def test_of_cost_in_the_currency_of_prices(self):
        error = self.told(standing("cost_per_month", 250_000_000, 250_000_000))
        assert error.message == (
            "This API key has spent its budget for this month: 2.50 of 2.50 of cost. It is renewed at 2026-12-01 00:00 "
            "UTC; ask an administrator for more."
        )

    def test_of_a_request_that_is_larger_than_what_is_left(self):
        error = self.told(standing("tokens_per_day", 5000, 4500, amount=700))
        assert "may take about 700 tokens, and this API key has 500 left of its 5,000 for today" in error.message
        assert (error.should_retry, error.retry_after) == (False, None)

    @pytest.mark.parametrize(
        ("name", "most", "says"),
        [
            (
                "tokens_per_day",
                300,
                "700 tokens, prompt and answer together, and the budget of this API key is 300 for",
            ),
            (
                "cost_per_month",
                300_000_000,
                "7.00 of cost, prompt and answer together, and the budget of this API key is 3.00",
            ),
        ],
    )
    def test_of_a_request_that_no_day_or_month_would_hold(self, name, most, says):
        amount = 700 if name.startswith("tokens") else 700_000_000
        error = self.told(standing(name, most, 0, amount=amount, wait=NEVER))
        assert isinstance(error, QuotaSpent)
        assert says in error.message
        assert "it can never be let in. Shorten the prompt, send a smaller max_tokens" in error.message
        assert "renewed" not in error.message

    def test_of_a_cost_where_none_is_permitted(self):
        error = self.told(standing("cost_per_day", 0, 0, wait=NEVER))
        assert error.message == (
            "This API key may only ask for what costs nothing. Ask for another model, or ask an administrator for a "
            "higher limit."
        )

    def test_of_seats(self):
        error = self.told(standing("concurrent_requests", 4, 4))
        assert "4 requests running, and its limit is 4 at the same time" in error.message
        assert error.retry_after == 1
