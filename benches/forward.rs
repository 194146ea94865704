//! What the engine spends on forwarding one 1,200-byte VP8 packet to 1, 10, 100 and 1,000 consumers, each with its
//! own transport and AES-256-GCM keys (what DTLS agrees on with browsers), history, transport-wide sequence and
//! feedback, estimator, pacer, mid, statistics and RTCP both ways; beside it, and in turn with it, a loop that only
//! copies and seals under as many keys. Knows nothing of sockets or policies.
//!
//! ```text
//! publisher ─ seal ─▶ [ engine.timeout, engine.receive, output drained ] ─▶ counted      (timed)
//!                     [ copy, AES-GCM in place ] × consumers                             (timed, in turn)
//! ```
//!
//! `cargo bench --bench forward`. The lines at the end are medians over blocks of half a second of virtual time, so
//! that everything that is due by time is in each block.

mod crowd;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::Criterion;
use crowd::{BLOCK_PACKETS, CHECK_BLOCKS, HEADER_BYTES, PACKET_BYTES, Room, spent};
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};
use tidegate_media::io::{DATAGRAM_BYTES, Secrets as _};
use tidegate_media::peer::video::Numbers;

/// Copies and seals, and does nothing else: the floor under any SFU that gives each receiver keys of its own.
struct CipherOnly {
    began: Instant,
    keys: Vec<LessSafeKey>,
    packet: [u8; PACKET_BYTES],
    arena: Vec<u8>,
    sequence: u64,
}

impl CipherOnly {
    fn new(keys: usize) -> Self {
        let mut chance = Numbers(11);
        let key = |_| {
            let mut bytes = [0; 32];
            chance.fill(&mut bytes);
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("32 bytes make a key"))
        };
        let keys: Vec<_> = (0..keys).map(key).collect();
        let arena = vec![0; keys.len() * DATAGRAM_BYTES];
        Self { began: Instant::now(), keys, packet: [0x55; PACKET_BYTES], arena, sequence: 0 }
    }

    fn run_block(&mut self) -> Duration {
        let begun = spent(self.began);
        for _ in 0..BLOCK_PACKETS {
            self.sequence += 1;
            let mut rest = self.arena.as_mut_slice();
            for key in &self.keys {
                let (packet, behind) = rest.split_at_mut(PACKET_BYTES + 16);
                let (plain, tag_place) = packet.split_at_mut(PACKET_BYTES);
                plain.copy_from_slice(black_box(&self.packet));
                let (header, payload) = plain.split_at_mut(HEADER_BYTES);
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&self.sequence.to_be_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload);
                tag_place.copy_from_slice(tag.expect("it seals").as_ref());
                rest = behind;
            }
            black_box(&self.arena);
        }
        spent(self.began) - begun
    }
}

/// Nanoseconds of one packet to one consumer, both ways.
struct Line {
    name: String,
    engine: f64,
    cipher: f64,
    blocks: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, engine, cipher, blocks } = self;
        let ratio = engine / cipher;
        write!(
            formatter,
            "{name:<13} engine {engine:6.0} ns  cipher only {cipher:6.0} ns  ratio {ratio:.2}  ({blocks} blocks)"
        )
    }
}

fn median(spans: &mut [Duration]) -> f64 {
    spans.sort_unstable();
    spans.get(spans.len() / 2).map_or(0.0, Duration::as_secs_f64) * 1e9
}

fn measure(criterion: &mut Criterion, consumers: usize) -> Line {
    let name = format!("forward/{consumers}");
    let mut room = Room::new(consumers);
    let mut cipher = CipherOnly::new(consumers);
    let (mut engine_spans, mut cipher_spans) = (Vec::new(), Vec::new());
    criterion.bench_function(&name, |bencher| {
        bencher.iter_custom(|packets| {
            let blocks = packets.div_ceil(u64::from(BLOCK_PACKETS));
            let before = engine_spans.len();
            for _ in 0..blocks {
                engine_spans.push(room.run_block());
                cipher_spans.push(cipher.run_block());
            }
            let took: Duration = engine_spans[before..].iter().sum();
            took.mul_f64(packets as f64 / (blocks * u64::from(BLOCK_PACKETS)) as f64)
        });
    });
    if room.blocks > CHECK_BLOCKS {
        room.check_estimates();
    }
    let each = consumers as f64 * f64::from(BLOCK_PACKETS);
    Line {
        name,
        blocks: engine_spans.len(),
        engine: median(&mut engine_spans) / each,
        cipher: median(&mut cipher_spans) / each,
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    // `cargo test --benches` only asks whether it runs.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let most = if measures { 1_000 } else { 10 };
    let counts = [1, 10, 100, 1_000].into_iter().filter(|consumers| *consumers <= most);
    let lines: Vec<_> = counts.map(|consumers| measure(&mut criterion, consumers)).collect();
    criterion.final_summary();
    println!("\nns for one packet to one consumer, reports and everything else included:");
    for line in lines.iter().filter(|line| line.blocks > 0) {
        println!("{line}");
    }
}
