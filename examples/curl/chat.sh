#!/bin/sh
# One completion at once, one streamed, with curl.
set -eu
url="${TALLYD_URL:-http://127.0.0.1:7117}/api/v1/chat/completions"
key="${OPENROUTER_API_KEY:-none}"

ask() {
  curl --silent --show-error --fail-with-body --no-buffer --compressed "$url" \
    -H "Authorization: Bearer $key" \
    -H "Content-Type: application/json" \
    -H "X-Tally-App: example-curl" \
    -d "$1"
  echo
}

ask '{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"Say hello"}]}'
ask '{"model":"openai/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hello"}]}'
