// The Vercel AI SDK on its OpenAI-compatible provider: text, a stream, and a tool that is run.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAICompatible({
  name: "moe", baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, includeUsage: true,
});
const model = provider("general");

const { text, usage } = await generateText({ model, prompt: "Hello", maxRetries: 0 });

let streamed = "";
for await (const piece of streamText({ model, prompt: "Hello", maxRetries: 0 }).textStream) streamed += piece;

const ran = [];
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => { ran.push(city); return "sunny"; },
});
const run = await generateText({
  model, prompt: "Weather?", tools: { weather }, stopWhen: stepCountIs(2), maxRetries: 0,
});

console.log(JSON.stringify({ text, streamed, tokens: usage.totalTokens, ran, afterwards: run.text }));
