// One message at once, one streamed, with Anthropic's SDK.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: (process.env.TALLYD_URL ?? "http://127.0.0.1:7117") + "/api",
  apiKey: process.env.OPENROUTER_API_KEY ?? "none",
  defaultHeaders: { "X-Tally-App": "example-anthropic-typescript" },
});
const question = {
  model: "anthropic/claude-sonnet-4",
  max_tokens: 100,
  messages: [{ role: "user" as const, content: "Say hello" }],
};

const message = await client.messages.create(question);
console.log(message.id, message.content.map((block) => (block.type === "text" ? block.text : "")).join(""));

const stream = await client.messages.create({ ...question, stream: true });
for await (const event of stream) {
  if (event.type === "content_block_delta" && event.delta.type === "text_delta") process.stdout.write(event.delta.text);
  // OpenRouter adds an event that is no JSON.
  if (event.type === "message_stop") break;
}
console.log();
