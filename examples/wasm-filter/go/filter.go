// Decides about an order: the event's data comes on standard input, the decision goes to standard output.
//
// LIMIT is the function's own setting (eventyard.toml). What cannot be decided is an error: the exit status says so,
// and standard error says why.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

type order struct {
	Amount *float64 `json:"amount"`
}

type decision struct {
	Decision string `json:"decision"`
	Reason   string `json:"reason,omitempty"`
}

func main() {
	var received order
	if err := json.NewDecoder(os.Stdin).Decode(&received); err != nil {
		fail("the order is no JSON: %v", err)
	}
	if received.Amount == nil {
		fail("the order has no amount")
	}
	limit, err := strconv.ParseFloat(os.Getenv("LIMIT"), 64)
	if err != nil {
		limit = 1000
	}
	decided := decision{Decision: "accept"}
	if *received.Amount > limit {
		decided = decision{"review", fmt.Sprintf("%g is over %g", *received.Amount, limit)}
	}
	if err := json.NewEncoder(os.Stdout).Encode(decided); err != nil {
		fail("the decision cannot be written: %v", err)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}
