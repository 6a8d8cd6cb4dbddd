"""One completion at once, one streamed, with LiteLLM's client."""

import os

import litellm

question = {
    "model": "openrouter/openai/gpt-4o-mini",
    "messages": [{"role": "user", "content": "Say hello"}],
    "api_base": os.environ.get("TALLYD_URL", "http://127.0.0.1:7117") + "/api/v1",
    "api_key": os.environ.get("OPENROUTER_API_KEY", "none"),
    "extra_headers": {"X-Tally-App": "example-litellm"},
}

reply = litellm.completion(**question)
print(reply.id, reply.choices[0].message.content)

for chunk in litellm.completion(stream=True, **question):
    print(chunk.choices[0].delta.content or "", end="")
print()
