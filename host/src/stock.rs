//! The stock policies, embedded as the build made them. Knows nothing of what they decide, or which are in force.

/// Every stock policy: its name and its component.
pub static STOCK: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/stock.rs"));

/// A stock policy's component.
#[must_use]
pub fn stock(name: &str) -> Option<&'static [u8]> {
    STOCK.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}

#[cfg(test)]
mod tests {
    use super::{STOCK, stock};

    #[test]
    fn every_stock_policy_is_a_component() {
        let names: Vec<_> = STOCK.iter().map(|(name, _)| *name).collect();
        let wanted = [
            "allocate-least-cpu",
            "allocate-pack",
            "allocate-region",
            "allocate-spread",
            "allocate-two-choice",
            "auth-open",
            "auth-token",
            "balance-steady",
            "share-speaker",
        ];
        assert_eq!(names, wanted);
        for (name, component) in STOCK {
            assert_eq!(component.get(..8), Some(&b"\0asm\x0d\0\x01\0"[..]), "{name}");
            assert_eq!(stock(name), Some(*component));
        }
        assert_eq!(stock("auth-closed"), None);
    }
}
