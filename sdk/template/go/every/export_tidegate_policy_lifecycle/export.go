// Package export_tidegate_policy_lifecycle is where the generated bindings look for these functions.
package export_tidegate_policy_lifecycle

import "wit_component/policy"

// What the host calls.
var (
	Describe  = policy.Describe
	Configure = policy.Configure
)
