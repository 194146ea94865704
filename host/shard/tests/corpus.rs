//! The fuzz target's body over the checked-in corpus: each entry as it is, cut, and with each of its bytes changed.

use std::path::Path;
use tidegate_shard::fuzz_frames;

#[test]
fn the_frames_corpus_is_digested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/frames");
    let mut entries = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is checked in") {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        fuzz_frames(&bytes);
        for at in 0..bytes.len() {
            fuzz_frames(&bytes[..at]);
            for flipped in [0xff, 0x80, 0x08, 0x01] {
                let mut changed = bytes.clone();
                changed[at] ^= flipped;
                fuzz_frames(&changed);
            }
        }
        entries += 1;
    }
    assert!(entries > 0, "{} is empty", folder.display());
}
