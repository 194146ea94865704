// Package export_tidegate_policy_allocation is where the generated bindings look for this function.
package export_tidegate_policy_allocation

import "wit_component/policy"

// Place is what the host calls.
var Place = policy.Place
