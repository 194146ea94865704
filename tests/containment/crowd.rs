//! Many people who join at a steady rate, and what becomes of each. Knows nothing of why they are refused.

use crate::session::Session;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How many people got which answer: `ok`, or the refusal's status and code.
pub type Outcomes = BTreeMap<String, usize>;

/// One join each hundredth of a second for so long. Everybody's name begins with `name`; who gets in leaves again.
pub async fn come(address: SocketAddr, room: &str, name: &str, length: Duration) -> Outcomes {
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut people = JoinSet::new();
    for number in 0..length.as_millis() / 10 {
        pace.tick().await;
        people.spawn(visit(address, room.to_owned(), format!("{name} {number}")));
    }
    let mut outcomes = Outcomes::new();
    for outcome in people.join_all().await {
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes
}

/// Until somebody honest gets in, who tries again and again; `false` if that takes longer than `within`.
pub async fn let_in_again(address: SocketAddr, room: &str, within: Duration) -> bool {
    let tries = async {
        while visit(address, room.to_owned(), "Visitor".to_owned()).await != "ok" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(within, tries).await.is_ok()
}

async fn visit(address: SocketAddr, room: String, name: String) -> String {
    let (mut session, joined) = Session::join(address, &room, &name).await;
    match joined {
        Ok(_) => {
            session.ask(json!({ "type": "leave" })).await.expect("who is in may leave");
            "ok".to_owned()
        }
        Err(refused) => {
            assert!(!refused.detail.is_empty(), "{refused:?} says nothing");
            format!("{} {}", refused.status, refused.code)
        }
    }
}
