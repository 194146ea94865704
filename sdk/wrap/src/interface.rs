//! Tidegate's own interface, and its description for modules whose compiler leaves none. Knows nothing of how a
//! module becomes a component.

use crate::{DESCRIBED, WrapError, check, contains};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

/// The worlds that a module can be for, one a decision.
pub const WORLDS: [&str; 4] = ["authorize", "allocate", "balance", "share"];

/// The interface's files, by name.
const FILES: [(&str, &str); 8] = [
    ("types.wit", include_str!("../../../wit/v1/types.wit")),
    ("lifecycle.wit", include_str!("../../../wit/v1/lifecycle.wit")),
    ("cluster-feed.wit", include_str!("../../../wit/v1/cluster-feed.wit")),
    ("host.wit", include_str!("../../../wit/v1/host.wit")),
    ("authorize.wit", include_str!("../../../wit/v1/authorize.wit")),
    ("allocate.wit", include_str!("../../../wit/v1/allocate.wit")),
    ("balance.wit", include_str!("../../../wit/v1/balance.wit")),
    ("share.wit", include_str!("../../../wit/v1/share.wit")),
];

/// The same module, with the description of a world's interfaces in it. One that has a description keeps its own.
///
/// # Errors
/// What the module is instead, or that there is no such world.
pub fn describe(module: &[u8], world: &str) -> Result<Vec<u8>, WrapError> {
    check(module)?;
    if !WORLDS.contains(&world) {
        return Err(WrapError::NoSuchWorld(world.to_owned()));
    }
    let mut described = module.to_vec();
    if !contains(module, DESCRIBED) {
        embed(&mut described, &FILES, world).map_err(WrapError::Encode)?;
    }
    Ok(described)
}

/// Describes a module by a world of these files.
pub(crate) fn embed(module: &mut Vec<u8>, files: &[(&str, &str)], world: &str) -> Result<(), String> {
    let mut sources = SourceMap::default();
    for &(name, text) in files {
        sources.push_str(name, text);
    }
    let files = sources.parse().map_err(|(_, error)| error.to_string())?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(files).map_err(|error| error.to_string())?;
    let world = resolve.select_world(&[package], Some(world)).map_err(|error| format!("{error:#}"))?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
        .map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::{FILES, WORLDS, describe};
    use crate::{DESCRIBED, WrapError, contains};
    use std::path::Path;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn every_world_can_be_described_once() {
        for world in WORLDS {
            let described = describe(EMPTY, world).expect("a world");
            assert!(contains(&described, DESCRIBED) && contains(&described, world.as_bytes()), "{world}");
            assert_eq!(
                describe(&described, "authorize").expect("a module"),
                described,
                "{world} keeps its own"
            );
        }
        assert!(matches!(describe(EMPTY, "moon"), Err(WrapError::NoSuchWorld(name)) if name == "moon"));
        assert!(matches!(describe(b"#!", "authorize"), Err(WrapError::NotAModule)));
    }

    #[test]
    fn no_file_of_the_interface_is_left_out() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/v1");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .expect("wit/v1")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        let mut listed = FILES.map(|(name, _)| name.to_owned()).to_vec();
        found.sort();
        listed.sort();
        assert_eq!(found, listed);
    }
}
