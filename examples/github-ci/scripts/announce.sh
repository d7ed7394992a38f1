#!/bin/sh
# Writes each alert to alerts.log. Ends with 0 whatever happens: see rules/alerts.toml.
{ cat; echo; } >>alerts.log 2>/dev/null
echo "written to alerts.log"
exit 0
