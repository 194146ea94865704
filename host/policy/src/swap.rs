//! How another component takes a policy's place while calls go on. Knows nothing of who asks for it.
//!
//! ```text
//! compile (low priority) ─▶ check ─▶ configure ─▶ instances, fed ─▶ in force between two questions
//!                                                          └─────▶ or beside it for a while: the shadow
//! ```
//!
//! Until the last step the one in force knows nothing of it; whatever fails, it stays.

use crate::chain::{Chain, Generation, Post, Shadow};
use crate::config::PluginConfig;
use crate::error::LoadError;
use crate::plugin::{Loader, Plugin};
use crate::recorder::Recorder;
use crate::runtime::{Office, Policies, seats, told};
use crate::seat::{Held, Surroundings};
use crate::tick::while_time_passes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};
use tidegate_types::RequestNumber;
use tidegate_types::decision::{Decision, GenerationInfo};

/// What is to take whose place.
#[derive(Clone, Debug)]
pub struct SwapOrder {
    /// Of which decision.
    pub decision: Decision,
    /// Whose place in its chain, from 1.
    pub position: usize,
    /// What takes it.
    pub plugin: PluginConfig,
    /// Only beside it at first: both decide, one counts.
    pub shadow: bool,
}

/// What a swap did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// What is in force now, or in the shadow; `None`: the host's own rule.
    pub generation: Option<GenerationInfo>,
    /// What is in force no longer, or still; `None`: the host's own rule.
    pub before: Option<GenerationInfo>,
    /// Whether it only decides beside the one in force.
    pub shadow: bool,
    /// From the order until it was ready, at low priority: compiled, checked, configured, fed.
    pub prepared_in: Duration,
    /// From ready until in force.
    pub took: Duration,
}

/// Why a swap did not happen; the one in force stays.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The component does not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No instance of it could be made.
    #[error("{origin}: an instance could not be made ready; the log says why")]
    NotReady {
        /// Which component.
        origin: String,
    },
    /// The very same is in force: most likely it was not built anew.
    #[error(
        "this very component (digest {digest}) is in force already with this configuration: build it anew, or name another file"
    )]
    Unchanged {
        /// Its digest.
        digest: String,
    },
    /// The chain is shorter.
    #[error("{} has {length} in its chain, so there is no position {position}", decision.name())]
    NoPosition {
        /// Of which decision.
        decision: Decision,
        /// What was asked for.
        position: usize,
        /// How many there are.
        length: usize,
    },
    /// No policy makes this decision.
    #[error(
        "no policy is in force for {}, the host's own rule decides: `tidegate policy swap {}=FILE` puts one there",
        .0.name(), .0.name()
    )]
    NotChosen(Decision),
    /// Nothing is in force that a shadow could be compared with.
    #[error(
        "no policy is in force for {}, so nobody is asked and there is nothing that a shadow could be compared with: put \
         it in force without --shadow; `tidegate policy back {}` undoes that at once",
        .0.name(), .0.name()
    )]
    NothingBeside(Decision),
    /// Somebody has to decide.
    #[error("{} has to be decided by a policy: only share can be left to the host's own rule", .0.name())]
    Needed(Decision),
    /// One at a time.
    #[error("another swap is under way: try again when it is done")]
    Busy,
    /// There was no swap yet.
    #[error("{} has had no other policy in this position: there is no way back", .0.name())]
    NothingBefore(Decision),
    /// Nothing is on trial.
    #[error("{} has no policy in the shadow in this position", .0.name())]
    NoShadow(Decision),
}

/// Where new generations come from, one swap at a time.
pub(crate) struct Desk {
    pub(crate) loader: Loader,
    threads: usize,
    numbered: AtomicU64,
    under_way: Mutex<()>,
}

impl Desk {
    pub(crate) const fn new(loader: Loader, threads: usize) -> Self {
        Self { loader, threads, numbered: AtomicU64::new(0), under_way: Mutex::new(()) }
    }

    /// Compiled, checked and configured; its instances are still to be made.
    pub(crate) fn load(&self, decision: Decision, config: &PluginConfig) -> Result<Generation, LoadError> {
        Ok(self.generation(self.loader.load(decision, config)?, config.clone()))
    }

    /// The next number is this one's.
    fn generation(&self, plugin: Plugin, config: PluginConfig) -> Generation {
        let number = self.numbered.fetch_add(1, Ordering::Relaxed) + 1;
        let seats = seats(plugin.decision(), self.threads);
        Generation::new(number, plugin, config, seats)
    }

    fn begin(&self) -> Result<MutexGuard<'_, ()>, SwapError> {
        match self.under_way.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(SwapError::Busy),
        }
    }
}

