#!/bin/sh
# The order is on standard input, as JSON. What is printed here is kept with the attempt.
order=$(cat)
echo "receipt for $order"
