#include "text.h"

#include <stdlib.h>
#include <string.h>

text_t constant(const char *of) { return (text_t){(uint8_t *)of, strlen(of)}; }

text_t copy(text_t of) {
  text_t made = {obtain(of.len, 1), of.len};
  if (of.len > 0) memcpy(made.ptr, of.ptr, of.len);
  return made;
}

text_t part(text_t of, size_t from, size_t to) { return (text_t){of.ptr + from, to - from}; }

bool same(text_t one, text_t other) {
  return one.len == other.len && (one.len == 0 || memcmp(one.ptr, other.ptr, one.len) == 0);
}

bool equals(text_t text, const char *other) { return same(text, constant(other)); }

bool begins(text_t text, const char *with) {
  size_t length = strlen(with);
  return text.len >= length && equals(part(text, 0, length), with);
}

void *obtain(size_t count, size_t bytes) {
  if (count == 0) return NULL;
  void *memory = calloc(count, bytes);
  // The host answers for a policy without memory, and makes a new instance.
  if (memory == NULL) abort();
  return memory;
}
