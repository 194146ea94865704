//! The same decisions in native code, behind the traits that components stand behind. Knows nothing of components.

use crate::tokens::{Key, decode};
use serde_json::Value;
use std::hint::black_box;
use tidegate_policy::feed::Cluster;
use tidegate_policy::host::{Allocate, Authorize, Balance, Fed, Instance};
use tidegate_types::Place;
use tidegate_types::cluster::{CellChange, Column};
use tidegate_types::decision::{
    Action, AuthorizeAnswer, AuthorizeRequest, BalanceAnswer, BalanceRequest, Failure, Grant, PlaceAnswer,
    PlaceRequest, Placement, Refusal,
};

/// Grants everything but admin.
pub struct Open;

impl Instance for Open {}

impl Authorize for Open {
    fn authorize(&mut self, request: &AuthorizeRequest) -> Result<AuthorizeAnswer, Failure> {
        Ok(match request.action {
            Action::Admin => AuthorizeAnswer::Refuse(Refusal::new("not-allowed", "No.")),
            _ => AuthorizeAnswer::Grant(Grant::open()),
        })
    }
}

/// Checks a token's signature and end, and grants what it says.
pub struct Token<'a> {
    pub algorithm: &'static str,
    pub key: &'a Key,
}

impl Instance for Token<'_> {}

impl Authorize for Token<'_> {
    fn authorize(&mut self, request: &AuthorizeRequest) -> Result<AuthorizeAnswer, Failure> {
        let grant = self.read(request.token.expose(), request.moment.unix_ms);
        Ok(grant.map_or_else(
            || AuthorizeAnswer::Refuse(Refusal::new("token-invalid", "No.")),
            AuthorizeAnswer::Grant,
        ))
    }
}

impl Token<'_> {
    fn read(&self, token: &str, unix_ms: u64) -> Option<Grant> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        if header["alg"] != self.algorithm || !self.key.verifies(signed.as_bytes(), &decode(signature)?) {
            return None;
        }
        let claims: Value = serde_json::from_slice(&decode(payload)?).ok()?;
        let end = claims["exp"].as_u64()?.checked_mul(1_000)?;
        (end > unix_ms).then(|| Grant {
            identity: claims["sub"].as_str().map(Into::into),
            expires_unix_ms: Some(end),
            ..Grant::open()
        })
    }
}

/// What native deciders hold of the cluster.
#[derive(Default)]
pub struct Held {
    places: Vec<Place>,
    egress: Vec<u64>,
    reserved: Vec<u64>,
    transports: Vec<u64>,
    /// Egress, reported and promised: kept beside its parts, as the SDK does, since a scan reads nothing else.
    expected: Vec<u64>,
}

impl Held {
    fn reset(&mut self, cluster: &Cluster) {
        self.places = (0..).map_while(|row| cluster.place(row)).collect();
        self.egress = cluster.column(Column::Egress).to_vec();
        self.reserved = cluster.column(Column::ReservedEgress).to_vec();
        self.transports = cluster.column(Column::Transports).to_vec();
        self.expected.clear();
        self.expected
            .extend(self.egress.iter().zip(&self.reserved).map(|(egress, reserved)| egress + reserved));
    }

    fn delta(&mut self, changes: &[CellChange]) {
        for change in changes {
            let column = match change.column {
                Column::Egress => &mut self.egress,
                Column::ReservedEgress => &mut self.reserved,
                Column::Transports => &mut self.transports,
                _ => continue,
            };
            let row = change.row as usize;
            if let Some(cell) = column.get_mut(row) {
                *cell = change.value;
                self.expected[row] = self.egress[row] + self.reserved[row];
            }
        }
    }

    /// The row with the least expected egress, then with the fewest transports, then the first.
    fn least(&self) -> Option<usize> {
        let (mut best, mut least) = (None, u64::MAX);
        for (row, &egress) in self.expected.iter().enumerate() {
            if egress > least {
                continue;
            }
            if egress < least || best.is_none_or(|best: usize| self.transports[row] < self.transports[best]) {
                (best, least) = (Some(row), egress);
            }
        }
        best
    }

    fn placed(&self, row: usize) -> Result<PlaceAnswer, Failure> {
        let place = *self.places.get(row).ok_or(Failure::Stale)?;
        Ok(PlaceAnswer::Place(Placement { place, attrs: vec![] }))
    }
}

/// A decider that holds the cluster.
macro_rules! holding {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Default)]
        pub struct $name(Held);

        impl Instance for $name {}

        impl Fed for $name {
            fn reset(&mut self, cluster: &Cluster) -> Result<(), Failure> {
                self.0.reset(cluster);
                Ok(())
            }

            fn delta(&mut self, _generation: u64, changes: &[CellChange]) -> Result<bool, Failure> {
                self.0.delta(changes);
                Ok(true)
            }
        }
    };
}

holding! {
    /// The least loaded of all.
    LeastLoaded
}

impl Allocate for LeastLoaded {
    fn place(&mut self, _request: &PlaceRequest) -> Result<PlaceAnswer, Failure> {
        self.0.placed(self.0.least().unwrap_or(usize::MAX))
    }
}

holding! {
    /// The better of two drawn ones.
    BetterOfTwo
}

impl Allocate for BetterOfTwo {
    fn place(&mut self, request: &PlaceRequest) -> Result<PlaceAnswer, Failure> {
        let held = &self.0;
        let rows = held.places.len().max(1);
        let seed = request.moment.seed;
        let (one, other) = ((seed & 0xffff_ffff) as usize % rows, (seed >> 32) as usize % rows);
        held.placed(if held.egress.get(one) <= held.egress.get(other) { one } else { other })
    }
}

holding! {
    /// Wishes nothing; looks at all.
    Steady
}

impl Balance for Steady {
    fn balance(&mut self, _request: &BalanceRequest) -> Result<BalanceAnswer, Failure> {
        black_box(self.0.egress.iter().max());
        Ok(BalanceAnswer::default())
    }
}
