//! A component's bytes, from wherever they come. Knows nothing of what is in them.

use crate::config::Source;
use crate::error::LoadError;
use aws_lc_rs::digest::{SHA256, digest};
use rustix::fs::OFlags;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{File, FileType, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The largest component file, in bytes. Guests that carry an interpreter have 20 MB.
const FILE_BYTES: u64 = 64 << 20;

/// All of it.
pub(crate) fn read(source: &Source) -> Result<Cow<'_, [u8]>, LoadError> {
    match source {
        Source::Embedded { bytes, .. } => Ok(Cow::Borrowed(bytes)),
        Source::Path(path) => read_file(path)
            .map(Cow::Owned)
            .map_err(|reason| LoadError::Unreadable { origin: path.display().to_string(), reason }),
        Source::Native(native) => Err(LoadError::NotAComponent {
            origin: native.name().to_owned(),
            found: "native code".to_owned(),
        }),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = open(path).map_err(|error| error.to_string())?;
    let found = file.metadata().map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err(format!("it is {}", kind(found.file_type())));
    }
    if found.len() > FILE_BYTES {
        return Err(format!("it has {} bytes, at most {FILE_BYTES} are read", found.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    // It may grow meanwhile.
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("it has more than {FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Waits for nobody: a named pipe without a writer would hold up the host's start for ever.
fn open(path: &Path) -> std::io::Result<File> {
    let at_once = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(at_once).open(path)
}

fn kind(file: FileType) -> &'static str {
    if file.is_dir() {
        "a folder"
    } else if file.is_fifo() {
        "a named pipe"
    } else if file.is_char_device() || file.is_block_device() {
        "a device"
    } else {
        "no ordinary file"
    }
}

/// SHA-256 of a component, in lower-case hexadecimal.
pub(crate) fn source_digest(source: &Source) -> Result<String, LoadError> {
    Ok(digest_of(&read(source)?))
}

/// SHA-256 in lower-case hexadecimal: what a component is known by.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    hexadecimal(digest(&SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
