// {{name}}: the shard with the shortest forwarding delay, in the region that was asked for if it can be. Knows nothing
// of who asks.

#include "cluster.h"
#include "lifecycle.h"

// Relays of one producer that may leave from one place before another becomes their parent.
#define FAN_OUT 8

typedef exports_tidegate_policy_allocation_place_request_t request_t;
typedef exports_tidegate_policy_allocation_placement_t placement_t;
typedef exports_tidegate_policy_allocation_refusal_t refusal_t;
typedef exports_tidegate_policy_allocation_relay_parents_t parents_t;

void exports_tidegate_policy_lifecycle_describe(description_t *description) { describe(description, ""); }

void exports_tidegate_policy_lifecycle_configure(setup_t *setup, problems_t *problems) {
  *problems = (problems_t){NULL, 0};
  expect_nothing(setup, problems);
  require_column(setup, "forward-delay-p99", problems);
  exports_tidegate_policy_lifecycle_setup_free(setup);
}

// ---- where

static uint32_t nearest(const request_t *request) {
  const column_t *delays_us = column("forward-delay-p99");
  const label_column_t *regions = label_column("region");
  uint32_t best = NOWHERE;
  bool best_elsewhere = true;
  for (uint32_t row = 0; row < cluster_rows(); row++) {
    if (!is_open(row)) continue;
    bool elsewhere = request->region_hint.is_some && !same(request->region_hint.val, label(regions, row));
    bool better = best == NOWHERE || elsewhere < best_elsewhere ||
                  (elsewhere == best_elsewhere && value(delays_us, row) < value(delays_us, best));
    if (!better) continue;
    best = row;
    best_elsewhere = elsewhere;
  }
  return best;
}

// What speaks against a parent; what stands first weighs most.
typedef struct {
  uint32_t against[4];
} grounds_t;

static uint32_t at({{policy}}_list_u32_t column, size_t index) { return index < column.len ? column.ptr[index] : 0; }

static grounds_t grounds(const parents_t *parents, size_t index) {
  uint32_t fan_out = at(parents->fan_out, index);
  bool taken = fan_out >= FAN_OUT;
  return (grounds_t){{!is_open(parents->rows.ptr[index]), taken, taken ? 0 : at(parents->depth, index), fan_out}};
}

static bool is_less(grounds_t one, grounds_t other) {
  for (size_t index = 0; index < 4; index++) {
    if (one.against[index] != other.against[index]) return one.against[index] < other.against[index];
  }
  return false;
}

// The fewest hops from the producer among those with a free branch, then the fewest relays; without one the fewest
// relays. One that drains only if it must be.
static uint32_t nearest_parent(const request_t *request) {
  const parents_t *parents = &request->parents.val;
  uint32_t best = NOWHERE;
  grounds_t least;
  for (size_t index = 0; request->parents.is_some && index < parents->rows.len; index++) {
    if (!is_there(parents->rows.ptr[index])) continue;
    grounds_t against = grounds(parents, index);
    if (best != NOWHERE && !is_less(against, least)) continue;
    best = parents->rows.ptr[index];
    least = against;
  }
  return best;
}

bool exports_tidegate_policy_allocation_place(request_t *request, placement_t *placement, refusal_t *refusal) {
  uint32_t row = equals(request->kind, "relay") ? nearest_parent(request) : nearest(request);
  exports_tidegate_policy_allocation_place_request_free(request);
  if (row == NOWHERE) {
    *refusal = (refusal_t){copy(constant("full")), copy(constant("No shard is alive.")), {NULL, 0}};
    return false;
  }
  *placement = (placement_t){row, {NULL, 0}};
  return true;
}
