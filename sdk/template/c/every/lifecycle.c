#include "lifecycle.h"

#include <stdlib.h>
#include <string.h>

// The bindings want an object file linked that describes the interface. Wrapping the module adds that description.
void __component_type_object_force_link_{{policy}}(void) {}

void describe(description_t *description, const char *schema) {
  memset(description, 0, sizeof *description);
  description->name = copy(constant("{{name}}"));
  description->version = copy(constant("0.1.0"));
  description->configuration_schema = copy(constant(schema));
}

void add_problem(problems_t *problems, const char *message, text_t about) {
  exports_tidegate_policy_lifecycle_problem_t *grown = obtain(problems->len + 1, sizeof *grown);
  if (problems->len > 0) memcpy(grown, problems->ptr, problems->len * sizeof *grown);
  free(problems->ptr);
  size_t length = strlen(message);
  text_t *told = &grown[problems->len].message;
  *told = (text_t){obtain(length + about.len, 1), length + about.len};
  memcpy(told->ptr, message, length);
  if (about.len > 0) memcpy(told->ptr + length, about.ptr, about.len);
  problems->ptr = grown;
  problems->len++;
}

void expect_nothing(const setup_t *setup, problems_t *problems) {
  text_t given = setup->configuration;
  if (given.len == 0 || equals(given, "null") || equals(given, "{}")) return;
  add_problem(problems, "this policy takes no configuration: leave it out", constant(""));
}

void require_column(const setup_t *setup, const char *name, problems_t *problems) {
  for (size_t index = 0; index < setup->columns.len; index++) {
    if (equals(setup->columns.ptr[index].name, name)) return;
  }
  add_problem(problems, "this host offers no column ", constant(name));
}
