//! From a file to a policy that can make instances: reads, checks, compiles, links and configures. Knows nothing
//! of queues and threads.
//!
//! ```text
//! source ─▶ bytes ─▶ component ─▶ imports granted? exports what the decision needs? ─▶ described, configured
//! ```

use crate::allowance::Allowance;
use crate::bindings::Every;
use crate::bindings::exports::tidegate::policy::{
    allocation, authorization, balancing, cluster_feed, lifecycle, sharing,
};
use crate::compile::{Compiler, one_line};
use crate::config::{LARGEST_MEMORY_BYTES, PluginConfig, PolicyConfig, Source};
use crate::engine;
use crate::error::{LoadError, Problem};
use crate::feed;
use crate::host;
use crate::imports::{HostState, Shared};
use crate::instance::{Fed, Guest};
use crate::native::Native;
use crate::schema::Schema;
use crate::source::{digest_of, read};
use crate::tape::{Tape, Told};
use crate::wasi;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_types::decision::{Decision, Failure};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Engine, Store};

/// What stands where a component has its origin and its digest.
const NATIVE: &str = "native";
/// The version of the interface that this host offers.
const OFFERED: &str = "1.0.0";
/// What policies may import, besides types.
const GRANTED: [&str; 5] = ["types", "host-log", "host-counters", "host-store", "host-crypto"];
/// WebAssembly counts memory in pages of so many bytes.
const PAGE_BYTES: u64 = 64 << 10;
const MIB: u64 = 1 << 20;
/// The longest name and version, in bytes: they stand in metrics, records and on screens.
const NAME_BYTES: usize = 64;
/// What `describe` and `configure` may take when a host starts.
const START_TIME: Duration = Duration::from_secs(1);
/// What `configure` may take when an instance is made anew.
const RESTART_TIME: Duration = Duration::from_millis(100);

/// Gives the wall clock in milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Loads plugins into one engine.
pub struct Loader {
    engine: Engine,
    /// Whether it counts what guests compute.
    metered: bool,
    compiler: Compiler,
    linker: Linker<HostState>,
    memory_bytes: usize,
    lookups: Vec<String>,
    clock: Clock,
}

impl Loader {
    /// An engine with the bounds of `config`.
    ///
    /// # Errors
    /// [`LoadError::Runtime`] if the system has not the address space for it.
    pub fn new(config: &PolicyConfig, clock: Clock) -> Result<Self, LoadError> {
        Self::with_engine(engine::engine(config)?, false, config, clock)
    }

    /// The same, with an engine that counts what guests compute.
    pub(crate) fn metered(config: &PolicyConfig, clock: Clock) -> Result<Self, LoadError> {
        Self::with_engine(engine::metered(config)?, true, config, clock)
    }

