#!/bin/sh
# There is no courier, until somebody hires one: touch courier-hired in the project's folder.
order=$(cat)
if [ ! -e courier-hired ]; then
    echo "there is no courier for $order" >&2
    exit 1
fi
echo "on its way: $order"
