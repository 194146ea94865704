// Package policy puts a shared screen before every face, and lets a camera never take all. Knows nothing of how a layer
// is chosen.
package policy

import (
	"wit_component/tidegate_policy_sharing"
	"wit_component/tidegate_policy_types"
)

type (
	request = tidegate_policy_sharing.ShareRequest
	answer  = tidegate_policy_sharing.ShareAnswer
	table   = tidegate_policy_sharing.Table
	column  = tidegate_policy_types.Column
)

const (
	// What one camera may take of anybody's bit rate.
	cameraKbps = 1_500
	// An answer holds for so many periods at most.
	periods = 3
)

// Describe says what this policy is.
func Describe() description { return describe("") }

// Configure takes nothing.
func Configure(setup setup) []problem { return expectNothing(setup) }

// Share decides.
func Share(request request) answer {
	kinds, sources := labels(request.Tracks, "kind"), labels(request.Tracks, "source")
	// What is 0 is left to the host's own rule.
	ceilings, priorities := make([]uint64, request.Tracks.Rows), make([]uint64, request.Tracks.Rows)
	for row := range request.Tracks.Rows {
		switch {
		case kinds(row) != "video":
			// Sound is not divided: it is always sent first, and whole.
		case sources(row) == "screen":
			priorities[row] = 1
		default:
			ceilings[row] = cameraKbps
		}
	}
	return answer{
		Tracks: []column{
			{Name: "ceiling", Unit: "kbps", Values: ceilings},
			{Name: "priority", Unit: "level", Values: priorities},
		},
		ValidMs: periods * request.PeriodMs,
	}
}

// What rows say in a column of texts; nothing where there is no such column.
func labels(table table, name string) func(row uint32) string {
	for _, column := range table.Labels {
		if column.Name == name {
			return func(row uint32) string {
				if int(row) >= len(column.Values) || int(column.Values[row]) >= len(column.Texts) {
					return ""
				}
				return column.Texts[column.Values[row]]
			}
		}
	}
	return func(uint32) string { return "" }
}
