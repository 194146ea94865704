//! How long each kind of thread of a host has run, as Linux counts it (`/proc/self/task/*/schedstat`). Knows nothing of
//! what they do. Where the system does not tell, nothing is told.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Threads by their id: the name of each, and the nanoseconds that it has run.
pub struct Crew(BTreeMap<String, (String, u64)>);

impl Crew {
    /// All threads of this process.
    pub fn now() -> Self {
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let known = |task: fs::DirEntry| Some((task.file_name().into_string().ok()?, read(&task.path())?));
        Self(tasks.filter_map(known).collect())
    }

    /// Those that were not there before.
    pub fn since(before: &Self) -> Self {
        let mut crew = Self::now();
        crew.0.retain(|thread, _| !before.0.contains_key(thread));
        crew
    }

    /// What each kind has run since, in µs, divided by so many joins.
    pub fn ran_us(&self, joins: usize) -> String {
        let now = Self::now();
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for (thread, (name, before)) in &self.0 {
            let after = now.0.get(thread).map_or(*before, |(_, after)| *after);
            // Of `shard-0` and `shard-1` the sum.
            let kind = name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '-');
            *kinds.entry(kind).or_default() += after - before;
        }
        let each = |ns: u64| ns / 1_000 / joins.max(1) as u64;
        let told: Vec<String> = kinds.into_iter().map(|(kind, ns)| format!("{kind} {}", each(ns))).collect();
        told.join(", ")
    }
}

fn read(task: &Path) -> Option<(String, u64)> {
    let name = fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
    let ran_ns = fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()?;
    Some((name, ran_ns))
}
