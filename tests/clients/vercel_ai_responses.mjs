// The Vercel AI SDK on its OpenAI provider, which speaks /v1/responses: text, a stream with thinking, a tool that is run.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const model = provider.responses("general");
// Nothing is kept for this key, so items are sent whole.
const providerOptions = { openai: { store: false, reasoningSummary: "auto", forceReasoning: true } };

const { text, usage } = await generateText({ model, prompt: "Hello", maxRetries: 0, providerOptions });

let streamed = "", thought = "";
const stream = streamText({ model: provider.responses("reasoning"), prompt: "Hello", maxRetries: 0, providerOptions });
for await (const part of stream.fullStream) {
  if (part.type === "text-delta") streamed += part.text;
  if (part.type === "reasoning-delta") thought += part.text;
}

const ran = [];
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => { ran.push(city); return "sunny"; },
});
const run = await generateText({
  model, prompt: "Weather?", tools: { weather }, stopWhen: stepCountIs(2), maxRetries: 0, providerOptions,
});

const { output } = await generateText({
  model, prompt: "Where?", maxRetries: 0, providerOptions,
  output: Output.object({ schema: z.object({ city: z.string() }) }),
});

console.log(JSON.stringify({
  text, tokens: usage.totalTokens, streamed, thought, ran, afterwards: run.text, output,
}));
