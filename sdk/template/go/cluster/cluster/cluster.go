// Package cluster holds the cluster as this instance was told it: one row a shard, whole once and then by what changed.
// Knows nothing of what is decided.
package cluster

import (
	"iter"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/tidegate_policy_types"
)

// What the last reset told, kept as it came, with what changed since.
var held struct {
	told       bool
	generation uint64
	columns    []tidegate_policy_types.Column
	labels     []tidegate_policy_types.LabelColumn
	draining   Numbers
	// One flag a row: gone, its handle taken until the next reset.
	removed []bool
}

// Numbers is a column of numbers, good until the decision is made.
type Numbers []uint64

// Of is what stands in a row; 0 where nothing does.
func (numbers Numbers) Of(row uint32) uint64 {
	if int(row) >= len(numbers) {
		return 0
	}
	return numbers[row]
}

// Texts is a column of texts, good until the decision is made.
type Texts tidegate_policy_types.LabelColumn

// Of is what stands in a row; empty where nothing does.
func (column Texts) Of(row uint32) string {
	if int(row) >= len(column.Values) || int(column.Values[row]) >= len(column.Texts) {
		return ""
	}
	return column.Texts[column.Values[row]]
}

// Column gives a column by its name in wit/v1/cluster-feed.wit; one that the feed does not have reads as zeros.
func Column(name string) Numbers {
	for _, column := range held.columns {
		if column.Name == name {
			return column.Values
		}
	}
	return nil
}

// Labels gives a column of texts likewise.
func Labels(name string) Texts {
	for _, column := range held.labels {
		if column.Name == name {
			return Texts(column)
		}
	}
	return Texts{}
}

// IsThere tells whether a row is one of a shard that is not gone; it may be draining.
func IsThere(row uint32) bool { return int(row) < len(held.removed) && !held.removed[row] }

// IsOpen tells whether it takes new work.
func IsOpen(row uint32) bool { return IsThere(row) && held.draining.Of(row) == 0 }

// All gives the rows that are there.
func All() iter.Seq[uint32] { return rows(IsThere) }

// Open gives those that take new work.
func Open() iter.Seq[uint32] { return rows(IsOpen) }

func rows(fits func(uint32) bool) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for row := range uint32(len(held.removed)) {
			if fits(row) && !yield(row) {
				return
			}
		}
	}
}

// Reset takes the whole cluster, instead of all that was told before.
func Reset(
	generation uint64,
	rows uint32,
	columns []tidegate_policy_types.Column,
	labels []tidegate_policy_types.LabelColumn,
) {
	held.told = true
	held.generation = generation
	held.columns = columns
	held.labels = labels
	held.draining = Column("draining")
	held.removed = make([]bool, rows)
}

// Delta takes what changed since. Of another state than the last reset's it asks for a reset.
func Delta(generation uint64, columns, rows []uint32, values []uint64, removed []uint32) types.Result[types.Unit, string] {
	if !held.told || generation != held.generation {
		return types.Err[types.Unit]("resync")
	}
	for index := range min(len(columns), len(rows), len(values)) {
		change(columns[index], rows[index], values[index])
	}
	for _, row := range removed {
		if int(row) < len(held.removed) {
			held.removed[row] = true
		}
	}
	return types.Ok[types.Unit, string](types.Unit{})
}

func change(column, row uint32, value uint64) {
	if int(column) < len(held.columns) && int(row) < len(held.columns[column].Values) {
		held.columns[column].Values[row] = value
	}
}
