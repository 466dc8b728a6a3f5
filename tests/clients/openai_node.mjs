// The official Node SDK: an answer, a stream, a tool call put together from a stream, and an error.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello" }];
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];

const answer = await client.chat.completions.create({ model: "general", messages });

let streamed = "";
let usage = null;
const stream = await client.chat.completions.create({
  model: "general", messages, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}

const helper = client.chat.completions.stream({ model: "general", messages, tools });
const called = (await helper.finalChatCompletion()).choices[0];

const embedding = await client.embeddings.create({ model: "nomic-embed-text:latest", input: ["one", "two"] });

let error = null;
try {
  await client.chat.completions.create({ model: "no-such-model", messages });
} catch (caught) {
  error = { name: caught.constructor.name, status: caught.status, code: caught.code, id: Boolean(caught.requestID) };
}

console.log(JSON.stringify({
  answer: answer.choices[0].message.content,
  streamed,
  usage: usage.total_tokens,
  called: called.message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
  finish: called.finish_reason,
  embedding: embedding.data.map((item) => item.embedding.length),
  error,
}));
