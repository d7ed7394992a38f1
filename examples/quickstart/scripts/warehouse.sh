#!/bin/sh
# A warehouse that needs to be asked three times. Any exit code but 0 means: try again.
cat >/dev/null
if [ "${EVENTYARD_ATTEMPT:-1}" -lt 3 ]; then
    echo "the warehouse does not answer (attempt ${EVENTYARD_ATTEMPT:-1})" >&2
    exit 75
fi
echo "reserved at attempt $EVENTYARD_ATTEMPT"
