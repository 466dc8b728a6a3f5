"""What runs beside the requests."""

import logging

import pytest

from moe_site import background
from tests.conftest import new_data_dir
from tests.serving import Served

HELLO = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


async def test_what_cannot_be_loaded_beforehand_is_a_line_in_the_log(monkeypatch, caplog):
    class Broken:
        async def aget(self):
            raise OSError("the weights are gone")

    monkeypatch.setattr(background, "keys", Broken())
    with caplog.at_level(logging.WARNING):
        await background.warm_up()
    assert "the weights are gone" in caplog.text


@pytest.mark.served
def test_decisions_are_written_although_the_process_is_stopped_at_once(ollama):
    environment = {"OLLAMA_BASE_URL": ollama.url, "INGESTION_CONCURRENCY": "0"}
    running = Served(new_data_dir(), environment=environment).start()
    try:
        told = running.http().post("/v1/chat/completions", json=HELLO).headers["x-moe-decision"]
    finally:
        assert running.stop() == 0
    assert "Traceback" not in running.output()
    read = f"from routing.models import DecisionRecord as D; print(D.objects.get(id={told!r}).outcome)"
    assert running.manage("shell", "--verbosity", "0", "-c", read).split() == ["stop"]
