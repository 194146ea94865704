//! The host's command: flags in, a node up, signals awaited. Knows nothing of what a node consists of.
#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsStr;
use std::process::ExitCode;
use std::time::Duration;
use tidegate::config::{ADMIN_TOKEN_VARIABLE, Config};
use tidegate::options::{LogFormat, Options};
use tidegate::{Node, banner, logs};

/// Within this the process ends after the first signal, whatever a part still does.
const STOP_WITHIN: Duration = Duration::from_millis(1_900);

/// What is told of plugins under their authors' commands.
const PLUGIN_LOG: &str = "warn,tidegate::plugin=trace";

/// The exit code of a process that a second signal ended.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some("load") => return tidegate::load::hand_over(arguments),
        Some("plugin") => return plugin(),
        Some("policy") => return tidegate_cli::policy(arguments),
        Some("people") => return tidegate_cli::people(arguments),
        _ => {}
    }
    let options = Options::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    tidegate_shard::share_heaps();
    logs::start(&options.log, options.log_format).unwrap_or_else(|error| error.exit());
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {}", one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// A policy author's command; what the plugin logs stands on standard error.
fn plugin() -> ExitCode {
    logs::start(PLUGIN_LOG, LogFormat::Text).unwrap_or_else(|error| error.exit());
    tidegate_cli::plugin(std::env::args_os().skip(1), tidegate::stock::STOCK)
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let config = Config::resolve(options, std::env::var(ADMIN_TOKEN_VARIABLE).ok())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("control").build()?;
    let served = runtime.block_on(serve(config));
    // Whatever still runs is not waited for.
    runtime.shutdown_background();
    served
}

/// A node from start to stop.
async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new()?;
    let banner = banner::Banner::of(&config);
    let node = Node::start(config).await?;
    print!("{}", banner.text(&node));
    signals.next().await;
    eprintln!("tidegate: stopping; once more ends it at once");
    tokio::select! {
        stopped = tokio::time::timeout(STOP_WITHIN, node.stop()) => {
            if stopped.is_err() {
                tracing::warn!("not everything stopped in time");
            }
            Ok(())
        }
        () = signals.next() => std::process::exit(INTERRUPTED),
    }
}

/// What asks the process to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// From here on signals are not deadly.
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// An error and its causes, on one line.
fn one_line(error: &dyn Error) -> String {
    let mut whole = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        whole = format!("{whole}: {cause}");
        below = cause.source();
    }
    whole.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
