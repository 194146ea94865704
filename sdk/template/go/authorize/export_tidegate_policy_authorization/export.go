// Package export_tidegate_policy_authorization is where the generated bindings look for this function.
package export_tidegate_policy_authorization

import "wit_component/policy"

// Authorize is what the host calls.
var Authorize = policy.Authorize
