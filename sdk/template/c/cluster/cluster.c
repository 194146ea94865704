#include "cluster.h"

#include <stdlib.h>

// What the last reset told, kept as it came, with what changed since.
static struct {
  bool told;
  uint64_t generation;
  uint32_t rows;
  exports_tidegate_policy_cluster_feed_list_column_t columns;
  exports_tidegate_policy_cluster_feed_list_label_column_t labels;
  // The column that every walk asks for.
  const column_t *draining;
  // One flag a row: gone, its handle taken.
  bool *removed;
} held;

// ---- what policies read

uint32_t cluster_rows(void) { return held.rows; }

bool is_there(uint32_t row) { return row < held.rows && !held.removed[row]; }

bool is_open(uint32_t row) { return is_there(row) && value(held.draining, row) == 0; }

const column_t *column(const char *name) {
  for (size_t index = 0; index < held.columns.len; index++) {
    if (equals(held.columns.ptr[index].name, name)) return &held.columns.ptr[index];
  }
  return NULL;
}

const label_column_t *label_column(const char *name) {
  for (size_t index = 0; index < held.labels.len; index++) {
    if (equals(held.labels.ptr[index].name, name)) return &held.labels.ptr[index];
  }
  return NULL;
}

uint64_t value(const column_t *column, uint32_t row) {
  return column != NULL && row < column->values.len ? column->values.ptr[row] : 0;
}

text_t label(const label_column_t *column, uint32_t row) {
  if (column == NULL || row >= column->values.len) return constant("");
  uint32_t text = column->values.ptr[row];
  return text < column->texts.len ? column->texts.ptr[text] : constant("");
}

// ---- what the host calls

void exports_tidegate_policy_cluster_feed_reset(uint64_t generation, uint32_t rows,
                                                exports_tidegate_policy_cluster_feed_list_column_t *columns,
                                                exports_tidegate_policy_cluster_feed_list_label_column_t *labels) {
  exports_tidegate_policy_cluster_feed_list_column_free(&held.columns);
  exports_tidegate_policy_cluster_feed_list_label_column_free(&held.labels);
  free(held.removed);
  held.told = true;
  held.generation = generation;
  held.rows = rows;
  held.columns = *columns;
  held.labels = *labels;
  held.draining = column("draining");
  held.removed = obtain(rows, sizeof *held.removed);
}

static void change(uint32_t column, uint32_t row, uint64_t value) {
  if (column >= held.columns.len) return;
  {{policy}}_list_u64_t *values = &held.columns.ptr[column].values;
  if (row < values->len) values->ptr[row] = value;
}

bool exports_tidegate_policy_cluster_feed_delta(uint64_t generation, {{policy}}_list_u32_t *columns,
                                                {{policy}}_list_u32_t *rows, {{policy}}_list_u64_t *values,
                                                {{policy}}_list_u32_t *removed, text_t *error) {
  bool known = held.told && generation == held.generation;
  if (known) {
    for (size_t index = 0; index < columns->len && index < rows->len && index < values->len; index++) {
      change(columns->ptr[index], rows->ptr[index], values->ptr[index]);
    }
    for (size_t index = 0; index < removed->len; index++) {
      if (removed->ptr[index] < held.rows) held.removed[removed->ptr[index]] = true;
    }
  } else {
    *error = copy(constant("resync"));
  }
  {{policy}}_list_u32_free(columns);
  {{policy}}_list_u32_free(rows);
  {{policy}}_list_u64_free(values);
  {{policy}}_list_u32_free(removed);
  return known;
}
