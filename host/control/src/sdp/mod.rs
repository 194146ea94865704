//! SDP in, numbers out, and back: pure functions between a browser's offer, [`RtpParameters`] and the answer
//! (RFC 8829, RFC 9143). Knows nothing of sessions or sockets.
//!
//! [`RtpParameters`]: tidegate_types::RtpParameters

mod answer;
#[cfg(test)]
mod codec_tests;
#[cfg(test)]
pub(crate) mod fixtures;
mod format;
mod media;
mod offer;
#[cfg(test)]
mod tests;

pub(crate) use answer::{AnswerHead, Sending, Verdict, write_answer};
pub(crate) use media::{MediaSection, forwarded, receive_parameters, send_parameters};
pub(crate) use offer::{OFFER_BYTES, Offer, OfferError, Section, is_ice, parse_offer};

/// What a fuzzer calls: reads arbitrary bytes as an offer and, where it is one, answers it. Must not panic; an
/// answer must read as SDP and be no wider than its offer.
pub fn fuzz_offer(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(offer) = parse_offer(&text) else { return };
    let head = AnswerHead::example();
    let verdicts: Vec<_> = offer.sections.iter().map(Verdict::widest).collect();
    let answer = write_answer(&offer, &head, &verdicts);
    let read = rtc_sdp::SessionDescription::unmarshal(&mut std::io::Cursor::new(answer.as_bytes()))
        .expect("what is written can be read");
    assert_eq!(read.media_descriptions.len(), offer.sections.len());
}
