//! Component files that change come in force by themselves. Knows nothing of what they hold.
//!
//! Once a second each file's time and size are looked at; a file that stays as it is for one more look is whole. What
//! cannot be put in force is told in the log once, and the one in force stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tidegate_policy::{Policies, Source, SwapError, SwapOrder};
use tidegate_types::decision::Decision;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What is seen of a file without reading it.
type Look = Option<(SystemTime, u64)>;

/// The thread that looks; it ends with this.
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks from now on.
    pub(crate) fn start(policies: &Arc<Policies>) -> Self {
        let (stop, stopped) = channel();
        let policies = Arc::downgrade(policies);
        let mut files = Files::default();
        files.turn(&policies);
        let look = move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                files.turn(&policies);
            }
        };
        let thread = std::thread::Builder::new().name("policy-watch".to_owned()).spawn(look);
        if let Err(error) = &thread {
            tracing::error!(%error, "component files are not watched: no thread");
        }
        Self { stop: Some(stop), thread: thread.ok() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What each file looked like.
#[derive(Default)]
struct Files(BTreeMap<PathBuf, File>);

#[derive(Default)]
struct File {
    /// As it is in force, or was refused.
    settled: Look,
    last: Look,
}

impl Files {
    fn turn(&mut self, policies: &Weak<Policies>) {
        let Some(policies) = policies.upgrade() else { return };
        for info in policies.info() {
            let Ok(plugin) = policies.plugin_config(info.decision, info.position) else { continue };
            let Source::Path(path) = &plugin.source else { continue };
            if self.changed(path, look(path)) {
                let order =
                    SwapOrder { decision: info.decision, position: info.position, plugin, shadow: false };
                told(info.decision, policies.swap(order));
            }
        }
    }

    /// Has it changed since it was settled, and stayed so for two looks?
    fn changed(&mut self, path: &Path, now: Look) -> bool {
        let Some(file) = self.0.get_mut(path) else {
            self.0.insert(path.to_owned(), File { settled: now, last: now });
            return false;
        };
        let stays = file.last == now;
        file.last = now;
        if now.is_none() || now == file.settled || !stays {
            return false;
        }
        file.settled = now;
        true
    }
}

fn look(path: &Path) -> Look {
    let known = std::fs::metadata(path).ok()?;
    Some((known.modified().ok()?, known.len()))
}

fn told(decision: Decision, swapped: Result<tidegate_policy::Swapped, SwapError>) {
    match swapped {
        // Touched, not changed; and what came in force has been told already.
        Ok(_) | Err(SwapError::Unchanged { .. }) => {}
        Err(error) => {
            let decision = decision.name();
            tracing::error!(decision, %error, "a changed component is not put in force; the one before stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, Look};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_file_counts_as_changed_once_it_stays_as_it_is() {
        let at =
            |s: u64, bytes: u64| -> Look { Some((SystemTime::UNIX_EPOCH + Duration::from_secs(s), bytes)) };
        let mut files = Files::default();
        let mut look = |now: Look| files.changed(Path::new("a.wasm"), now);
        let looks =
            [at(1, 5), at(1, 5), at(2, 3), at(2, 4), None, at(3, 6), at(3, 6), at(3, 6), at(1, 5), at(1, 5)];
        assert_eq!(
            looks.map(&mut look),
            [false, false, false, false, false, false, true, false, false, true]
        );
    }
}
