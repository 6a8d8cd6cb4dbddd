// One completion at once, one streamed, with the Vercel AI SDK's OpenRouter provider.
import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import { generateText, streamText } from "ai";

const openrouter = createOpenRouter({
  baseURL: (process.env.TALLYD_URL ?? "http://127.0.0.1:7117") + "/api/v1",
  apiKey: process.env.OPENROUTER_API_KEY ?? "none",
  headers: { "X-Tally-App": "example-vercel-ai" },
});
const model = openrouter.chat("openai/gpt-4o-mini");

const reply = await generateText({ model, prompt: "Say hello" });
console.log(reply.response.id, reply.text);

const stream = streamText({ model, prompt: "Say hello" });
for await (const text of stream.textStream) process.stdout.write(text);
console.log();
