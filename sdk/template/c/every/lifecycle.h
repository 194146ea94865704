// What the policy says of itself, and what it finds wrong with its configuration. Knows nothing of what it decides.
#ifndef LIFECYCLE_H
#define LIFECYCLE_H

#include "text.h"

typedef exports_tidegate_policy_lifecycle_description_t description_t;
typedef exports_tidegate_policy_lifecycle_setup_t setup_t;
typedef exports_tidegate_policy_lifecycle_list_problem_t problems_t;

// The policy's name and version, with the JSON Schema of its configuration; empty if it takes none.
void describe(description_t *description, const char *schema);

// One more problem with the configuration: the host then does not put the policy in force.
void add_problem(problems_t *problems, const char *message, text_t about);

// For a policy that takes no configuration.
void expect_nothing(const setup_t *setup, problems_t *problems);

// For a policy that cannot do without a column of the feed.
void require_column(const setup_t *setup, const char *name, problems_t *problems);

#endif
