"""One message at once, one streamed, with Anthropic's SDK."""

import os

from anthropic import Anthropic

client = Anthropic(
    base_url=os.environ.get("TALLYD_URL", "http://127.0.0.1:7117") + "/api",
    api_key=os.environ.get("OPENROUTER_API_KEY", "none"),
    default_headers={"X-Tally-App": "example-anthropic-python"},
)
question = {
    "model": "anthropic/claude-sonnet-4",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Say hello"}],
}

message = client.messages.create(**question)
print(message.id, "".join(block.text for block in message.content if block.type == "text"))

for event in client.messages.create(stream=True, **question):
    if event.type == "content_block_delta" and event.delta.type == "text_delta":
        print(event.delta.text, end="")
    if event.type == "message_stop":
        # OpenRouter adds an event that is no JSON.
        break
print()
