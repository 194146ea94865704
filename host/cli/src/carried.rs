//! What this program carries for new projects: templates, SDK and interface, as its own build found them. Knows
//! nothing of where they go.

/// Every file: its path from the repository's root, and its text.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/carried.rs"));

/// The files below a folder, each by its path from there.
pub(crate) fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter_map(move |(path, text)| {
        let path = path.strip_prefix(folder)?.strip_prefix('/')?;
        Some((path, *text))
    })
}

/// One file.
pub(crate) fn file(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}

/// The languages that there is a template in for some decision, each with these decisions.
pub(crate) fn languages() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut languages: Vec<(&str, Vec<&str>)> = Vec::new();
    for (path, _) in below("sdk/template") {
        let mut parts = path.split('/');
        let (Some(language), Some(policy), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if language == EVERY || [EVERY, CLUSTER].contains(&policy) {
            continue;
        }
        match languages.iter_mut().find(|(known, _)| *known == language) {
            Some((_, policies)) if policies.contains(&policy) => {}
            Some((_, policies)) => policies.push(policy),
            None => languages.push((language, vec![policy])),
        }
    }
    languages
}

/// The folder of a language's templates that goes into its projects for every decision; and, in the place of a
/// language, what goes into a decision's projects in every language.
pub(crate) const EVERY: &str = "every";
/// What holds the cluster, in a language without an SDK: for the decisions that are told of it.
pub(crate) const CLUSTER: &str = "cluster";

#[cfg(test)]
mod tests {
    use super::{below, file, languages};

    #[test]
    fn the_sdk_stands_alone() {
        let manifest = file("sdk/rust/Cargo.toml").expect("the SDK's manifest");
        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(
            manifest.contains("wit-bindgen = {") && manifest.contains("edition = \"2024\""),
            "{manifest}"
        );
        assert!(below("wit/v1").any(|(path, _)| path == "authorize.wit"));
        assert!(below("sdk/rust/src").any(|(path, _)| path == "cases/form.rs"));
    }

    #[test]
    fn every_language_has_a_template_for_each_decision() {
        let languages = languages();
        let names: Vec<&str> = languages.iter().map(|(language, _)| *language).collect();
        assert_eq!(names, ["c", "go", "js", "python", "rust"]);
        for (language, mut decisions) in languages {
            decisions.sort_unstable();
            assert_eq!(decisions, ["allocate", "authorize", "balance", "share"], "{language}");
        }
    }
}
