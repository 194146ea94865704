// Package export_tidegate_policy_balancing is where the generated bindings look for this function.
package export_tidegate_policy_balancing

import "wit_component/policy"

// Balance is what the host calls.
var Balance = policy.Balance
