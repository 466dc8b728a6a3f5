// The official Node SDK on /v1/responses: an answer, the stream helper, a tool call, an error in a stream.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const ask = { model: "general", input: "Hello" };
const tools = [{
  type: "function", name: "weather", strict: false, parameters: { type: "object", properties: {} },
}];

const answer = await client.responses.create(ask);

let streamed = "";
const helper = client.responses.stream(ask);
helper.on("response.output_text.delta", (event) => { streamed = event.snapshot; });
const final = await helper.finalResponse();

const called = (await client.responses.stream({ ...ask, tools }).finalResponse()).output[0];
const done = [
  { role: "user", content: "Hello" }, called,
  { type: "function_call_output", call_id: called.call_id, output: "sunny" },
];
const afterwards = await client.responses.create({ ...ask, input: done, tools });

let failed = null;
const types = [];
try {
  for await (const event of await client.responses.create({ ...ask, stream: true })) types.push(event.type);
} catch (caught) {
  failed = { name: caught.constructor.name, code: caught.code, last: types.at(-1) };
}

console.log(JSON.stringify({
  answer: answer.output_text,
  streamed,
  final: [final.status, final.output_text, final.usage.total_tokens > 0],
  called: [called.type, called.name, JSON.parse(called.arguments)],
  afterwards: afterwards.output_text,
  failed,
}));
