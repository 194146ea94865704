// {{name}}: one transport a tick, from the fullest shard to the emptiest. Knows nothing of how a transport moves.

#include "cluster.h"
#include "lifecycle.h"

typedef exports_tidegate_policy_balancing_balance_request_t request_t;
typedef exports_tidegate_policy_balancing_balance_answer_t answer_t;
typedef exports_tidegate_policy_balancing_wish_t wish_t;

void exports_tidegate_policy_lifecycle_describe(description_t *description) { describe(description, ""); }

void exports_tidegate_policy_lifecycle_configure(setup_t *setup, problems_t *problems) {
  *problems = (problems_t){NULL, 0};
  expect_nothing(setup, problems);
  exports_tidegate_policy_lifecycle_setup_free(setup);
}

// ---- what moves

static uint64_t transports(uint32_t row) { return value(column("transports"), row); }

// With those that were promised and that no report shows yet.
static uint64_t expected_transports(uint32_t row) {
  return transports(row) + value(column("reserved-transports"), row);
}

static uint32_t fullest(void) {
  uint32_t most = NOWHERE;
  for (uint32_t row = 0; row < cluster_rows(); row++) {
    if (is_there(row) && (most == NOWHERE || transports(row) >= transports(most))) most = row;
  }
  return most;
}

static uint32_t emptiest(void) {
  uint32_t least = NOWHERE;
  for (uint32_t row = 0; row < cluster_rows(); row++) {
    if (is_open(row) && (least == NOWHERE || expected_transports(row) < expected_transports(least))) least = row;
  }
  return least;
}

static void wish_move(answer_t *answer, uint32_t from, uint32_t to) {
  answer->wishes.ptr = obtain(1, sizeof(wish_t));
  answer->wishes.len = 1;
  answer->wishes.ptr[0] = (wish_t){
      .action = copy(constant("move")),
      .from_row = {true, from},
      .to_row = {true, to},
      .amount = 1,
      .unit = copy(constant("transports")),
      .reason = copy(constant("to level the shards")),
  };
}

void exports_tidegate_policy_balancing_balance(request_t *request, answer_t *answer) {
  *answer = (answer_t){0};
  uint32_t from = fullest(), to = emptiest();
  if (from != NOWHERE && to != NOWHERE && transports(from) > expected_transports(to) + 1) wish_move(answer, from, to);
  exports_tidegate_policy_balancing_balance_request_free(request);
}
