//! What a token says, whether it holds now and here, and what it grants. Knows nothing of signatures.

use crate::configuration::Configuration;
use crate::token::malformed;
use serde::{Deserialize, Deserializer};
use tidegate_sdk::authorize::{AuthorizeRequest, Bitrate, Grant, Refusal, UnixTime};

/// The claims that are read; others are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    /// When it ends: required, so that no token lives for ever.
    #[serde(deserialize_with = "numeric_date")]
    exp: UnixTime,
    #[serde(default, deserialize_with = "optional_numeric_date")]
    nbf: Option<UnixTime>,
    iss: Option<String>,
    aud: Option<Audience>,
    /// Becomes the identity.
    sub: Option<String>,
    name: Option<String>,
    /// The only room; every room if absent.
    room: Option<String>,
    #[serde(default = "granted")]
    publish: bool,
    #[serde(default = "granted")]
    subscribe: bool,
    #[serde(default = "granted")]
    data: bool,
    #[serde(default)]
    admin: bool,
    sources: Option<Vec<String>>,
    max_tracks: Option<u32>,
    ingress_kbps: Option<u32>,
    egress_kbps: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(name) => name == audience,
            Self::Several(names) => names.iter().any(|name| name == audience),
        }
    }
}

/// What a token that says nothing of it grants.
const fn granted() -> bool {
    true
}

impl Claims {
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(payload).map_err(|_| malformed())
    }

    /// Does it hold now and here?
    pub(crate) fn check(
        &self,
        request: &AuthorizeRequest,
        configuration: &Configuration,
    ) -> Result<(), Refusal> {
        self.check_time(request.moment.now, configuration)?;
        self.check_parties(configuration)?;
        match (&self.room, &request.room) {
            (Some(room), Some(wanted)) if room != wanted => {
                Err(Refusal::new("wrong-room", format!("Your invitation is for another room: {room}.")))
            }
            _ => Ok(()),
        }
    }

    fn check_time(&self, now: UnixTime, configuration: &Configuration) -> Result<(), Refusal> {
        if now >= self.exp.after(configuration.leeway) {
            return Err(Refusal::new("token-expired", "Your invitation has expired. Ask for a new one."));
        }
        if self.nbf.is_some_and(|start| now.after(configuration.leeway) < start) {
            return Err(Refusal::new(
                "token-not-yet-valid",
                "Your invitation is not valid yet. Come back later.",
            ));
        }
        Ok(())
    }

    fn check_parties(&self, configuration: &Configuration) -> Result<(), Refusal> {
        if configuration.issuer.is_some() && configuration.issuer != self.iss {
            return Err(Refusal::new(
                "wrong-issuer",
                "Your invitation comes from someone this host does not know.",
            ));
        }
        // RFC 7519, section 4.1.3: a token for an audience that we are not is to be refused.
        let ours = match (&self.aud, &configuration.audience) {
            (Some(audience), Some(wanted)) => audience.names(wanted),
            (None, None) => true,
            _ => false,
        };
        if ours {
            return Ok(());
        }
        Err(Refusal::new("wrong-audience", "Your invitation is for another service."))
    }

    pub(crate) fn into_grant(self, configuration: &Configuration) -> Grant {
        let ceiling = |kbps: u32| Bitrate::from_kbps(u64::from(kbps));
        Grant {
            identity: self.sub,
            name: self.name,
            room: self.room,
            publish: self.publish,
            subscribe: self.subscribe,
            data: self.data,
            admin: self.admin,
            sources: self.sources,
            max_tracks: self.max_tracks,
            ingress: self.ingress_kbps.map(ceiling),
            egress: self.egress_kbps.map(ceiling),
            expires: Some(self.exp.after(configuration.leeway)),
            ask_again: configuration.ask_again,
            ..Grant::default()
        }
    }
}

/// RFC 7519, section 2: seconds since the Unix epoch, fractions allowed.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixTime, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    // Beyond the range of u64 the cast ends at its bounds: before 1970 is 1970, for ever is for ever.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let millis = (seconds * 1_000.0) as u64;
    Ok(UnixTime::from_millis(millis))
}

fn optional_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixTime>, D::Error> {
    numeric_date(deserializer).map(Some)
}
