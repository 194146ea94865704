//! {{name}}: nobody enters a full room; who is in may do all that people do.

use serde::Deserialize;
use tidegate_sdk::authorize::*;

/// What the operator may set, as hosts check it before the policy sees it.
const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "people": {
      "description": "The most people of one room.",
      "type": "integer",
      "minimum": 1,
      "maximum": 1000
    }
  }
}"#;

/// What the operator may set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Policy {
    /// The most people of one room.
    people: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { people: 8 }
    }
}

impl Authorize for Policy {
    fn describe(&self, package: Package) -> Description {
        Description::of(package).with_schema(SCHEMA)
    }

    fn configure(&mut self, setup: &Setup) -> Result<(), Vec<Problem>> {
        *self = setup.parse()?;
        Ok(())
    }

    fn authorize(&self, request: &AuthorizeRequest) -> Answer {
        match request.action {
            Action::Join if request.room_people >= self.people => {
                Answer::refuse("full", "This room is full.")
            }
            Action::Join | Action::Publish | Action::Subscribe | Action::Data | Action::Renew => {
                Grant::open().into()
            }
            _ => Answer::refuse("not-granted", "This host's policy does not allow this."),
        }
    }
}

tidegate_sdk::register!(authorize: Policy = Policy::default());

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn the_schema_fits_the_type() {
        tidegate_sdk::schema::agrees::<Policy>(super::SCHEMA);
    }

    #[test]
    fn the_cases_decide_as_written() {
        tidegate_sdk::cases::authorize::<Policy>("cases");
    }
}
