//! How the process's heap is laid out. Knows nothing of what is kept in it.

/// Heaps that all threads share. Turning it up lets more threads allocate at the same time, and keeps more memory that
/// nobody uses.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: libc::c_int = 2;

/// Lets all threads allocate from two heaps. The C library otherwise gives nearly each thread one of its own, and what is
/// freed in one is of no use to another: with people who come and go, whose sessions, decisions and transports stand on
/// different threads, those heaps grow for a long time and beyond what is in use. Shards allocate nothing for a packet,
/// and small blocks come from each thread's own cache, so hardly anyone waits for another.
///
/// To be called before threads are started. Where the C library is not GNU's, or refuses, all stays as it was.
pub fn share_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers; it reads and writes only the allocator's own state, under its own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}
