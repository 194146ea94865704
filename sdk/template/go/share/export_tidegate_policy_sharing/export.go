// Package export_tidegate_policy_sharing is where the generated bindings look for this function.
package export_tidegate_policy_sharing

import "wit_component/policy"

// Share is what the host calls.
var Share = policy.Share