    fn with_engine(
        engine: Engine,
        metered: bool,
        config: &PolicyConfig,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        let mut linker = Linker::new(&engine);
        Every::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)
            .map_err(|error| LoadError::Runtime { reason: format!("{error:#}") })?;
        let lookups = config.lookups.as_ref().map(|lookups| lookups.names()).unwrap_or_default();
        let compiler = Compiler::new(engine.clone(), config.compile_time);
        let memory_bytes = config.memory_bytes;
        Ok(Self { engine, metered, compiler, linker, memory_bytes, lookups, clock })
    }

    /// The same, telling its plugins of these lookups.
    pub(crate) fn with_lookups(mut self, names: &[String]) -> Self {
        self.lookups = names.to_vec();
        self
    }

    /// The engine; its epoch is to be moved on by one each [`engine::TICK`] or sooner.
    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Loads a plugin for one decision and tries its configuration.
    ///
    /// # Errors
    /// Says which file, what was wanted, what was found and what to do.
    pub fn load(&self, decision: Decision, config: &PluginConfig) -> Result<Plugin, LoadError> {
        self.load_told(decision, config, &self.lookups)
    }

    /// The same, telling it of these lookups.
    pub(crate) fn load_told(
        &self,
        decision: Decision,
        config: &PluginConfig,
        lookups: &[String],
    ) -> Result<Plugin, LoadError> {
        if let Source::Native(native) = &config.source {
            return self.native(decision, native);
        }
        let origin = config.source.label();
        let bytes: Arc<[u8]> = read(&config.source)?.into();
        let component = self.compile(&origin, &bytes)?;
        self.check(&origin, decision, &component)?;
        check_memory(&origin, decision, &component, self.memory_of(config))?;
        let mut plugin = self.link(decision, config, &component, &bytes)?;
        plugin.lookups = lookups.to_vec();
        plugin.introduce()?;
        Ok(plugin)
    }

    /// Nothing to read, to compile or to configure.
    fn native(&self, decision: Decision, native: &Native) -> Result<Plugin, LoadError> {
        let found = native.decision();
        if found != decision {
            return Err(LoadError::WrongWorld {
                origin: native.name().to_owned(),
                decision,
                missing: format!("native {}", decision.name()),
                exports: format!("native {}", found.name()),
                fix: format!("it fits the decision {}: give it there", found.name()),
            });
        }
        Ok(Plugin {
            decision,
            made: Made::Native(native.clone()),
            shared: Shared::new(native.name().to_owned()),
            label: native.name().to_owned(),
            origin: NATIVE.to_owned(),
            digest: NATIVE.to_owned(),
            name: native.name().to_owned(),
            version: String::new(),
            configuration: serde_json::Value::Null.to_string(),
            lookups: Vec::new(),
            memory_bytes: 0,
            metered: false,
            clock: self.clock.clone(),
        })
    }

    /// Compiles, without a look at what it is for.
    pub(crate) fn compile(&self, origin: &str, bytes: &Arc<[u8]>) -> Result<Component, LoadError> {
        self.compiler.compile(origin, bytes)
    }

    /// Is all that it imports granted, and all that the decision needs exported?
    fn check(&self, origin: &str, decision: Decision, component: &Component) -> Result<(), LoadError> {
        let shape = component.component_type();
        for (name, _) in shape.imports(&self.engine) {
            check_import(origin, name)?;
        }
        let exports: Vec<&str> = shape.exports(&self.engine).map(|(name, _)| name).collect();
        check_exports(origin, decision, &exports)
    }

    /// The usual imports, and those of WASI that this component asks for.
    fn with_stand_ins(&self, component: &Component) -> wasmtime::Result<Cow<'_, Linker<HostState>>> {
        let shape = component.component_type();
        if !shape.imports(&self.engine).any(|(name, _)| wasi::stands_in(name).is_some()) {
            return Ok(Cow::Borrowed(&self.linker));
        }
        let mut linker = self.linker.clone();
        wasi::link(&mut linker, component)?;
        Ok(Cow::Owned(linker))
    }

    /// What one of its instances may have.
    fn memory_of(&self, config: &PluginConfig) -> usize {
        config.memory_bytes.unwrap_or(self.memory_bytes).min(LARGEST_MEMORY_BYTES)
    }

    fn link(
        &self,
        decision: Decision,
        config: &PluginConfig,
        component: &Component,
        bytes: &[u8],
    ) -> Result<Plugin, LoadError> {
        let label = config.source.label();
        let invalid =
            |error: wasmtime::Error| LoadError::Invalid { origin: label.clone(), reason: one_line(&error) };
        let pre = self.with_stand_ins(component).and_then(|linker| linker.instantiate_pre(component));
        let pre = pre.map_err(invalid)?;
        let linked = Linked {
            lifecycle: lifecycle::GuestIndices::new(&pre).map_err(invalid)?,
            entry: Entry::new(decision, &pre).map_err(invalid)?,
            pre,
        };
        Ok(Plugin {
            decision,
            made: Made::Component(linked),
            shared: Shared::new(label.clone()),
            label,
            origin: config.source.origin(),
            digest: digest_of(bytes),
            name: String::new(),
            version: String::new(),
            configuration: config.configuration.to_string(),
            lookups: self.lookups.clone(),
            memory_bytes: self.memory_of(config),
            metered: self.metered,
            clock: self.clock.clone(),
        })
    }
}

/// `tidegate:policy/host-log@1.0.0` as its interface and version.
fn ours(name: &str) -> Option<(&str, &str)> {
    let (interface, version) = name.strip_prefix("tidegate:policy/")?.split_once('@')?;
    Some((interface, version))
}

pub(crate) fn check_import(origin: &str, name: &str) -> Result<(), LoadError> {
    let not_granted = || LoadError::ImportNotGranted { origin: origin.into(), import: name.into() };
    match wasi::stands_in(name) {
        Some(true) => return Ok(()),
        Some(false) => return Err(not_granted()),
        None => {}
    }
    let (interface, version) = ours(name).ok_or_else(not_granted)?;
    check_version(origin, version)?;
    GRANTED.contains(&interface).then_some(()).ok_or_else(not_granted)
}

