// Package policy moves one transport a tick, from the fullest shard to the emptiest. Knows nothing of how a transport
// moves.
package policy

import (
	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/cluster"
	"wit_component/tidegate_policy_balancing"
)

type (
	request = tidegate_policy_balancing.BalanceRequest
	answer  = tidegate_policy_balancing.BalanceAnswer
	wish    = tidegate_policy_balancing.Wish
)

// Describe says what this policy is.
func Describe() description { return describe("") }

// Configure takes nothing.
func Configure(setup setup) []problem { return expectNothing(setup) }

// Balance decides.
func Balance(request request) answer {
	transports, promised := cluster.Column("transports"), cluster.Column("reserved-transports")
	// With those that were promised and that no report shows yet.
	expected := func(row uint32) uint64 { return transports.Of(row) + promised.Of(row) }

	from, someone := fullest(transports.Of)
	to, open := emptiest(expected)
	if !someone || !open || transports.Of(from) <= expected(to)+1 {
		return answer{}
	}
	return answer{Wishes: []wish{{
		Action:  "move",
		FromRow: types.Some(from),
		ToRow:   types.Some(to),
		Amount:  1,
		Unit:    "transports",
		Reason:  "to level the shards",
	}}}
}

func fullest(transports func(uint32) uint64) (most uint32, found bool) {
	for row := range cluster.All() {
		if !found || transports(row) >= transports(most) {
			most, found = row, true
		}
	}
	return most, found
}

func emptiest(expected func(uint32) uint64) (least uint32, found bool) {
	for row := range cluster.Open() {
		if !found || expected(row) < expected(least) {
			least, found = row, true
		}
	}
	return least, found
}
