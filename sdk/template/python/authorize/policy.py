"""Who may enter: whoever shows a pass that was signed for the room. Knows nothing of who makes passes.

    pass = IDENTITY "." ROLE "." EXPIRES "." SIGNATURE

ROLE is `listener`, `speaker` or `presenter`, EXPIRES milliseconds since the Unix epoch. SIGNATURE is HMAC-SHA256, in
lower-case hexadecimal, of all before it without its dot, then a line feed, then the room's name.
"""

import json
import re
from dataclasses import dataclass

from lifecycle import description
from wit_world import exports
from wit_world.exports.authorization import (
    AuthorizeAnswer,
    AuthorizeAnswer_Grant,
    AuthorizeAnswer_Refuse,
    AuthorizeRequest,
    Grant,
)
from wit_world.exports.lifecycle import Description, Problem, Setup
from wit_world.imports import host_counters, host_crypto
from wit_world.imports.types import Attr, Refusal

NAME_CHARACTERS = 64
IDENTITY_BYTES = 128
KEY_BYTES = 16
HANDED_ON = 8
HANDED_ON_BYTES = 256

PASS = re.compile(r"([^\x00-\x1f]+)\.(listener|speaker|presenter)\.([0-9]{1,15})\.([0-9a-f]{64})")

key = b""
"""The configuration: what passes are signed with."""


class Lifecycle(exports.Lifecycle):
    def describe(self) -> Description:
        return description(json.dumps({"type": "string", "minLength": KEY_BYTES}))

    def configure(self, setup: Setup) -> list[Problem]:
        global key
        given = json.loads(setup.configuration)
        if not isinstance(given, str) or len(given.encode()) < KEY_BYTES:
            return [Problem("", f"give the passes' key as a JSON string of at least {KEY_BYTES} bytes")]
        key = given.encode()
        return []


class Authorization(exports.Authorization):
    def authorize(self, request: AuthorizeRequest) -> AuthorizeAnswer:
        if request.action in ("join", "renew"):
            return join(request)
        if request.action in ("publish", "subscribe", "data"):
            # Asked only where a grant names them in `consult`.
            if request.identity:
                return grant(identity=request.identity)
            return refuse("not-inside", "Enter the room first.")
        return refuse("not-granted", "This policy does not grant that.")


def join(request: AuthorizeRequest) -> AuthorizeAnswer:
    if not request.room:
        return refuse("no-room", "A pass opens one room, and none was named.")
    if not request.token:
        return refuse("no-pass", "This room needs a pass.")
    shown_pass = read(request.token)
    if shown_pass is None:
        return refuse("bad-pass", "This is not a pass.")
    message = f"{shown_pass.signed}\n{request.room}".encode()
    if not host_crypto.verify("HS256", key, message, shown_pass.signature):
        return refuse("forged-pass", "This pass was not made for this room.")
    if shown_pass.expires <= request.moment.unix_ms:
        return refuse("pass-expired", "This pass has expired.")
    host_counters.add("entered", 1)
    return grant(
        identity=shown_pass.identity,
        name=shown(request.name) or shown_pass.identity,
        room=request.room,
        publish=shown_pass.role != "listener",
        sources=["camera", "microphone"] if shown_pass.role == "speaker" else None,
        max_tracks=3,
        expires_unix_ms=shown_pass.expires,
        attrs=[Attr("role", shown_pass.role), *handed_on(request.attrs)],
    )


@dataclass
class Pass:
    signed: str
    identity: str
    role: str
    expires: int
    signature: bytes


def read(token: str) -> Pass | None:
    """Takes a pass apart; None if it is none. The identity may have dots of its own."""
    parts = PASS.fullmatch(token)
    if parts is None or len(parts[1].encode()) > IDENTITY_BYTES:
        return None
    identity, role, expires, signature = parts.groups()
    return Pass(f"{identity}.{role}.{expires}", identity, role, int(expires), bytes.fromhex(signature))


def shown(name: str) -> str:
    """A name as others see it: without blanks around it, and not too long."""
    return name.strip(" \t\r\n")[:NAME_CHARACTERS]


def handed_on(attrs: list[Attr]) -> list[Attr]:
    """What the application says about a person (`app-…`) goes along with the grant."""

    def fits(attr: Attr) -> bool:
        short = len(attr.name.encode()) <= HANDED_ON_BYTES and len(attr.value.encode()) <= HANDED_ON_BYTES
        return attr.name.startswith("app-") and short

    return [attr for attr in attrs if fits(attr)][:HANDED_ON]


def grant(
    identity: str,
    name: str | None = None,
    room: str | None = None,
    publish: bool = True,
    sources: list[str] | None = None,
    max_tracks: int | None = None,
    expires_unix_ms: int | None = None,
    attrs: list[Attr] | None = None,
) -> AuthorizeAnswer:
    return AuthorizeAnswer_Grant(
        Grant(
            identity=identity,
            name=name,
            room=room,
            publish=publish,
            subscribe=True,
            data=True,
            admin=False,
            sources=sources,
            max_tracks=max_tracks,
            ingress_kbps=None,
            egress_kbps=None,
            expires_unix_ms=expires_unix_ms,
            consult=[],
            attrs=attrs or [],
        )
    )


def refuse(code: str, message: str) -> AuthorizeAnswer:
    return AuthorizeAnswer_Refuse(Refusal(code=code, message=message, attrs=[]))
