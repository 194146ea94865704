// Texts and the memory that they take. Knows nothing of what they say.
//
// A text is UTF-8 with a length and no NUL behind it. What comes in from the host belongs to the policy and is freed by
// it; what goes out is freed by the bindings.
#ifndef TEXT_H
#define TEXT_H

#include "bindings/{{policy}}.h"

typedef {{policy}}_string_t text_t;

// A text of the program's own: never freed, so it is copied before it goes out.
text_t constant(const char *of);

text_t copy(text_t of);

text_t part(text_t of, size_t from, size_t to);

bool same(text_t one, text_t other);

bool equals(text_t text, const char *other);

bool begins(text_t text, const char *with);

// Zeroed memory for so many items; NULL for none.
void *obtain(size_t count, size_t bytes);

#endif
