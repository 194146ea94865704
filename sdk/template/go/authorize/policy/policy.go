// Package policy decides who may enter: whoever shows a pass that was signed for the room. Knows nothing of who makes
// passes.
//
//	pass = IDENTITY "." ROLE "." EXPIRES "." SIGNATURE
//
// ROLE is `listener`, `speaker` or `presenter`, EXPIRES milliseconds since the Unix epoch. SIGNATURE is HMAC-SHA256, in
// lower-case hexadecimal, of all before it without its dot, then a line feed, then the room's name.
package policy

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/tidegate_policy_authorization"
	"wit_component/tidegate_policy_host_counters"
	"wit_component/tidegate_policy_host_crypto"
	"wit_component/tidegate_policy_types"
)

type (
	request = tidegate_policy_authorization.AuthorizeRequest
	answer  = tidegate_policy_authorization.AuthorizeAnswer
	grant   = tidegate_policy_authorization.Grant
	attr    = tidegate_policy_types.Attr
)

const (
	nameCharacters = 64
	keyBytes       = 16
	handedOn       = 8
	handedOnBytes  = 256
)

// The configuration: what passes are signed with.
var key []byte

// Describe says what this policy is.
func Describe() description {
	return describe(fmt.Sprintf(`{"type":"string","minLength":%d}`, keyBytes))
}

// Configure takes the key.
func Configure(setup setup) []problem {
	var given string
	if err := json.Unmarshal([]byte(setup.Configuration), &given); err != nil || len(given) < keyBytes {
		return []problem{{Message: fmt.Sprintf("give the passes' key as a JSON string of at least %d bytes", keyBytes)}}
	}
	key = []byte(given)
	return nil
}

// Authorize decides.
func Authorize(request request) answer {
	switch request.Action {
	case "join", "renew":
		return join(request)
	case "publish", "subscribe", "data":
		// Asked only where a grant names them in `consult`.
		identity := request.Identity.SomeOr("")
		if identity == "" {
			return refuse("not-inside", "Enter the room first.")
		}
		return tidegate_policy_authorization.MakeAuthorizeAnswerGrant(usual(identity))
	default:
		return refuse("not-granted", "This policy does not grant that.")
	}
}

func join(request request) answer {
	room := request.Room.SomeOr("")
	if room == "" {
		return refuse("no-room", "A pass opens one room, and none was named.")
	}
	if request.Token == "" {
		return refuse("no-pass", "This room needs a pass.")
	}
	pass, ok := readPass(request.Token)
	if !ok {
		return refuse("bad-pass", "This is not a pass.")
	}
	valid := tidegate_policy_host_crypto.Verify("HS256", key, []byte(pass.signed+"\n"+room), pass.signature)
	if !valid.IsOk() || !valid.Ok() {
		return refuse("forged-pass", "This pass was not made for this room.")
	}
	if pass.expires <= request.Moment.UnixMs {
		return refuse("pass-expired", "This pass has expired.")
	}
	tidegate_policy_host_counters.Add("entered", 1)
	return tidegate_policy_authorization.MakeAuthorizeAnswerGrant(pass.grant(room, request))
}

func (pass pass) grant(room string, request request) grant {
	name := shown(request.Name)
	if name == "" {
		name = pass.identity
	}
	granted := usual(pass.identity)
	granted.Name = types.Some(name)
	granted.Room = types.Some(room)
	granted.Publish = pass.role != "listener"
	if pass.role == "speaker" {
		granted.Sources = types.Some([]string{"camera", "microphone"})
	}
	granted.MaxTracks = types.Some(uint32(3))
	granted.ExpiresUnixMs = types.Some(pass.expires)
	granted.Attrs = append([]attr{{Name: "role", Value: pass.role}}, goesAlong(request.Attrs)...)
	return granted
}

// A name as others see it: without blanks around it, and not too long. Counted in characters, not bytes.
func shown(name string) string {
	characters := []rune(strings.Trim(name, " \t\r\n"))
	return string(characters[:min(len(characters), nameCharacters)])
}

// What the application says about a person (`app-…`) goes along with the grant.
func goesAlong(attrs []attr) []attr {
	var along []attr
	for _, attr := range attrs {
		short := len(attr.Name) <= handedOnBytes && len(attr.Value) <= handedOnBytes
		if short && strings.HasPrefix(attr.Name, "app-") && len(along) < handedOn {
			along = append(along, attr)
		}
	}
	return along
}

// Lets someone do what people do.
func usual(identity string) grant {
	return grant{Identity: types.Some(identity), Publish: true, Subscribe: true, Data: true}
}

func refuse(code, message string) answer {
	refusal := tidegate_policy_types.Refusal{Code: code, Message: message}
	return tidegate_policy_authorization.MakeAuthorizeAnswerRefuse(refusal)
}
