//! What a guest writes piece by piece, as lines: Go writes each word of a panic by itself. Knows nothing of where lines
//! go.

/// A line that grows beyond this is told as it is, in bytes; the log cuts it there anyway.
const LINE_BYTES: usize = 1_024;

/// What was written since the last end of a line.
#[derive(Debug, Default)]
pub(crate) struct Console(String);

impl Console {
    /// The lines that end in this piece, without those that are blank.
    pub(super) fn take(&mut self, piece: &str) -> Vec<String> {
        let mut ended = Vec::new();
        let mut parts = piece.split('\n').peekable();
        while let Some(part) = parts.next() {
            self.0.push_str(part);
            if parts.peek().is_some() || self.0.len() > LINE_BYTES {
                ended.extend(self.rest());
            }
        }
        ended
    }

    /// What has no end yet, unless it is blank.
    pub(super) fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.0);
        (!line.trim().is_empty()).then(|| line.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Console, LINE_BYTES};

    #[test]
    fn pieces_become_lines() {
        let mut console = Console::default();
        assert!(console.take("panic: ").is_empty());
        assert!(console.take("no such").is_empty());
        assert_eq!(console.take(" room\n\ngoroutine 1"), ["panic: no such room"]);
        assert_eq!(console.take(" [running]:\nmain.main\r\n"), ["goroutine 1 [running]:", "main.main"]);
        assert_eq!(console.rest(), None);
        assert!(console.take("exit").is_empty());
        assert_eq!(console.rest().as_deref(), Some("exit"));
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut console = Console::default();
        let told: usize = (0..100).flat_map(|_| console.take(&"x".repeat(100))).map(|line| line.len()).sum();
        assert!(told > 10_000 - 2 * LINE_BYTES, "{told}");
        assert!(console.0.len() <= LINE_BYTES);
    }
}
