//! The bindings of languages whose compilers read no WIT, generated from the interface into the templates of each
//! decision. Knows nothing of where templates go.
//!
//! Generated here, not kept beside the templates: so they are always those of this very interface.

use crate::Outcome;
use std::path::Path;
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

/// The worlds, one a decision.
const DECISIONS: [&str; 4] = ["authorize", "allocate", "balance", "share"];

type Generator = fn() -> Box<dyn WorldGenerator>;

/// Each language that needs bindings, and where in a project they lie.
const LANGUAGES: [(&str, &str, Generator); 2] = [("c", "bindings/", for_c), ("go", "", for_go)];

/// What the generators leave that a template has of its own.
const REPLACED: [&str; 1] = ["go.mod"];

/// All files, by their paths from the repository's root.
pub(crate) fn generated(interface: &Path) -> Outcome<Vec<(String, String)>> {
    let mut all = Vec::new();
    for decision in DECISIONS {
        for (language, folder, generator) in LANGUAGES {
            let mut resolve = Resolve::default();
            let (package, _) = resolve.push_path(interface)?;
            let world = resolve.select_world(&[package], Some(decision))?;
            let mut files = Files::default();
            generator().generate(&mut resolve, world, &mut files)?;
            for (name, content) in files.iter().filter(|(name, _)| !REPLACED.contains(name)) {
                let path = format!("sdk/template/{language}/{decision}/{folder}{name}");
                all.push((path, String::from_utf8(content.to_vec())?));
            }
        }
    }
    Ok(all)
}

fn for_c() -> Box<dyn WorldGenerator> {
    // Wrapping the module adds the description that the object file would hold.
    wit_bindgen_c::Opts { no_object_file: true, ..Default::default() }.build()
}

fn for_go() -> Box<dyn WorldGenerator> {
    // A build must not differ by whether gofmt is there.
    wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, ..Default::default() }.build()
}
