// The official Node SDK on files and vector stores: made, filled, searched, changed and deleted.
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const text = (name, words) => toFile(Buffer.from(words), name);

const store = await client.vectorStores.create({ name: "Node handbook", metadata: { team: "people" } });
const batch = await client.vectorStores.fileBatches.uploadAndPoll(store.id, {
  files: [
    await text("leave.md", "Sick leave is approved by the team lead."),
    await text("travel.md", "Trains are booked by the office."),
  ],
});
const file = await client.files.create({
  file: await text("pets.md", "Dogs stay at home on Mondays."),
  purpose: "assistants",
  expires_after: { anchor: "created_at", seconds: 3600 },
});
const added = await client.vectorStores.files.createAndPoll(store.id, {
  file_id: file.id,
  attributes: { topic: "pets", year: 2024 },
  chunking_strategy: { type: "static", static: { max_chunk_size_tokens: 100, chunk_overlap_tokens: 10 } },
});

const search = async (query, filters) =>
  (await client.vectorStores.search(store.id, { query, filters, max_num_results: 3 })).data;
const found = (await search("Who approves sick leave?"))[0];
const filtered = await search("Monday", { type: "eq", key: "topic", value: "pets" });

await client.vectorStores.files.update(file.id, { vector_store_id: store.id, attributes: { topic: "dogs" } });
const listed = [];
for await (const one of client.vectorStores.files.list(store.id, { limit: 1 })) listed.push(one.id);
const content = [];
for await (const one of client.vectorStores.files.content(file.id, { vector_store_id: store.id })) content.push(one.text);
const original = await (await client.files.content(file.id)).text();

await client.vectorStores.files.delete(listed.find((id) => id !== file.id), { vector_store_id: store.id });
await client.files.delete(file.id);
const left = await client.vectorStores.retrieve(store.id);
const after = await search("Monday", { type: "eq", key: "topic", value: "dogs" });
const deleted = await client.vectorStores.delete(store.id);
for await (const one of client.files.list()) await client.files.delete(one.id);

let error = null;
try {
  await client.vectorStores.retrieve(store.id);
} catch (caught) {
  error = { name: caught.constructor.name, status: caught.status, code: caught.code };
}

console.log(JSON.stringify({
  store: [store.object, store.name, store.metadata],
  batch: [batch.status, batch.file_counts],
  added: [added.status, added.attributes, added.chunking_strategy.static.max_chunk_size_tokens],
  found: [found.filename, found.content[0].text],
  filtered: filtered.map((one) => one.filename),
  listed: listed.length,
  content,
  original,
  left: left.file_counts.completed,
  after,
  deleted: deleted.deleted,
  files: (await client.files.list()).data.length,
  error,
}));
