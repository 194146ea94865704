package policy

import (
	"strings"

	"wit_component/tidegate_policy_lifecycle"
)

type (
	description = tidegate_policy_lifecycle.Description
	setup       = tidegate_policy_lifecycle.Setup
	problem     = tidegate_policy_lifecycle.Problem
)

// The policy's name and version, with the JSON Schema of its configuration; empty if it takes none.
func describe(schema string) description {
	return description{Name: "{{name}}", Version: "0.1.0", ConfigurationSchema: schema}
}

// For a policy that takes no configuration.
func expectNothing(setup setup) []problem {
	switch strings.TrimSpace(setup.Configuration) {
	case "", "null", "{}":
		return nil
	default:
		return []problem{{Message: "this policy takes no configuration: leave it out"}}
	}
}

// For a policy that cannot do without a column of the feed.
func requireColumn(setup setup, name string) []problem {
	for _, column := range setup.Columns {
		if column.Name == name {
			return nil
		}
	}
	return []problem{{Message: "this host offers no column " + name}}
}
