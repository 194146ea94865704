//! Invite only: whoever comes first opens a room; from then on only invited people enter. Knows nothing of tokens.

use tidegate_sdk::authorize::*;

/// Who may enter a room that has started. Change this line, build, wrap, and the host decides otherwise.
const INVITED: &[&str] = &["Ada", "Grace"];

/// The door.
struct InviteOnly;

impl Authorize for InviteOnly {
    fn authorize(&self, request: &AuthorizeRequest) -> Answer {
        match request.action {
            Action::Join if request.room_people == 0 || is_invited(request) => Grant::open().into(),
            Action::Join => Answer::refuse(
                "not-invited",
                format!("This room has started, and {} is not on its list of guests.", shown(&request.name)),
            ),
            // Who is in may do all that people do.
            Action::Publish | Action::Subscribe | Action::Data | Action::Renew => Grant::open().into(),
            _ => Answer::refuse("not-granted", "This host's policy does not allow this."),
        }
    }
}

/// A name proves nothing, so this keeps polite people out. Hold tokens against a key where it matters, as
/// `plugins/auth-token` does.
fn is_invited(request: &AuthorizeRequest) -> bool {
    INVITED.iter().any(|guest| guest.eq_ignore_ascii_case(request.name.trim()))
}

fn shown(name: &str) -> &str {
    if name.trim().is_empty() { "a guest without a name" } else { name.trim() }
}

tidegate_sdk::register!(authorize: InviteOnly);

#[cfg(test)]
mod tests {
    use super::*;

    fn joins(name: &str, room_people: u32) -> Result<(), String> {
        let request = AuthorizeRequest { name: name.into(), room_people, ..AuthorizeRequest::default() };
        match InviteOnly.authorize(&request) {
            Answer::Grant(_) => Ok(()),
            Answer::Refuse(refusal) => Err(refusal.message),
            Answer::Need { .. } => Err("a lookup".into()),
        }
    }

    #[test]
    fn the_first_opens_the_room_and_then_the_list_decides() {
        assert_eq!(joins("Mallory", 0), Ok(()));
        assert_eq!(joins("ada ", 1), Ok(()));
        let told = "This room has started, and Mallory is not on its list of guests.";
        assert_eq!(joins("Mallory", 1), Err(told.into()));
        assert!(joins("", 2).unwrap_err().contains("a guest without a name"));
    }
}
