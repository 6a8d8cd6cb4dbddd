"""One completion at once, one streamed, with OpenAI's SDK."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("TALLYD_URL", "http://127.0.0.1:7117") + "/api/v1",
    api_key=os.environ.get("OPENROUTER_API_KEY", "none"),
    default_headers={"X-Tally-App": "example-openai-python"},
)
messages = [{"role": "user", "content": "Say hello"}]

reply = client.chat.completions.create(model="openai/gpt-4o-mini", messages=messages)
print(reply.id, reply.usage.cost, reply.choices[0].message.content)

for chunk in client.chat.completions.create(model="openai/gpt-4o-mini", messages=messages, stream=True):
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")
print()

response = client.responses.create(model="openai/gpt-4o-mini", input="Say hello")
print(response.id, response.output_text)

for event in client.responses.create(model="openai/gpt-4o-mini", input="Say hello", stream=True):
    if event.type == "response.output_text.delta":
        print(event.delta, end="")
print()
