//! `auth-open`: lets everybody into every room, with everything but admin. Knows nothing of tokens.
//!
//! For development and for hosts behind a door of their own: the host refuses it on an address that others can
//! reach unless told otherwise.

use tidegate_sdk::authorize::{Action, Answer, Authorize, AuthorizeRequest, Grant};

/// Everything but admin, for everybody.
struct Open;

impl Authorize for Open {
    fn authorize(&self, request: &AuthorizeRequest) -> Answer {
        match &request.action {
            Action::Join | Action::Publish | Action::Subscribe | Action::Data | Action::Renew => {
                Grant::open().into()
            }
            Action::Admin => Answer::refuse("admin-not-granted", "Nobody may use the admin API here."),
            unknown => Answer::refuse(
                "unknown-action",
                format!("This host's policy does not know the action {}.", unknown.name()),
            ),
        }
    }
}

tidegate_sdk::register!(authorize: Open);

#[cfg(test)]
mod tests {
    use super::{Action, Answer, Authorize, AuthorizeRequest, Grant, Open};

    fn ask(action: Action) -> Answer {
        Open.authorize(&AuthorizeRequest { action, ..AuthorizeRequest::default() })
    }

    #[test]
    fn everybody_may_do_everything_but_administer() {
        for action in [Action::Join, Action::Publish, Action::Subscribe, Action::Data, Action::Renew] {
            let Answer::Grant(grant) = ask(action) else { panic!("refused") };
            assert_eq!(grant, Grant::open());
            assert!(grant.publish && grant.subscribe && grant.data && !grant.admin);
        }
        assert!(matches!(ask(Action::Admin), Answer::Refuse(refusal) if refusal.code == "admin-not-granted"));
    }

    #[test]
    fn an_action_that_nobody_knows_is_refused() {
        let answer = ask(Action::Other("levitate".into()));
        assert!(matches!(answer, Answer::Refuse(refusal) if refusal.code == "unknown-action"));
    }
}
