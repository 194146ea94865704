//! Lets everybody in, except those whose name announces a misdeed. Knows nothing of how it is contained.
#![forbid(unsafe_code)]

use tidegate_sdk::authorize::*;

struct Hostile;

impl Authorize for Hostile {
    fn authorize(&self, request: &AuthorizeRequest) -> Answer {
        misdeeds::commit(&request.name).map_or(Grant::open().into(), |huge| Answer::refuse("huge", huge))
    }
}

tidegate_sdk::register!(authorize: Hostile);