/// Versions interoperate within a major number; what a newer minor one adds is missed by name when it is linked.
fn check_version(origin: &str, version: &str) -> Result<(), LoadError> {
    if version.split('.').next() == OFFERED.split('.').next() {
        return Ok(());
    }
    Err(LoadError::OtherVersion { origin: origin.into(), found: version.into(), offered: OFFERED })
}

pub(crate) const fn needed(decision: Decision) -> &'static [&'static str] {
    match decision {
        Decision::Authorize => &["lifecycle", "authorization"],
        Decision::Allocate => &["lifecycle", "cluster-feed", "allocation"],
        Decision::Balance => &["lifecycle", "cluster-feed", "balancing"],
        Decision::Share => &["lifecycle", "sharing"],
    }
}

pub(crate) fn check_exports(origin: &str, decision: Decision, exports: &[&str]) -> Result<(), LoadError> {
    for (_, version) in exports.iter().filter_map(|name| ours(name)) {
        check_version(origin, version)?;
    }
    let exported =
        |interface: &str| exports.iter().filter_map(|name| ours(name)).any(|(name, _)| name == interface);
    let Some(missing) = needed(decision).iter().find(|interface| !exported(interface)) else { return Ok(()) };
    let fitting = Decision::ALL.iter().find(|other| needed(**other).iter().all(|name| exported(name)));
    Err(LoadError::WrongWorld {
        origin: origin.into(),
        decision,
        missing: format!("tidegate:policy/{missing}@{OFFERED}"),
        exports: if exports.is_empty() { "nothing".into() } else { exports.join(", ") },
        fix: fitting.map_or_else(
            || format!("register it for the world {}", decision.name()),
            |other| format!("it fits the decision {}: give it there", other.name()),
        ),
    })
}

/// One that begins with more than it may ever have would fail with each instance.
fn check_memory(
    origin: &str,
    decision: Decision,
    component: &Component,
    allowed_bytes: usize,
) -> Result<(), LoadError> {
    let pages = component.resources_required().and_then(|needed| needed.max_initial_memory_size).unwrap_or(0);
    let needed_bytes = pages.saturating_mul(PAGE_BYTES);
    if needed_bytes <= allowed_bytes as u64 {
        return Ok(());
    }
    Err(LoadError::Memory {
        origin: origin.into(),
        decision,
        needed_mib: needed_bytes.div_ceil(MIB),
        allowed_mib: allowed_bytes as u64 / MIB,
    })
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES && !text.chars().any(char::is_control)
}

/// The exports that a decision is called through, found once.
#[derive(Clone)]
enum Entry {
    Authorize(authorization::GuestIndices),
    Allocate(cluster_feed::GuestIndices, allocation::GuestIndices),
    Balance(cluster_feed::GuestIndices, balancing::GuestIndices),
    Share(sharing::GuestIndices),
}

impl Entry {
    fn new(decision: Decision, pre: &InstancePre<HostState>) -> wasmtime::Result<Self> {
        let feed = || cluster_feed::GuestIndices::new(pre);
        Ok(match decision {
            Decision::Authorize => Self::Authorize(authorization::GuestIndices::new(pre)?),
            Decision::Allocate => Self::Allocate(feed()?, allocation::GuestIndices::new(pre)?),
            Decision::Balance => Self::Balance(feed()?, balancing::GuestIndices::new(pre)?),
            Decision::Share => Self::Share(sharing::GuestIndices::new(pre)?),
        })
    }
}

/// One instance, ready to decide, as the decision that it is for.
pub enum Decider {
    /// Who may.
    Authorize(Box<dyn host::Authorize>),
    /// Where.
    Allocate(Box<dyn host::Allocate>),
    /// What to change.
    Balance(Box<dyn host::Balance>),
    /// How to divide.
    Share(Box<dyn host::Share>),
}

impl Decider {
    /// What it decides.
    pub(crate) const fn decision(&self) -> Decision {
        match self {
            Self::Authorize(_) => Decision::Authorize,
            Self::Allocate(_) => Decision::Allocate,
            Self::Balance(_) => Decision::Balance,
            Self::Share(_) => Decision::Share,
        }
    }

