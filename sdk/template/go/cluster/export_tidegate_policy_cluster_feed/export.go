// Package export_tidegate_policy_cluster_feed is where the generated bindings look for these functions.
package export_tidegate_policy_cluster_feed

import "wit_component/cluster"

// What the host calls.
var (
	Reset = cluster.Reset
	Delta = cluster.Delta
)
