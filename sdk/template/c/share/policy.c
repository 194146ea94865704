// {{name}}: a shared screen comes before every face, and a camera never takes all. Knows nothing of how a layer is
// chosen.

#include "lifecycle.h"

// What one camera may take of anybody's bit rate.
#define CAMERA_KBPS 1500
// An answer holds for so many periods at most.
#define PERIODS 3

typedef exports_tidegate_policy_sharing_share_request_t request_t;
typedef exports_tidegate_policy_sharing_share_answer_t answer_t;
typedef exports_tidegate_policy_sharing_table_t table_t;
typedef tidegate_policy_types_column_t column_t;

void exports_tidegate_policy_lifecycle_describe(description_t *description) { describe(description, ""); }

void exports_tidegate_policy_lifecycle_configure(setup_t *setup, problems_t *problems) {
  *problems = (problems_t){NULL, 0};
  expect_nothing(setup, problems);
  exports_tidegate_policy_lifecycle_setup_free(setup);
}

// ---- what is told

// What a row says in a column of texts; nothing where there is no such column.
static text_t label(const table_t *table, const char *name, uint32_t row) {
  for (size_t index = 0; index < table->labels.len; index++) {
    const tidegate_policy_types_label_column_t *column = &table->labels.ptr[index];
    if (!equals(column->name, name) || row >= column->values.len) continue;
    uint32_t text = column->values.ptr[row];
    return text < column->texts.len ? column->texts.ptr[text] : constant("");
  }
  return constant("");
}

// ---- what is answered

// A column of so many zeros, which leave each track to the host's own rule.
static column_t zeros(const char *name, const char *unit, uint32_t rows) {
  return (column_t){copy(constant(name)), copy(constant(unit)), {obtain(rows, sizeof(uint64_t)), rows}};
}

void exports_tidegate_policy_sharing_share(request_t *request, answer_t *answer) {
  const table_t *tracks = &request->tracks;
  column_t ceilings = zeros("ceiling", "kbps", tracks->rows), priorities = zeros("priority", "level", tracks->rows);
  for (uint32_t row = 0; row < tracks->rows; row++) {
    // Sound is not divided: it is always sent first, and whole.
    if (!equals(label(tracks, "kind", row), "video")) continue;
    if (equals(label(tracks, "source", row), "screen")) {
      priorities.values.ptr[row] = 1;
    } else {
      ceilings.values.ptr[row] = CAMERA_KBPS;
    }
  }
  *answer = (answer_t){.tracks = {obtain(2, sizeof(column_t)), 2}, .valid_ms = PERIODS * request->period_ms};
  answer->tracks.ptr[0] = ceilings;
  answer->tracks.ptr[1] = priorities;
  exports_tidegate_policy_sharing_share_request_free(request);
}
