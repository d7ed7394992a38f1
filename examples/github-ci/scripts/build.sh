#!/bin/sh
# Builds a push. The payload is on standard input; a real script would check `after` out and run make.
payload=$(cat)
text() { printf %s "$payload" | grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
echo "$(text full_name) $(text ref) $(text after)" >>builds.log
echo "built $(text full_name) at $(text after)"
