//! `auth-token`: lets in who holds a signed token (a JWT, RFC 7519). Knows nothing of load and places.
//!
//! Read in this order: [`configuration`] (the keys), [`token`] (is it signed by one of them, and is it its
//! time?), [`claims`] (what it grants).

mod claims;
mod configuration;
mod token;

use configuration::Configuration;
use tidegate_sdk::authorize::{
    Action, Answer, Authorize, AuthorizeRequest, Description, Grant, Package, Problem, Refusal, Setup,
};
use token::Unverified;

const SCHEMA: &str = include_str!("../configuration.schema.json");

/// Who holds a token that one of these keys signed.
#[derive(Default)]
struct Token {
    configuration: Configuration,
}

impl Authorize for Token {
    fn describe(&self, package: Package) -> Description {
        Description::of(package).with_schema(SCHEMA)
    }

    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        self.configuration = Configuration::read(setup)?;
        Ok(())
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Answer {
        self.decide(request).map_or_else(Into::into, Into::into)
    }
}

impl Token {
    fn decide(&self, request: &AuthorizeRequest) -> Result<Grant, Unverified> {
        let payload = token::verified(request, &self.configuration)?;
        let claims = claims::Claims::read(&payload)?;
        claims.check(request, &self.configuration)?;
        let grant = claims.into_grant(&self.configuration);
        allows(&grant, request)?;
        Ok(grant)
    }
}

/// Does the grant hold what is asked now? Joining and staying need nothing beyond the token itself.
fn allows(grant: &Grant, request: &AuthorizeRequest) -> Result<(), Refusal> {
    let (allowed, what) = match &request.action {
        Action::Join | Action::Renew => return Ok(()),
        Action::Publish => (grant.publish && may_publish(grant, request), "publish"),
        Action::Subscribe => (grant.subscribe, "subscribe"),
        Action::Data => (grant.data, "data"),
        Action::Admin => (grant.admin, "admin"),
        other => (false, other.name()),
    };
    if allowed {
        return Ok(());
    }
    Err(Refusal::new(format!("{what}-not-granted"), "Your invitation does not include this."))
}

fn may_publish(grant: &Grant, request: &AuthorizeRequest) -> bool {
    match (&grant.sources, &request.source) {
        (Some(sources), Some(source)) => sources.contains(source),
        _ => true,
    }
}

tidegate_sdk::register!(authorize: Token = Token::default());

#[cfg(test)]
mod tests;
