// Package policy places things on the shard with the shortest forwarding delay, in the region that was asked for if it
// can be. Knows nothing of who asks.
package policy

import (
	"slices"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/cluster"
	"wit_component/tidegate_policy_allocation"
	"wit_component/tidegate_policy_types"
)

type (
	request   = tidegate_policy_allocation.PlaceRequest
	parents   = tidegate_policy_allocation.RelayParents
	placement = tidegate_policy_allocation.Placement
	refusal   = tidegate_policy_types.Refusal
)

// Relays of one producer that may leave from one place before another becomes their parent.
const fanOut = 8

// Describe says what this policy is.
func Describe() description { return describe("") }

// Configure checks that the feed carries what is decided by.
func Configure(setup setup) []problem {
	return append(expectNothing(setup), requireColumn(setup, "forward-delay-p99")...)
}

// Place decides.
func Place(request request) types.Result[placement, refusal] {
	row, found := nearest(request.RegionHint)
	if request.Kind == "relay" {
		row, found = nearestParent(request.Parents.SomeOr(parents{}))
	}
	if !found {
		return types.Err[placement](refusal{Code: "full", Message: "No shard is alive."})
	}
	return types.Ok[placement, refusal](placement{Row: row})
}

func nearest(region types.Option[string]) (best uint32, found bool) {
	delaysUs, regions := cluster.Column("forward-delay-p99"), cluster.Labels("region")
	var least []uint64
	for row := range cluster.Open() {
		elsewhere := region.IsSome() && region.Some() != regions.Of(row)
		against := []uint64{one(elsewhere), delaysUs.Of(row)}
		if !found || slices.Compare(against, least) < 0 {
			best, least, found = row, against, true
		}
	}
	return best, found
}

// The fewest hops from the producer among those with a free branch, then the fewest relays; without one the fewest
// relays. One that drains only if it must be.
func nearestParent(parents parents) (best uint32, found bool) {
	var least []uint64
	for index, row := range parents.Rows {
		if !cluster.IsThere(row) {
			continue
		}
		depth, relays := at(parents.Depth, index), at(parents.FanOut, index)
		taken := relays >= fanOut
		if taken {
			depth = 0
		}
		against := []uint64{one(!cluster.IsOpen(row)), one(taken), depth, relays}
		if !found || slices.Compare(against, least) < 0 {
			best, least, found = row, against, true
		}
	}
	return best, found
}

func one(holds bool) uint64 {
	if holds {
		return 1
	}
	return 0
}

func at(column []uint32, index int) uint64 {
	if index >= len(column) {
		return 0
	}
	return uint64(column[index])
}
