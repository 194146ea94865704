// Who may enter: whoever shows a pass that was signed for the room. Knows nothing of who makes passes.
//
//     pass = IDENTITY "." ROLE "." EXPIRES "." SIGNATURE
//
// ROLE is `listener`, `speaker` or `presenter`, EXPIRES milliseconds since the Unix epoch. SIGNATURE is HMAC-SHA256, in
// lower-case hexadecimal, of all before it without its dot, then a line feed, then the room's name.

#include "lifecycle.h"

#include <stdlib.h>
#include <string.h>

#define NAME_CHARACTERS 64
#define IDENTITY_BYTES 128
#define EXPIRES_DIGITS 15
#define SIGNATURE_BYTES 32
#define KEY_BYTES 16
#define HANDED_ON 8
#define HANDED_ON_BYTES 256

typedef exports_tidegate_policy_authorization_authorize_request_t request_t;
typedef exports_tidegate_policy_authorization_authorize_answer_t answer_t;
typedef exports_tidegate_policy_authorization_grant_t grant_t;
typedef exports_tidegate_policy_authorization_attr_t attr_t;
typedef exports_tidegate_policy_authorization_list_attr_t attrs_t;

// A pass, taken apart. Its texts lie in the token.
typedef struct {
  text_t signed_part;
  text_t identity;
  text_t role;
  uint64_t expires_unix_ms;
  uint8_t signature[SIGNATURE_BYTES];
} pass_t;

// The configuration: what passes are signed with.
static text_t key;

// ---- the pass

// Where the last dot is; false if there is none.
static bool last_dot(text_t text, size_t *at) {
  for (size_t index = text.len; index > 0; index--) {
    if (text.ptr[index - 1] != '.') continue;
    *at = index - 1;
    return true;
  }
  return false;
}

