#!/bin/sh
# Publishes a tag to a registry that is out of order until somebody mends it: touch registry-is-up.
# Any exit code but 0 means: try again. REGISTRY_TOKEN is there to be used, and not to be printed.
ref=$(grep -o '"ref": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
if [ -z "$REGISTRY_TOKEN" ] || [ ! -e registry-is-up ]; then
    echo "the registry does not answer for $ref (attempt $EVENTYARD_ATTEMPT)" >&2
    exit 75
fi
echo "published $ref"
