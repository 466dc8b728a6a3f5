import asyncio
import json

import pytest

from knowledge import reranking
from knowledge.passages import Passage
from knowledge.reranking import numbers_in, reranked
from routing.catalog import catalog
from routing.models import Expert, InstalledModel, ModelServer, Replica
from routing.pool import close_shared_pool
from tests.scripted import Reply, ScriptedServer


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        ('{"order": [3, 1]}', [2, 0]),
        ("[2] > [1] > [3]", [1, 0, 2]),
        ('{"order": [9, 2, 2, 0, 1]}', [1, 0]),
        ("none of them helps", []),
        ("", []),
        ('{"order": [1000000000000000000000]}', []),
    ],
)
def test_numbers_in_an_answer(answer, order):
    assert numbers_in(answer, 3) == order


PASSAGES = tuple(
    Passage(chunk=n, document=1, revision=1, ordinal=n, collection="c", title="T", source="s", text=f"passage {n}")
    for n in range(3)
)


@pytest.mark.django_db(transaction=True)
class TestReranking:
    @pytest.fixture
    def server(self):
        with ScriptedServer(["llama3.2:3b"]) as server:
            row = ModelServer.objects.create(name="box", base_url=server.url)
            InstalledModel.objects.create(server=row, name="llama3.2:3b", capabilities=["completion"])
            expert = Expert.objects.create(slug="judge", name="Judge")
            Replica.objects.create(expert=expert, server=row, model="llama3.2:3b")
            catalog.forget()
            yield server

    def rerank(self):
        async def main():
            try:
                return await reranked("judge", "What?", PASSAGES)
            finally:
                await close_shared_pool()

        return asyncio.run(main())

    def test_the_experts_order_counts_and_what_it_leaves_out_stays_behind(self, server):
        server.reply(Reply(content=json.dumps({"order": [3, 1]})))
        passages, note, step = self.rerank()
        assert [one.chunk for one in passages] == [2, 0, 1]
        assert passages[0].rerank_score == 1.0
        assert passages[2].rerank_score is None
        assert note == ""
        assert step.result == "judge placed 2 of 3"
        prompt = server.requests[-1].json["messages"][-1]["content"]
        assert "[3] T\npassage 2" in prompt

    @pytest.mark.parametrize("content", ["I like all of them.", "{}"])
    def test_an_answer_without_an_order_changes_nothing_and_is_told(self, server, content):
        server.reply(Reply(content=content))
        passages, note, _ = self.rerank()
        assert passages == PASSAGES
        assert "gave no order" in note

    def test_an_expert_that_fails_or_is_slow_changes_nothing_and_is_told(self, server, monkeypatch):
        server.reply(Reply(status=500), times=None)
        passages, note, _ = self.rerank()
        assert passages == PASSAGES
        assert "did not answer; the order is the search's own" in note
        monkeypatch.setattr(reranking, "SECONDS", 0.2)
        server.clear()
        server.reply(Reply(content="[1]", first_delay=5))
        passages, note, _ = self.rerank()
        assert passages == PASSAGES
        assert "within" in note