static int hexadecimal(uint8_t digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

static bool read_signature(text_t text, uint8_t *signature) {
  if (text.len != 2 * SIGNATURE_BYTES) return false;
  for (size_t index = 0; index < SIGNATURE_BYTES; index++) {
    int high = hexadecimal(text.ptr[2 * index]), low = hexadecimal(text.ptr[2 * index + 1]);
    if (high < 0 || low < 0) return false;
    signature[index] = (uint8_t)(high << 4 | low);
  }
  return true;
}

static bool read_number(text_t text, uint64_t *number) {
  if (text.len == 0 || text.len > EXPIRES_DIGITS) return false;
  *number = 0;
  for (size_t index = 0; index < text.len; index++) {
    if (text.ptr[index] < '0' || text.ptr[index] > '9') return false;
    *number = *number * 10 + (text.ptr[index] - '0');
  }
  return true;
}

static bool is_role(text_t text) {
  return equals(text, "listener") || equals(text, "speaker") || equals(text, "presenter");
}

static bool is_identity(text_t text) {
  for (size_t index = 0; index < text.len; index++) {
    if (text.ptr[index] < ' ') return false;
  }
  return text.len > 0 && text.len <= IDENTITY_BYTES;
}

// Takes a pass apart, from its end: the identity may have dots of its own. False if it is none.
static bool read_pass(text_t token, pass_t *pass) {
  size_t signature_dot, expires_dot, role_dot;
  if (!last_dot(token, &signature_dot)) return false;
  pass->signed_part = part(token, 0, signature_dot);
  if (!last_dot(pass->signed_part, &expires_dot)) return false;
  if (!last_dot(part(token, 0, expires_dot), &role_dot)) return false;
  pass->identity = part(token, 0, role_dot);
  pass->role = part(token, role_dot + 1, expires_dot);
  return is_identity(pass->identity) && is_role(pass->role) &&
         read_number(part(token, expires_dot + 1, signature_dot), &pass->expires_unix_ms) &&
         read_signature(part(token, signature_dot + 1, token.len), pass->signature);
}

static bool is_signed(const pass_t *pass, text_t room) {
  size_t length = pass->signed_part.len + 1 + room.len;
  uint8_t *bytes = obtain(length, 1);
  memcpy(bytes, pass->signed_part.ptr, pass->signed_part.len);
  bytes[pass->signed_part.len] = '\n';
  memcpy(bytes + pass->signed_part.len + 1, room.ptr, room.len);

  text_t algorithm = constant("HS256"), error = {NULL, 0};
  authorize_list_u8_t secret = {key.ptr, key.len}, message = {bytes, length};
  authorize_list_u8_t signature = {(uint8_t *)pass->signature, SIGNATURE_BYTES};
  bool valid = false;
  bool answered = tidegate_policy_host_crypto_verify(&algorithm, &secret, &message, &signature, &valid, &error);
  if (!answered) authorize_string_free(&error);
  free(bytes);
  return answered && valid;
}

// ---- names and attrs

static bool is_blank(uint8_t byte) { return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n'; }

// A name as others see it: without blanks around it, and not too long. Counted in characters, cut between two.
static text_t shown(text_t name) {
  while (name.len > 0 && is_blank(name.ptr[0])) name = part(name, 1, name.len);
  while (name.len > 0 && is_blank(name.ptr[name.len - 1])) name.len--;
  size_t characters = 0;
  for (size_t index = 0; index < name.len; index++) {
    bool begins_one = (name.ptr[index] & 0xc0) != 0x80;
    if (begins_one && characters++ == NAME_CHARACTERS) return part(name, 0, index);
  }
  return name;
}

static bool goes_along(const attr_t *attr) {
  return begins(attr->name, "app-") && attr->name.len <= HANDED_ON_BYTES && attr->value.len <= HANDED_ON_BYTES;
}

// The role; then what the application says about a person (`app-…`), which goes along with the grant.
static attrs_t attrs_of(text_t role, const attrs_t *given) {
  attrs_t attrs = {obtain(1 + HANDED_ON, sizeof(attr_t)), 1};
  attrs.ptr[0] = (attr_t){copy(constant("role")), copy(role)};
  for (size_t index = 0; index < given->len && attrs.len <= HANDED_ON; index++) {
    const attr_t *attr = &given->ptr[index];
    if (goes_along(attr)) attrs.ptr[attrs.len++] = (attr_t){copy(attr->name), copy(attr->value)};
  }
  return attrs;
}

// ---- answers

static void refuse(answer_t *answer, const char *code, const char *message) {
  answer->tag = EXPORTS_TIDEGATE_POLICY_AUTHORIZATION_AUTHORIZE_ANSWER_REFUSE;
  answer->val.refuse.code = copy(constant(code));
  answer->val.refuse.message = copy(constant(message));
  answer->val.refuse.attrs = (tidegate_policy_types_list_attr_t){NULL, 0};
}

// Lets someone do what people do; the rest of the grant is for the caller to fill in.
static grant_t *grant(answer_t *answer, text_t identity) {
  memset(answer, 0, sizeof *answer);
  answer->tag = EXPORTS_TIDEGATE_POLICY_AUTHORIZATION_AUTHORIZE_ANSWER_GRANT;
  grant_t *grant = &answer->val.grant;
  grant->identity = (authorize_option_string_t){true, copy(identity)};
  grant->publish = grant->subscribe = grant->data = true;
  return grant;
}

static void only_camera_and_microphone(grant_t *grant) {
  text_t *sources = obtain(2, sizeof(text_t));
  sources[0] = copy(constant("camera"));
  sources[1] = copy(constant("microphone"));
  grant->sources = (authorize_option_list_string_t){true, {sources, 2}};
}

static void enter(const request_t *request, const pass_t *pass, answer_t *answer) {
  text_t entered = constant("entered"), name = shown(request->name);
  tidegate_policy_host_counters_add(&entered, 1);
  grant_t *granted = grant(answer, pass->identity);
  granted->name = (authorize_option_string_t){true, copy(name.len > 0 ? name : pass->identity)};
  granted->room = (authorize_option_string_t){true, copy(request->room.val)};
  granted->publish = !equals(pass->role, "listener");
  if (equals(pass->role, "speaker")) only_camera_and_microphone(granted);
  granted->max_tracks = (authorize_option_u32_t){true, 3};
  granted->expires_unix_ms = (authorize_option_u64_t){true, pass->expires_unix_ms};
  granted->attrs = attrs_of(pass->role, &request->attrs);
}

static void join(const request_t *request, answer_t *answer) {
  pass_t pass;
  if (!request->room.is_some || request->room.val.len == 0) {
    refuse(answer, "no-room", "A pass opens one room, and none was named.");
  } else if (request->token.len == 0) {
    refuse(answer, "no-pass", "This room needs a pass.");
  } else if (!read_pass(request->token, &pass)) {
    refuse(answer, "bad-pass", "This is not a pass.");
  } else if (!is_signed(&pass, request->room.val)) {
    refuse(answer, "forged-pass", "This pass was not made for this room.");
  } else if (pass.expires_unix_ms <= request->moment.unix_ms) {
    refuse(answer, "pass-expired", "This pass has expired.");
  } else {
    enter(request, &pass, answer);
  }
}

// Asked only where a grant names the action in `consult`.
static void act_inside(const request_t *request, answer_t *answer) {
  if (request->identity.is_some && request->identity.val.len > 0) {
    grant(answer, request->identity.val);
  } else {
    refuse(answer, "not-inside", "Enter the room first.");
  }
}

// ---- what the host calls

void exports_tidegate_policy_authorization_authorize(request_t *request, answer_t *answer) {
  if (equals(request->action, "join") || equals(request->action, "renew")) {
    join(request, answer);
  } else if (equals(request->action, "publish") || equals(request->action, "subscribe") ||
             equals(request->action, "data")) {
    act_inside(request, answer);
  } else {
    refuse(answer, "not-granted", "This policy does not grant that.");
  }
  exports_tidegate_policy_authorization_authorize_request_free(request);
}

void exports_tidegate_policy_lifecycle_describe(description_t *description) {
  describe(description, "{\"type\":\"string\",\"minLength\":16}");
}

// The configuration is one JSON string. Without escapes it is what stands between its quotes, so no parser is needed.
static bool read_key(text_t json) {
  if (json.len < 2 || json.ptr[0] != '"' || json.ptr[json.len - 1] != '"') return false;
  text_t text = part(json, 1, json.len - 1);
  if (text.len < KEY_BYTES || memchr(text.ptr, '\\', text.len) != NULL) return false;
  free(key.ptr);
  key = copy(text);
  return true;
}

void exports_tidegate_policy_lifecycle_configure(setup_t *setup, problems_t *problems) {
  *problems = (problems_t){NULL, 0};
  if (!read_key(setup->configuration)) {
    const char *wanted = "give the passes' key as a JSON string of at least 16 bytes, without escapes";
    add_problem(problems, wanted, constant(""));
  }
  exports_tidegate_policy_lifecycle_setup_free(setup);
}