impl Policies {
    /// Loads a component and puts it in force, or in the shadow. Blocks while it compiles; decisions go on meanwhile.
    /// The policy's store is kept; what its instances remembered is not. Where the host's own rule decides, it begins.
    ///
    /// # Errors
    /// Why not; then the one in force stays.
    pub fn swap(&self, order: SwapOrder) -> Result<Swapped, SwapError> {
        let office = &self.office;
        let _one = office.desk.begin()?;
        let began = Instant::now();
        let (decision, index) = (order.decision, order.position.wrapping_sub(1));
        let post = office.seat_for(decision, index, order.shadow)?;
        let next = while_time_passes(office.desk.loader.engine(), || {
            let mut loaded = office.desk.loader.load(decision, &order.plugin)?;
            if let Some(post) = &post {
                unchanged(post, &loaded, &order.plugin)?;
            }
            let retired = office.chain(decision).retired.clone();
            if let Some(old) = post.as_ref().map(|post| post.current.clone()).or(retired) {
                let (old, label) = (old.plugin.shared(), loaded.label().to_owned());
                loaded = loaded.sharing(if order.shadow { old.copy(label) } else { old.heir(label) });
            }
            let unrecorded = Recorder::default();
            let recorder = if order.shadow { &unrecorded } else { &office.recorder };
            office.ready(loaded, order.plugin, recorder)
        })?;
        let (prepared_in, ready) = (began.elapsed(), Instant::now());
        let generation = next.info();
        if order.shadow {
            office.change(decision, index, |post| Post {
                shadow: Some(Arc::new(Shadow::new(next))),
                ..post.clone()
            });
            tracing::info!(
                decision = decision.name(),
                generation = generation.generation,
                digest = generation.digest,
                "policy in the shadow"
            );
        } else if post.is_some() {
            office.change(decision, index, |post| post.taken_by(next, (office.clock)()));
        } else {
            office.begin(decision, next);
        }
        let took = ready.elapsed();
        let before = post.map(|post| post.current.info());
        Ok(Swapped { generation: Some(generation), before, shadow: order.shadow, prepared_in, took })
    }

    /// Puts the one before in force again, be it the host's own rule; what was becomes what was before.
    ///
    /// # Errors
    /// Where there was none.
    pub fn back(&self, decision: Decision, position: usize) -> Result<Swapped, SwapError> {
        let office = &self.office;
        let _one = office.desk.begin()?;
        let began = Instant::now();
        let index = position.wrapping_sub(1);
        let post = match office.post(decision, index) {
            Ok(post) => Some(post),
            Err(SwapError::NotChosen(_)) => None,
            Err(error) => return Err(error),
        };
        let previous = match &post {
            Some(post) => post.previous.clone(),
            None => office.chain(decision).retired.clone(),
        };
        let generation = previous.as_deref().map(Generation::info);
        if let Some(previous) = &previous {
            *previous.breaker() = Default::default();
        }
        match (&post, previous) {
            (Some(_), Some(previous)) => {
                office.change(decision, index, |post| post.taken_by(previous, (office.clock)()));
            }
            (None, Some(previous)) => office.begin(decision, previous),
            (Some(post), None) if decision.is_optional() => office.end(decision, post),
            (_, None) => return Err(SwapError::NothingBefore(decision)),
        }
        let before = post.map(|post| post.current.info());
        Ok(Swapped { generation, before, shadow: false, prepared_in: Duration::ZERO, took: began.elapsed() })
    }

    /// Leaves a decision to the host's own rule; [`Policies::back`] undoes it.
    ///
    /// # Errors
    /// Where a policy has to decide, or none does.
    pub fn leave(&self, decision: Decision, position: usize) -> Result<Swapped, SwapError> {
        let office = &self.office;
        let _one = office.desk.begin()?;
        let began = Instant::now();
        if !decision.is_optional() {
            return Err(SwapError::Needed(decision));
        }
        let post = office.post(decision, position.wrapping_sub(1))?;
        office.end(decision, &post);
        let (before, prepared_in) = (Some(post.current.info()), Duration::ZERO);
        Ok(Swapped { generation: None, before, shadow: false, prepared_in, took: began.elapsed() })
    }

