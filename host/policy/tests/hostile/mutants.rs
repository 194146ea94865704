//! A good component, cut anywhere, with bytes changed anywhere, or with nothing but chance behind its head: whatever it
//! is then, it is refused or held to its bounds. Knows nothing of what the bytes mean.

use crate::desk::{config, join, plugin, refused, start};
use crate::guest::Guest;
use tidegate_types::decision::Decision;

/// SplitMix64 (Steele and others, 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below the bound")
    }
}

fn good() -> Vec<u8> {
    Guest::new(Decision::Authorize).build()
}

/// Puts it in force, if it can be, and asks it. Whatever it answers, the host beside it does.
fn is_survived(component: Vec<u8>) -> bool {
    let mut config = config();
    config.authorize = plugin("mutant", component);
    match start(config) {
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error:?}");
            false
        }
        Ok(desk) => {
            desk.reset(1, 1);
            for people in [0, 1] {
                // Its answer may be anything; that there is one is all that is asked.
                let _ = desk.ask(join(people));
            }
            true
        }
    }
}

#[test]
fn a_component_cut_anywhere_is_refused() {
    let good = good();
    let mut chance = Chance(1);
    for _ in 0..24 {
        let length = chance.below(good.len());
        // What is left of one that is cut between two sections is a component, but none that exports anything.
        assert!(!is_survived(good[..length].to_vec()), "cut at {length}");
    }
}

#[test]
fn chance_behind_a_components_head_is_refused() {
    let mut chance = Chance(2);
    for length in [1, 9, 100, 4_000] {
        let mut component = good()[..8].to_vec();
        component.extend((0..length).map(|_| chance.below(256) as u8));
        assert!(!is_survived(component), "{length} bytes");
    }
}

#[test]
fn a_component_with_changed_bytes_is_refused_or_held_to_its_bounds() {
    let good = good();
    let mut chance = Chance(3);
    let mut in_force = 0;
    for _ in 0..40 {
        let mut component = good.clone();
        for _ in 0..=chance.below(3) {
            let at = 8 + chance.below(good.len() - 8);
            component[at] ^= 1 << chance.below(8);
        }
        in_force += usize::from(is_survived(component));
    }
    assert!((1..40).contains(&in_force), "some are in force ({in_force}), and some are not");
    let desk = crate::desk::open(config());
    assert_eq!(desk.ask(join(0)), refused(), "a good one is served as ever");
}