    /// As any instance.
    pub(crate) fn instance(&mut self) -> &mut dyn host::Instance {
        match self {
            Self::Authorize(decider) => decider.as_mut(),
            Self::Allocate(decider) => decider.as_mut(),
            Self::Balance(decider) => decider.as_mut(),
            Self::Share(decider) => decider.as_mut(),
        }
    }

    /// In its next call the host answers as it did once.
    pub(crate) fn play(&mut self, told: &[Told]) {
        if let Some(tape) = self.instance().tape() {
            *tape = Tape::playing(told);
        }
    }
}

/// What instances are made from.
#[derive(Clone)]
enum Made {
    Component(Linked),
    Native(Native),
}

/// A compiled component with its imports, and the exports that it is called through.
#[derive(Clone)]
struct Linked {
    pre: InstancePre<HostState>,
    lifecycle: lifecycle::GuestIndices,
    entry: Entry,
}

impl Linked {
    fn decider_of(
        &self,
        mut store: Store<HostState>,
        instance: &wasmtime::component::Instance,
    ) -> wasmtime::Result<Decider> {
        Ok(match &self.entry {
            Entry::Authorize(decide) => {
                let decide = decide.load(&mut store, instance)?;
                Decider::Authorize(Box::new(Guest::new(store, decide)))
            }
            Entry::Allocate(feed, decide) => {
                let (feed, decide) = (feed.load(&mut store, instance)?, decide.load(&mut store, instance)?);
                Decider::Allocate(Box::new(Guest::new(store, Fed { feed, decide })))
            }
            Entry::Balance(feed, decide) => {
                let (feed, decide) = (feed.load(&mut store, instance)?, decide.load(&mut store, instance)?);
                Decider::Balance(Box::new(Guest::new(store, Fed { feed, decide })))
            }
            Entry::Share(decide) => {
                let decide = decide.load(&mut store, instance)?;
                Decider::Share(Box::new(Guest::new(store, decide)))
            }
        })
    }
}

/// A plugin that was loaded for one decision.
#[derive(Clone)]
pub struct Plugin {
    decision: Decision,
    label: String,
    origin: String,
    digest: String,
    name: String,
    version: String,
    made: Made,
    shared: Arc<Shared>,
    configuration: String,
    lookups: Vec<String>,
    memory_bytes: usize,
    metered: bool,
    clock: Clock,
}

impl Plugin {
    /// The decision that it was loaded for.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 of the component, in lower-case hexadecimal; `native` where there is none.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// `stock`, a path, or `native`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The same component, with another configuration and nothing remembered.
    pub(crate) fn anew(
        &self,
        configuration: &serde_json::Value,
        lookups: &[String],
    ) -> Result<Self, LoadError> {
        let mut plugin = Self {
            configuration: configuration.to_string(),
            lookups: lookups.to_vec(),
            shared: Shared::new(self.label.clone()),
            ..self.clone()
        };
        plugin.introduce()?;
        Ok(plugin)
    }

    /// What logs call it.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// The same plugin, with another memory and voice for the instances that it makes from now on.
    pub(crate) fn sharing(&self, shared: Arc<Shared>) -> Self {
        Self { shared, ..self.clone() }
    }

    /// A new instance, configured, with everything else still to be told.
    ///
    /// # Errors
    /// [`Failure::Unavailable`], with the reason in the log.
    pub fn decider(&self) -> Result<Decider, Failure> {
        self.decider_with(Tape::off(), self.unix_ms())
    }

    /// The same, with what becomes of the host's answers, and the moment that it is configured at.
    pub(crate) fn decider_with(&self, tape: Tape, unix_ms: u64) -> Result<Decider, Failure> {
        self.instantiate(tape, unix_ms).map_err(|error| {
            self.shared.journal().trouble(&error.to_string(), Instant::now());
            Failure::Unavailable
        })
    }

    /// Now, by the host's clock.
    pub(crate) fn unix_ms(&self) -> u64 {
        (self.clock)()
    }

    /// The most memory that one of its instances may have.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Its configuration as JSON.
    pub(crate) fn configuration(&self) -> &str {
        &self.configuration
    }

    fn instantiate(&self, tape: Tape, unix_ms: u64) -> Result<Decider, LoadError> {
        let linked = match &self.made {
            Made::Native(native) => return Ok(native.decider()),
            Made::Component(linked) => linked,
        };
        let (mut store, instance) = self.open(linked, RESTART_TIME, tape, unix_ms)?;
        self.configure(linked, &mut store, &instance)?;
        linked.decider_of(store, &instance).map_err(|error| self.failed(&error))
    }

