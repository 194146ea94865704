//! An author at a desk of its own: a folder that goes with the test, and the command. Knows nothing of what is
//! typed.

use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// More time than any plugin here needs, on however busy a machine.
pub(crate) const PATIENT: [&str; 2] = ["--deadline-ms", "20000"];

/// A folder, and whoever types in it.
pub(crate) struct Author {
    pub(crate) folder: PathBuf,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Ended with this code, and said each of these.
    #[track_caller]
    pub(crate) fn ended(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.out.contains(word) || self.err.contains(word), "{word:?} is missing: {self:?}");
        }
    }
}

impl Author {
    /// At an empty folder.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidegate-author-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written to");
        Self { folder }
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).expect("the folder can be written to");
        path
    }

    /// A stock policy as a file.
    pub(crate) fn stock(&self, name: &str) -> PathBuf {
        self.write(&format!("{name}.wasm"), tidegate::stock::stock(name).expect("a stock policy"))
    }

    /// `tidegate plugin …`.
    pub(crate) fn plugin<S: AsRef<str>>(&self, arguments: &[S]) -> Said {
        self.plugin_told(&self.folder, arguments, "")
    }

    /// The same in another folder, with this on standard input.
    pub(crate) fn plugin_told<S: AsRef<str>>(&self, folder: &Path, arguments: &[S], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("plugin")
            .args(arguments.iter().map(AsRef::as_ref))
            .current_dir(folder)
            .env("CARGO_NET_OFFLINE", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        // One that does not read it ends all the same.
        let _ = child.stdin.take().expect("its input is piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        Said {
            code: output.status.code().expect("not by a signal"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for Author {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
