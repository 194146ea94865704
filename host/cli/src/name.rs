//! What a plugin may be called. Knows nothing of where the name is used.

/// The longest name, in bytes.
const NAME_BYTES: usize = 64;

/// Names that a compiler, a tool or the SDK has given away already.
const TAKEN: [&str; 12] = [
    "alloc",
    "core",
    "libtest",
    "proc-macro",
    "sdk",
    "self",
    "serde",
    "std",
    "super",
    "test",
    "tidegate-sdk",
    "wit",
];

/// Checks a name for a project, its package and its component.
///
/// # Errors
/// What is wrong with it and what would be right.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let letters = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let ends = text.starts_with(|first: char| first.is_ascii_lowercase()) && !text.ends_with('-');
    if !letters || !ends || text.contains("--") || text.len() > NAME_BYTES {
        return Err(format!(
            "a name is made of lower-case letters, digits and single hyphens, begins with a letter and has at most \
             {NAME_BYTES} characters, as in front-door"
        ));
    }
    if TAKEN.contains(&text) || KEYWORDS.contains(&text) {
        return Err(format!("{text} means something else already: choose another name"));
    }
    Ok(text.to_owned())
}

/// The name as languages write it that know no hyphen.
pub(crate) fn as_identifier(name: &str) -> String {
    name.replace('-', "_")
}

/// Words that no crate can be called.
const KEYWORDS: [&str; 47] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while",
];

#[cfg(test)]
mod tests {
    use super::{as_identifier, name};

    #[test]
    fn a_name_fits_every_tool_that_sees_it() {
        for good in ["door", "front-door", "d", "door-2", "a1"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        let long = "a".repeat(65);
        for bad in
            ["", "Door", "2door", "-door", "door-", "a--b", "../door", "a b", "dör", "a/b", "a.b", &long]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
        for taken in ["test", "core", "serde", "match", "tidegate-sdk"] {
            assert!(name(taken).is_err(), "{taken}");
        }
        assert_eq!(as_identifier("front-door"), "front_door");
    }
}
