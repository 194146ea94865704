// The cluster as this instance holds it: one row a shard, told whole once and then by what changed. Knows nothing of
// what is decided.
#ifndef CLUSTER_H
#define CLUSTER_H

#include "text.h"

// No row.
#define NOWHERE UINT32_MAX

typedef tidegate_policy_types_column_t column_t;
typedef tidegate_policy_types_label_column_t label_column_t;

// One past the last row handle. A row that is gone keeps its handle until the next reset.
uint32_t cluster_rows(void);

// It is there, though it may be draining.
bool is_there(uint32_t row);

// It is there and takes new work.
bool is_open(uint32_t row);

// A column by its name in `wit/v1/cluster-feed.wit`, good until the decision is made; NULL if the feed has none. What
// stands in a column that is not there is 0, or no text.
const column_t *column(const char *name);
const label_column_t *label_column(const char *name);

uint64_t value(const column_t *column, uint32_t row);
text_t label(const label_column_t *column, uint32_t row);

#endif
