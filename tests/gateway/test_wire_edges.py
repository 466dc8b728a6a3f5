"""What clients send at the edges of the protocol."""

import base64

import pytest

from gateway.wire import parse_chat
from routing.backends import codec
from routing.exceptions import BadRequest

MESSAGES = [{"role": "user", "content": "Hi"}]


def parse(**fields):
    return parse_chat(codec.dumps({"model": "auto", "messages": MESSAGES} | fields))


def test_no_limit_stays_no_limit():
    assert parse(options={"num_predict": -1}).options == {"num_predict": -1}
    assert parse(options={"num_predict": -1.0}).sampling.max_tokens is None


def test_an_empty_list_of_stops_is_none():
    assert parse(stop=[]).sampling.stop is None


def test_include_usage_is_true_or_false():
    with pytest.raises(BadRequest) as caught:
        parse(stream_options={"include_usage": "false"})
    assert caught.value.param == "include_usage"


@pytest.mark.parametrize("data", ["", "not base64!", "abc"])
def test_an_image_that_is_none_is_told(data):
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    with pytest.raises(BadRequest) as caught:
        parse(messages=[{"role": "user", "content": [part]}])
    assert caught.value.param == "messages[0].content[0]"


def test_an_image_is_read():
    data = base64.b64encode(b"x").decode()
    part = {"type": "image_url", "image_url": f"data:image/webp;base64,{data}"}
    [image] = parse(messages=[{"role": "user", "content": [part]}]).messages[0].images
    assert (image.data, image.mime) == (data, "image/webp")
