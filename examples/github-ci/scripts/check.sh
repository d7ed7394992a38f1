#!/bin/sh
# Checks a pull request: the first `diff_url` of the payload is its own.
payload=$(cat)
url=$(printf %s "$payload" | grep -o '"diff_url": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
echo "$url" >>checks.log
echo "checked $url"
