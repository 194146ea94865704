//! The fuzz targets' bodies over the checked-in corpus: each entry as it is, cut, and with each of its bytes changed.

use std::path::Path;
use tidegate_control::{fuzz_fragment, fuzz_message, fuzz_offer};

/// `step`: every how many bytes an entry is cut and changed.
fn digest(folder: &str, step: usize, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut entries = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is checked in") {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        body(&bytes);
        for at in (0..bytes.len()).step_by(step) {
            body(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= if at % 2 == 0 { 0x10 } else { 0x01 };
            body(&changed);
        }
        entries += 1;
    }
    assert!(entries > 0, "{} is empty", folder.display());
}

#[test]
fn the_message_corpus_is_digested() {
    digest("corpus/message", 1, fuzz_message);
}

#[test]
fn the_fragment_corpus_is_digested() {
    digest("corpus/fragment", 1, fuzz_fragment);
}

#[test]
fn the_offer_corpus_is_digested() {
    digest("fixtures", 13, fuzz_offer);
}