    /// Puts the one in the shadow in force, with the real store from now on.
    ///
    /// # Errors
    /// Where there is none, or no instance of it can be made.
    pub fn enforce(&self, decision: Decision, position: usize) -> Result<Swapped, SwapError> {
        let office = &self.office;
        let _one = office.desk.begin()?;
        let began = Instant::now();
        let index = position.wrapping_sub(1);
        let post = office.post(decision, index)?;
        let trial = post.shadow.clone().ok_or(SwapError::NoShadow(decision))?;
        let plugin = &trial.generation.plugin;
        let shared = post.current.plugin.shared().heir(plugin.label().to_owned());
        let next = while_time_passes(office.desk.loader.engine(), || {
            office.ready(plugin.sharing(shared), trial.generation.config.clone(), &office.recorder)
        })?;
        let (prepared_in, ready) = (began.elapsed(), Instant::now());
        let generation = next.info();
        office.change(decision, index, |post| post.taken_by(next, (office.clock)()));
        let took = ready.elapsed();
        let (generation, before) = (Some(generation), Some(post.current.info()));
        Ok(Swapped { generation, before, shadow: false, prepared_in, took })
    }

    /// Ends the trial of the one in the shadow; says which that was.
    ///
    /// # Errors
    /// Where there is none.
    pub fn dismiss(&self, decision: Decision, position: usize) -> Result<GenerationInfo, SwapError> {
        let office = &self.office;
        let _one = office.desk.begin()?;
        let index = position.wrapping_sub(1);
        let trial = office.post(decision, index)?.shadow.ok_or(SwapError::NoShadow(decision))?;
        office.change(decision, index, |post| Post { shadow: None, ..post.clone() });
        Ok(trial.generation.info())
    }

    /// What a position was loaded from.
    ///
    /// # Errors
    /// Where there is no such position.
    pub fn plugin_config(&self, decision: Decision, position: usize) -> Result<PluginConfig, SwapError> {
        Ok(self.office.post(decision, position.wrapping_sub(1))?.current.config.clone())
    }
}

impl Office {
    fn post(&self, decision: Decision, index: usize) -> Result<Post, SwapError> {
        let chain = self.chain(decision);
        if chain.posts.is_empty() && index == 0 {
            return Err(SwapError::NotChosen(decision));
        }
        let none =
            || SwapError::NoPosition { decision, position: index.wrapping_add(1), length: chain.posts.len() };
        chain.posts.get(index).cloned().ok_or_else(none)
    }

    /// Whose place another is to take; `None`: nobody's, it is the first.
    fn seat_for(&self, decision: Decision, index: usize, shadow: bool) -> Result<Option<Post>, SwapError> {
        match self.post(decision, index) {
            Err(SwapError::NotChosen(_)) if shadow => Err(SwapError::NothingBeside(decision)),
            Err(SwapError::NotChosen(_)) => Ok(None),
            post => post.map(Some),
        }
    }

    /// From the host's own rule to a policy, between two questions.
    fn begin(&self, decision: Decision, first: Arc<Generation>) {
        told(decision, &first);
        self.put(decision, Chain::of(vec![Post::begun_by(first, (self.clock)())]));
    }

    /// From a policy to the host's own rule: who asks by then is told that nobody decides.
    fn end(&self, decision: Decision, post: &Post) {
        self.put(decision, Chain::left_by(post.current.clone()));
        tracing::info!(decision = decision.name(), "no policy in force: the host's own rule decides");
    }

    /// A generation whose instances are made and fed before anyone waits for them.
    fn ready(
        &self,
        plugin: Plugin,
        config: PluginConfig,
        recorder: &Recorder,
    ) -> Result<Arc<Generation>, SwapError> {
        let generation = self.desk.generation(plugin, config);
        let around = Surroundings { recorder, ..self.around(RequestNumber(0)) };
        for _ in 0..seats(generation.plugin.decision(), self.desk.threads) {
            let held = Held::ready(&generation, &around)
                .map_err(|_| SwapError::NotReady { origin: generation.plugin.label().to_owned() })?;
            generation.keep(held);
        }
        Ok(Arc::new(generation))
    }

    /// Between two questions.
    fn change(&self, decision: Decision, index: usize, change: impl FnOnce(&Post) -> Post) {
        let chain = self.chain(decision);
        let mut posts = chain.posts.clone();
        let Some(post) = posts.get_mut(index) else { return };
        let before = post.current.number;
        *post = change(post);
        let current = post.current.clone();
        self.put(decision, Chain::of(posts));
        if current.number != before {
            told(decision, &current);
        }
    }
}

fn unchanged(post: &Post, loaded: &Plugin, config: &PluginConfig) -> Result<(), SwapError> {
    let current = &post.current;
    if loaded.digest() == current.plugin.digest() && config.configuration == current.config.configuration {
        return Err(SwapError::Unchanged { digest: loaded.digest().into() });
    }
    Ok(())
}
