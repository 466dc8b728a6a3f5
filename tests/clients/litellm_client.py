"""LiteLLM as a client: an answer, a stream, and tool calls put together by its own builder."""

import json
import os

import litellm

options = {
    "model": "openai/general",
    "api_base": os.environ["BASE_URL"],
    "api_key": os.environ["API_KEY"],
    "messages": [{"role": "user", "content": "Hello"}],
    "num_retries": 0,
}
tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
answer = litellm.completion(**options)
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(stream=True, **options))
called = litellm.stream_chunk_builder(list(litellm.completion(stream=True, tools=tools, **options)))
calls = [[call.function.name, json.loads(call.function.arguments)] for call in called.choices[0].message.tool_calls]
print(json.dumps({"answer": answer.choices[0].message.content, "streamed": streamed, "called": calls}))
