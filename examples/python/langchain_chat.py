"""One completion at once, one streamed, with LangChain."""

import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="openai/gpt-4o-mini",
    base_url=os.environ.get("TALLYD_URL", "http://127.0.0.1:7117") + "/api/v1",
    api_key=os.environ.get("OPENROUTER_API_KEY", "none"),
    default_headers={"X-Tally-App": "example-langchain"},
)

print(model.invoke("Say hello").content)

for chunk in model.stream("Say hello"):
    print(chunk.content, end="")
print()