    fn open(
        &self,
        linked: &Linked,
        time: Duration,
        tape: Tape,
        unix_ms: u64,
    ) -> Result<(Store<HostState>, wasmtime::component::Instance), LoadError> {
        let state = HostState {
            limits: engine::limits(self.memory_bytes),
            shared: self.shared.clone(),
            allowance: Allowance::new(Instant::now(), time),
            tape,
            unix_ms,
            // A start must replay like everything else, and no question has come yet.
            seed: 0,
            console: wasi::Console::default(),
        };
        let mut store = engine::store(linked.pre.engine(), self.metered, state);
        let instance = linked.pre.instantiate(&mut store).map_err(|error| self.failed(&error))?;
        Ok((store, instance))
    }

    /// Asks for name, version and schema, tries the configuration, and sees that the decision can be called, in an
    /// instance that is thrown away.
    fn introduce(&mut self) -> Result<(), LoadError> {
        let Made::Component(linked) = &self.made else { return Ok(()) };
        let (mut store, instance) = self.open(linked, START_TIME, Tape::off(), self.unix_ms())?;
        let lifecycle = linked.lifecycle.load(&mut store, &instance).map_err(|error| self.failed(&error))?;
        let description = lifecycle.call_describe(&mut store).map_err(|error| self.failed(&error))?;
        self.hold_against(&description.configuration_schema)?;
        self.configure(linked, &mut store, &instance)?;
        linked
            .decider_of(store, &instance)
            .map_err(|error| LoadError::Invalid { origin: self.label.clone(), reason: one_line(&error) })?;
        if ![&description.name, &description.version].into_iter().all(|text| is_name(text)) {
            let reason = format!("its name or version is longer than {NAME_BYTES} bytes, or not printable");
            return Err(LoadError::Start { origin: self.label.clone(), reason });
        }
        self.name = description.name;
        self.version = description.version;
        Ok(())
    }

    /// Is the configuration as the plugin's own schema wants it?
    fn hold_against(&self, schema: &str) -> Result<(), LoadError> {
        let schema = Schema::read(schema).map_err(|unusable| LoadError::Schema {
            origin: self.label.clone(),
            pointer: unusable.pointer,
            reason: unusable.reason,
        })?;
        let given = serde_json::from_str(&self.configuration).unwrap_or_default();
        let problems = schema.map(|schema| schema.problems(&given)).unwrap_or_default();
        if problems.is_empty() {
            return Ok(());
        }
        Err(LoadError::Configuration { origin: self.label.clone(), problems })
    }

    fn configure(
        &self,
        linked: &Linked,
        store: &mut Store<HostState>,
        instance: &wasmtime::component::Instance,
    ) -> Result<(), LoadError> {
        let lifecycle = linked.lifecycle.load(&mut *store, instance).map_err(|error| self.failed(&error))?;
        let problems = self.setup(|setup| lifecycle.call_configure(store, setup));
        let problems = problems.map_err(|error| self.failed(&error))?;
        if problems.is_empty() {
            return Ok(());
        }
        let own =
            |problem: lifecycle::Problem| Problem { pointer: problem.pointer, message: problem.message };
        let problems = problems.into_iter().map(own).collect();
        Err(LoadError::Configuration { origin: self.label.clone(), problems })
    }

    /// Lends all that an instance gets to know before its first decision.
    fn setup<R>(&self, tell: impl FnOnce(lifecycle::Setup<'_>) -> R) -> R {
        let fed = matches!(self.decision, Decision::Allocate | Decision::Balance);
        let columns: Vec<_> = feed::columns()
            .filter(|_| fed)
            .map(|(name, unit)| lifecycle::OfferedColumn { name, unit })
            .collect();
        let lookups: Vec<&str> = self.lookups.iter().map(String::as_str).collect();
        tell(lifecycle::Setup {
            decision: self.decision.name(),
            configuration: &self.configuration,
            columns: &columns,
            lookups: &lookups,
            attrs: &[],
        })
    }

    fn failed(&self, error: &wasmtime::Error) -> LoadError {
        LoadError::Start { origin: self.label.clone(), reason: error.root_cause().to_string() }
    }
}
