"""LangChain's ChatOpenAI: an answer, a stream with usage, and tool calls."""

import json
import os

from langchain_openai import ChatOpenAI, OpenAIEmbeddings

options = {"base_url": os.environ["BASE_URL"], "api_key": os.environ["API_KEY"], "max_retries": 0}
model = ChatOpenAI(model="general", stream_usage=True, **options)
pieces = list(model.stream("Hello"))
called = model.bind_tools(
    [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
).invoke("Weather?")
vectors = OpenAIEmbeddings(model="nomic-embed-text:latest", check_embedding_ctx_length=False, **options)
print(
    json.dumps(
        {
            "answer": model.invoke("Hello").content,
            "streamed": "".join(piece.content for piece in pieces),
            "usage": sum((piece.usage_metadata or {}).get("total_tokens", 0) for piece in pieces),
            "called": [[call["name"], call["args"]] for call in called.tool_calls],
            "embedding": [len(vector) for vector in vectors.embed_documents(["one", "two"])],
        }
    )
)
