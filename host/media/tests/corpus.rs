//! The fuzz targets' bodies over the checked-in corpus: each entry as it is, cut, and with each of its bytes changed.
//! The corpus of the targets behind decryption is written by hand below; after a change
//! `cargo test -p tidegate-media --features peer --test corpus -- --ignored` writes it anew. What a fuzzer found is
//! added beside it under a name that says what it was.

use std::path::{Path, PathBuf};
use tidegate_media::fuzzing;
use tidegate_media::rtcp::{ReportBlock, Writer};
use tidegate_types::NtpTime;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn entries(target: &str) -> Vec<Vec<u8>> {
    let folder = folder(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the corpus is checked in")
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn digest(target: &str, body: fn(&[u8])) {
    for bytes in entries(target) {
        body(&bytes);
        for at in 0..bytes.len() {
            body(&bytes[..at]);
            for flipped in [0xff, 0x80, 0x21, 0x01] {
                let mut changed = bytes.clone();
                changed[at] ^= flipped;
                body(&changed);
            }
        }
    }
}

#[test]
fn the_rtp_corpus_is_digested() {
    digest("rtp", fuzzing::fuzz_rtp);
}

#[test]
fn the_rtcp_corpus_is_digested() {
    digest("rtcp", fuzzing::fuzz_rtcp);
}

#[test]
fn the_vp8_corpus_is_digested() {
    digest("vp8", fuzzing::fuzz_vp8);
}

#[test]
fn the_payload_corpus_is_digested() {
    digest("payload", fuzzing::fuzz_payload);
}

#[test]
fn the_arrivals_corpus_is_digested() {
    digest("arrivals", fuzzing::fuzz_arrivals);
}

#[test]
fn the_bandwidth_corpus_is_digested() {
    digest("bandwidth", fuzzing::fuzz_bandwidth);
}

#[test]
fn the_data_corpus_is_digested() {
    digest("data", tidegate_media::data::fuzz_data);
}

/// As they are: each run is a handshake.
#[cfg(feature = "peer")]
#[test]
fn the_engine_corpus_is_digested() {
    entries("engine").iter().for_each(|bytes| fuzzing::fuzz_engine(bytes));
}

/// The hand-written entries, by target and name.
fn written() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let rtp = [sound(), picture(b"l", 1), two_byte_form(), padded(), repair()];
    let [feedback, reports, farewell] = compounds();
    vec![
        ("rtp", "each-kind", cut(&rtp)),
        ("rtp", "gap-and-wrap", cut(&[sound_numbered(65_530), sound_numbered(3), sound_numbered(1)])),
        ("rtp", "two-rids", cut(&[picture(b"l", 1), picture(b"h", 9), picture(b"x", 3), picture(b"l", 700)])),
        ("rtp", "described", cut(&[described_picture(1), picture(b"l", 2)])),
        ("rtcp", "reports", reports.clone()),
        ("rtcp", "feedback", feedback.clone()),
        ("rtcp", "farewell", farewell.clone()),
        ("data", "open", b"\x03\x81\x01\x00\x00\x00\x00\x03\x00\x04\x00\x01roomp".to_vec()),
        ("data", "acknowledgement", vec![2]),
        ("data", "text", b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07hello".to_vec()),
        ("data", "binary", b"\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        ("vp8", "wide-picture-id", [&[0, 1, 9][..], &[0x90, 0xe0, 0xff, 0xff, 250, 0x60, 0, 1, 2]].concat()),
        ("vp8", "narrow-picture-id", [&[0xff, 0xfe, 1][..], &[0x90, 0x80, 0x7f, 1, 2, 3]].concat()),
        ("vp8", "all-flags-key-index", [&[1, 2, 3][..], &[0x80, 0xf0, 0x05, 7, 0x3f, 1]].concat()),
        ("vp8", "no-extension", vec![0, 5, 0, 0x10, 0, 1, 2, 3]),
        ("payload", "described", cut(&described())),
        ("payload", "vp9-layers", cut(&vp9_layers())),
        ("payload", "vp8-layers", cut(&vp8_layers())),
        ("payload", "units-and-blocks", cut(&units_and_blocks())),
        ("arrivals", "steady", [1, 0, 5, 1].repeat(3).into_iter().chain([0, 1, 5, 0]).collect()),
        (
            "arrivals",
            "late-and-lost",
            [[0, 1, 1, 1], [0, 3, 30, 1], [0xff, 0xff, 1, 1], [0, 9, 9, 0x40]].concat(),
        ),
        ("arrivals", "long-silence", [[0, 1, 1, 1], [0, 1, 0xff, 1], [0, 1, 0xff, 0], [2, 0, 1, 0]].concat()),
        (
            "bandwidth",
            "all-arrive",
            cut(&(0..8).map(|nth| told(nth * 20, 20, 0x2000 | 20)).collect::<Vec<_>>()),
        ),
        (
            "bandwidth",
            "lost-late-and-again",
            cut(&[told(0, 14, 0xaaaa), told(0, 14, 0x9555), told(14, 7, 0xe1b8), told(900, 5, 0x0005)]),
        ),
        ("bandwidth", "clock-jumps", cut(&[told(0, 9, 0x4009), told(9, 9, 0x2009), told(65_530, 9, 0x4009)])),
        ("engine", "media", steps(&[(2, sound()), (2, picture(b"l", 1)), (3, repair()), (6, vec![9])])),
        ("engine", "compounds", steps(&[(2, picture(b"h", 1)), (4, feedback), (5, reports), (4, farewell)])),
        ("engine", "strangers", steps(&[(1, vec![0; 40]), (1, sound()), (0, vec![22; 30]), (7, vec![])])),
        ("engine", "silence", steps(&[(6, vec![255]), (2, sound()), (6, vec![255]), (2, two_byte_form())])),
    ]
}

/// Feedback of one chunk, with more deltas behind it than any chunk needs.
fn told(base: u16, count: u16, chunk: u16) -> Vec<u8> {
    let mut bytes = [base.to_be_bytes(), count.to_be_bytes()].concat();
    bytes.extend([0, 0, (base / 3) as u8, 0]);
    bytes.extend(chunk.to_be_bytes());
    bytes.extend((0..40).map(|nth| nth % 7 * 16));
    bytes
}

/// Each piece behind its length in eights, filled up with zeros.
fn cut(pieces: &[Vec<u8>]) -> Vec<u8> {
    let one = |piece: &Vec<u8>| {
        let eights = piece.len().div_ceil(8);
        let mut bytes = vec![eights as u8];
        bytes.extend(piece);
        bytes.resize(1 + 8 * eights, 0);
        bytes
    };
    pieces.iter().flat_map(one).collect()
}

fn steps(steps: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let pieces: Vec<Vec<u8>> =
        steps.iter().map(|(choice, bytes)| [std::slice::from_ref(choice), bytes].concat()).collect();
    cut(&pieces)
}

fn header(first: u8, payload_type: u8, sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut bytes = vec![first, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(960_u32.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes
}

fn sound_numbered(sequence: u16) -> Vec<u8> {
    let mut packet = header(0x90, 111, sequence, 1_000);
    packet.extend([0xbe, 0xde, 0, 4, 0x10, 0x85, 0x31, 1, 2, 0x40, b'0', 0x22, 1, 2, 3]);
    packet.extend([0x50, 1, 0, 0, 0]);
    packet.extend([7; 12]);
    packet
}

fn sound() -> Vec<u8> {
    sound_numbered(100)
}

/// With mid and rid, so that its SSRC can be learnt.
fn picture(rid: &[u8; 1], sequence: u16) -> Vec<u8> {
    let mut packet = header(0x90, 0x80 | 96, sequence, 2_000 + u32::from(rid[0]));
    packet.extend([0xbe, 0xde, 0, 3, 0x40, b'1', 0xa0, rid[0], 0x72, 1, 2, 3, 0x31, 0, 9, 0]);
    packet.extend([0x90, 0xe0, 0x80, 1, 5, 0x20, 0, 1, 2, 3]);
    packet
}

/// With a dependency descriptor of two temporal layers, so long that its header is in the two-byte form.
fn described_picture(sequence: u16) -> Vec<u8> {
    let mut packet = header(0x90, 0x80 | 96, sequence, 2_000 + u32::from(b'l'));
    packet.extend([0x10, 0, 0, 5, 4, 1, b'1', 10, 1, b'l', 8, 10]);
    packet.extend(TWO_RATES);
    packet.extend([0, 0, 0x90, 0xe0, 0x80, 1, 5, 0x20, 0xff, 1]);
    packet
}

/// A dependency descriptor: a key picture whose structure has two temporal layers.
const TWO_RATES: [u8; 10] = [0xc0, 0, 1, 0x80, 0x01, 0x1e, 0xa8, 0x51, 0x40, 0];
/// Two spatial layers.
const TWO_SIZES: [u8; 12] = [0xc0, 0, 9, 0x80, 0x01, 0x23, 0xab, 0x23, 0x45, 0x04, 0x60, 0];

/// AV1, VP8, H.264 and VP9 by descriptors; then one with its own indications, differences and active targets, and one
/// of a template that does not exist.
fn described() -> Vec<Vec<u8>> {
    let with = |choice: u8, descriptor: &[u8], payload: &[u8]| {
        [&[0x80 | choice, descriptor.len() as u8][..], descriptor, payload].concat()
    };
    vec![
        with(5, &TWO_RATES, &[0xff; 4]),
        with(5, &[0xc2, 0, 2], &[0xff; 4]),
        with(2, &[0xc1, 0, 3], &[0x90, 0x80, 3, 1]),
        with(4, &TWO_SIZES, &[0x65]),
        with(4, &[0xc2, 0, 10], &[0x65]),
        with(3, &[0xc1, 0, 11, 0b0111_0101, 0b1011_1000, 0b0001_0000, 0], &[0xff]),
        with(3, &[0xff, 0, 12], &[0xff]),
    ]
}

/// A key picture of two spatial layers with a structure, then one built on it, in the flexible mode.
fn vp9_layers() -> Vec<Vec<u8>> {
    vec![
        vec![0x1b, 0xba, 0x81, 0x00, 0x00, 0x38, 1, 64, 0, 36, 2, 128, 0, 72, 1, 0x04, 1],
        vec![0x5b, 0xbc, 0x81, 0x00, 0x03],
        vec![0x03, 0xfc, 0x81, 0x01, 0x20, 0x02],
        vec![0x13, 0xfd, 0x81, 0x01, 0x33, 0x03, 0x04],
        vec![0x13, 0xac, 0x02, 0x10, 9, 1],
    ]
}

fn vp8_layers() -> Vec<Vec<u8>> {
    vec![
        vec![0xe2, 0, 0x90, 0xe0, 0x81, 0x00, 7, 0x00, 0x00, 1],
        vec![0x62, 0x90, 0xe0, 0x81, 0x01, 7, 0x80, 0x01],
        vec![0x42, 0x90, 0xe0, 0x81, 0x02, 7, 0x60, 0x01],
        vec![0x42, 0x80, 0xe0, 0x81, 0x02, 7, 0x60, 0x01],
    ]
}

/// H.264 alone, together and in pieces; AV1's first and a later packet; redundant sound.
fn units_and_blocks() -> Vec<Vec<u8>> {
    vec![
        vec![4, 0x78, 0, 2, 0x67, 1, 0, 1, 0x68, 0, 1, 0x65],
        vec![4, 0x7c, 0x85, 1],
        vec![4, 0x65, 1],
        vec![5, 0x28, 0x02, 0x0a, 1, 0x32],
        vec![5, 0x90, 0x32],
        vec![1, 0x80 | 111, 0x0f, 0x00, 2, 111, 8, 8, 1, 2],
    ]
}

fn repair() -> Vec<u8> {
    let mut packet = header(0x90, 97, 5, 3_000);
    packet.extend([0xbe, 0xde, 0, 1, 0x40, b'1', 0xb0, b'l', 0, 2, 0x90, 0x80, 2, 1]);
    packet
}

fn two_byte_form() -> Vec<u8> {
    let mut packet = header(0x91, 111, 101, 1_000);
    packet.extend(77_u32.to_be_bytes());
    packet.extend([0x10, 0, 0, 4, 1, 1, 0x20, 4, 1, b'0', 6, 8, 1, 2, 3, 4, 5, 6, 7, 8, 7, 0, 1, 2, 3]);
    packet
}

fn padded() -> Vec<u8> {
    let mut packet = header(0xa0, 111, 102, 1_000);
    packet.extend([1, 2, 3, 4, 0, 0, 0, 4]);
    packet
}

fn compounds() -> [Vec<u8>; 3] {
    let block = ReportBlock { ssrc: 5_000, fraction_lost: 3, highest: 70_000, ..ReportBlock::default() };
    let write = |write: &dyn Fn(&mut Writer<'_>)| {
        let mut space = [0; 600];
        let mut writer = Writer::new(&mut space);
        write(&mut writer);
        let length = writer.len();
        space[..length].to_vec()
    };
    let mut feedback = write(&|writer| {
        writer.receiver_report(1, &[block]);
        writer.nack(1, 5_002, &[9, 10, 12, 40, 65_535, 0]);
        writer.pli(1, 5_002);
        writer.transport_feedback(1, 2_000, &[0, 1, 0, 2, 0, 0, 1, 0, 0xd4, 0, 1, 1]);
    });
    // A full intra request (RFC 5104) of two sources: no one here writes it.
    feedback.extend([0x84, 206, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0]);
    feedback.extend([0, 0, 0x13, 0x8a, 1, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0]);
    let reports = write(&|writer| {
        writer.sender_report(1_000, NtpTime(0xe000_0000_1234_5678), 960, 10, 1_000);
        writer.source_description(1_000, "someone");
        writer.receiver_report(1, &[block, block]);
    });
    let mut farewell = write(&|writer| writer.bye(1_000));
    // An application's packet and an extended report.
    farewell.extend([0x80, 204, 0, 2, 0, 0, 0, 1, b't', b'e', b's', b't', 0x80, 207, 0, 1, 0, 0, 0, 1]);
    [feedback, reports, farewell]
}

#[test]
#[ignore = "writes the hand-written corpus anew"]
fn write_the_corpus() {
    for (target, name, bytes) in written() {
        std::fs::create_dir_all(folder(target)).unwrap();
        std::fs::write(folder(target).join(name), bytes).unwrap();
    }
}

#[test]
fn the_corpus_is_what_is_written_here() {
    for (target, name, bytes) in written() {
        assert!(std::fs::read(folder(target).join(name)).is_ok_and(|read| read == bytes), "{target}/{name}");
    }
}
