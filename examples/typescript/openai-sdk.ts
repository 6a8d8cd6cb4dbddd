// One completion at once, one streamed, with OpenAI's SDK.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: (process.env.TALLYD_URL ?? "http://127.0.0.1:7117") + "/api/v1",
  apiKey: process.env.OPENROUTER_API_KEY ?? "none",
  defaultHeaders: { "X-Tally-App": "example-openai-typescript" },
});
const model = "openai/gpt-4o-mini";
const messages = [{ role: "user" as const, content: "Say hello" }];

const reply = await client.chat.completions.create({ model, messages });
console.log(reply.id, reply.choices[0]?.message.content);

const stream = await client.chat.completions.create({ model, messages, stream: true });
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
console.log();
