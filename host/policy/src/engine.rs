//! How wasmtime is set up: what bounds a guest's time, memory and stack. Knows nothing of decisions.
//!
//! Not contained by these settings: time inside host functions (each of them is short and bounded) and floods of
//! log lines (`journal` has an allowance).

use crate::chain::LONGEST;
use crate::config::{LARGEST_MEMORY_BYTES, PolicyConfig};
use crate::error::LoadError;
use crate::imports::HostState;
use crate::limits::Limits;
use std::num::NonZeroUsize;
use std::time::Duration;
use tidegate_types::decision::Decision;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreLimitsBuilder,
};

/// How often a running guest is checked against its deadline.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// How often, while questions come or are answered: whoever woke beneath a running guest waits hardly longer than that.
/// Half of it would cost a busy host more wakes, and twice as much those who wait half a millisecond.
pub(crate) const LOOK: Duration = Duration::from_micros(200);
const _: () = assert!(LOOK.as_nanos() < TICK.as_nanos());
/// What one call may copy out of a guest, in bytes: an answer beyond it is not read.
const COPIED_BYTES: usize = 1 << 20;

/// What a metered instance is given: so much that it never ends, since time is what bounds it.
pub(crate) const FUEL: u64 = 1 << 60;

/// A guest's own stack. Deeper recursion traps; worker threads have four times that.
const STACK_BYTES: usize = 512 << 10;
/// Address space for each memory: at 4 GiB a bounds check costs nothing; with 64 MiB calls are 15% slower.
const RESERVED_BYTES: u64 = 4 << 30;
/// Memory that a free slot keeps, so that the next instance in it need not fault it in again.
const KEPT_BYTES: usize = 1 << 20;
/// The most entries of a guest's tables (its indirect functions).
const TABLE_ELEMENTS: usize = 20_000;
/// Core modules in one component: the guest's own and the adapters around it. Python's are linked of 38 in all.
const CORE_INSTANCES: u32 = 64;
/// Frames that are told of a trap.
const BACKTRACE_FRAMES: usize = 12;
/// Instances of one policy for each thread: in force and made ahead for it, in the shadow, before both, and those that
/// wait to take over.
const INSTANCES: u32 = 7;
const MEMORIES: u32 = 2;
const TABLES: u32 = 16;
/// Bytes of a table that are cleared instead of being given back to the system: two calls less for each instance.
const KEPT_TABLE_BYTES: usize = 8 << 10;

/// An engine for all policies of one host.
pub(crate) fn engine(policy: &PolicyConfig) -> Result<Engine, LoadError> {
    with_slots(bounded(), policy)
}

/// The same, which counts what its guests compute ([`FUEL`]).
pub(crate) fn metered(policy: &PolicyConfig) -> Result<Engine, LoadError> {
    let mut config = bounded();
    config.consume_fuel(true);
    with_slots(config, policy)
}

fn with_slots(mut config: Config, policy: &PolicyConfig) -> Result<Engine, LoadError> {
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(slots(policy)));
    Engine::new(&config).map_err(|error| LoadError::Runtime { reason: format!("{error:#}") })
}

fn bounded() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .memory_reservation(RESERVED_BYTES)
        // A call without it is three times as fast; a policy answers one question at a time.
        .concurrency_support(false)
        // What differs from run to run or from machine to machine is off, so that a record replays (threads are not
        // compiled into this wasmtime at all).
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // Enough to say where; walking a whole stack of half a megabyte would cost more than the call.
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES));
    config
}

/// Slots for every instance that may live at once, and a few more for those that are being made anew.
fn slots(policy: &PolicyConfig) -> PoolingAllocationConfig {
    let threads = u32::try_from(policy.threads.clamp(1, 64)).unwrap_or(64);
    let policies =
        u32::try_from(Decision::ALL.len() + policy.authorize_next.len().min(LONGEST)).unwrap_or(u32::MAX);
    let instances = INSTANCES * policies * threads + 4;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES)
        .total_memories(instances * MEMORIES)
        .total_tables(instances * TABLES)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(LARGEST_MEMORY_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_TABLE_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// What one instance lives in: interrupted when its allowance is over, bounded in what is copied out of it.
pub(crate) fn store(engine: &Engine, metered: bool, state: HostState) -> Store<HostState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(COPIED_BYTES);
    store.epoch_deadline_callback(|mut store| Ok(store.data_mut().allowance.at_tick()));
    store.set_epoch_deadline(1);
    // An engine that does not meter would answer with an error, whose making costs as much as the instance where
    // errors keep their backtraces.
    if metered {
        let _ = store.set_fuel(FUEL);
    }
    store
}

/// The bounds of one instance. Those of the slots are wider: each plugin has its own.
pub(crate) fn limits(memory_bytes: usize) -> Limits {
    let bounds = StoreLimitsBuilder::new()
        .memory_size(memory_bytes)
        .table_elements(TABLE_ELEMENTS)
        .instances(CORE_INSTANCES as usize)
        .memories(MEMORIES as usize)
        .tables(TABLES as usize)
        .build();
    Limits::new(bounds)
}
