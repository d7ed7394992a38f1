#!/bin/sh
# Sends a payload as GitHub would: scripts/send.sh EVENT FILE DELIVERY
# The signature is over the bytes of the file; needs curl and openssl.
set -eu
signature=$(openssl dgst -sha256 -hmac "$GITHUB_SECRET" "$2" | sed 's/.* //')
curl --silent --show-error --data-binary "@$2" "${EVENTYARD_URL:-http://127.0.0.1:8484}/hooks/github" \
    -H "Content-Type: application/json" \
    -H "X-GitHub-Event: $1" \
    -H "X-GitHub-Delivery: $3" \
    -H "X-Hub-Signature-256: sha256=$signature"
echo
