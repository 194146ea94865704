//! Signed pass: whoever shows a pass that was signed for the room may enter. Knows nothing of who makes passes.
//!
//! ```text
//! pass = IDENTITY "." ROLE "." EXPIRES "." SIGNATURE
//! ```
//!
//! ROLE is `listener`, `speaker` or `presenter`, EXPIRES milliseconds since the Unix epoch. SIGNATURE is HMAC-SHA256,
//! in lower-case hexadecimal, of all before it without its dot, then a line feed, then the room's name.

use tidegate_sdk::authorize::*;
use tidegate_sdk::{counters, crypto};

const NAME_CHARACTERS: usize = 64;
const IDENTITY_BYTES: usize = 128;
const EXPIRES_DIGITS: usize = 15;
const SIGNATURE_BYTES: usize = 32;
const KEY_BYTES: usize = 16;
const HANDED_ON: usize = 8;
const HANDED_ON_BYTES: usize = 256;

/// The door.
#[derive(Default)]
struct SignedPass {
    /// The configuration: what passes are signed with.
    key: String,
}

impl Authorize for SignedPass {
    fn describe(&self, package: Package) -> Description {
        Description::of(package).with_schema(format!(r#"{{"type":"string","minLength":{KEY_BYTES}}}"#))
    }

    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        let key: Option<String> = setup.parse().ok();
        self.key = key.filter(|key| key.len() >= KEY_BYTES).ok_or_else(|| {
            let message = format!("give the passes' key as a JSON string of at least {KEY_BYTES} bytes");
            vec![Problem::at("", message)]
        })?;
        Ok(())
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Answer {
        match request.action {
            // Who stays shows the pass again: it may have expired.
            Action::Join | Action::Renew => self.join(request).into(),
            // Asked only where a grant names them in `consult`.
            Action::Publish | Action::Subscribe | Action::Data => inside(request).into(),
            _ => Answer::refuse("not-granted", "This policy does not grant that."),
        }
    }
}

impl SignedPass {
    fn join(&self, request: &AuthorizeRequest) -> Result<Grant, Refusal> {
        let refuse = |code, message| Err(Refusal::new(code, message));
        let Some(room) = some(&request.room) else {
            return refuse("no-room", "A pass opens one room, and none was named.");
        };
        if request.token.is_empty() {
            return refuse("no-pass", "This room needs a pass.");
        }
        let Some(pass) = Pass::read(&request.token) else { return refuse("bad-pass", "This is not a pass.") };
        if !self.has_signed(&pass, room) {
            return refuse("forged-pass", "This pass was not made for this room.");
        }
        if pass.expires <= request.moment.now {
            return refuse("pass-expired", "This pass has expired.");
        }
        counters::add("entered", 1);
        Ok(pass.grant(room, request))
    }

    fn has_signed(&self, pass: &Pass<'_>, room: &str) -> bool {
        let message = format!("{}\n{room}", pass.signed);
        crypto::verify("HS256", self.key.as_bytes(), message.as_bytes(), &pass.signature).unwrap_or(false)
    }
}

fn inside(request: &AuthorizeRequest) -> Result<Grant, Refusal> {
    let identity = some(&request.identity).ok_or_else(|| Refusal::new("not-inside", "Enter the room first."))?;
    Ok(Grant { identity: Some(identity.into()), ..Grant::open() })
}

fn some(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// A pass, taken apart.
struct Pass<'a> {
    signed: &'a str,
    identity: &'a str,
    role: &'a str,
    expires: UnixTime,
    signature: [u8; SIGNATURE_BYTES],
}

impl<'a> Pass<'a> {
    /// From its end: the identity may have dots of its own. None if it is no pass.
    fn read(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (rest, expires) = signed.rsplit_once('.')?;
        let (identity, role) = rest.rsplit_once('.')?;
        let is_identity = (1..=IDENTITY_BYTES).contains(&identity.len()) && identity.bytes().all(|byte| byte >= b' ');
        let is_role = ["listener", "speaker", "presenter"].contains(&role);
        let (expires, signature) = (UnixTime::from_millis(number(expires)?), read_signature(signature)?);
        (is_identity && is_role).then_some(Self { signed, identity, role, expires, signature })
    }

    fn grant(&self, room: &str, request: &AuthorizeRequest) -> Grant {
        let name = shown(&request.name);
        let only = || vec!["camera".to_owned(), "microphone".to_owned()];
        let mut attrs = vec![Attr { name: "role".into(), value: self.role.into() }];
        attrs.extend(request.attrs.iter().filter(|attr| goes_along(attr)).take(HANDED_ON).cloned());
        Grant {
            identity: Some(self.identity.into()),
            name: Some(if name.is_empty() { self.identity.into() } else { name }),
            room: Some(room.into()),
            publish: self.role != "listener",
            sources: (self.role == "speaker").then(only),
            max_tracks: Some(3),
            expires: Some(self.expires),
            attrs,
            ..Grant::open()
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = (1..=EXPIRES_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn read_signature(text: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let mut signature = [0; SIGNATURE_BYTES];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    for (byte, pair) in signature.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(signature)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// A name as others see it: without blanks around it, and not too long.
fn shown(name: &str) -> String {
    name.trim_matches([' ', '\t', '\r', '\n']).chars().take(NAME_CHARACTERS).collect()
}

/// What the application says about a person (`app-…`) goes along with the grant.
fn goes_along(attr: &Attr) -> bool {
    attr.name.starts_with("app-") && attr.name.len() <= HANDED_ON_BYTES && attr.value.len() <= HANDED_ON_BYTES
}

tidegate_sdk::register!(authorize: SignedPass = SignedPass::default());
