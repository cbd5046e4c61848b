//! The log: lines on standard error, written beside the requests.
//!
//! Logging is best effort. A request never waits for the log and never fails with it: [`output`]
//! queues lines for one thread, which drops and counts what it cannot write. [`repeats`] bounds
//! what is said of one cause, and [`line`] bounds a line.

mod line;
mod output;
mod repeats;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env, io,
    io::{IsTerminal, Write},
    panic::PanicHookInfo,
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::ParseError,
    fmt::layer,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use self::{
    line::{Json, Text},
    output::Output,
    repeats::Repeats,
};

/// What is logged where `RUST_LOG` does not say.
const DEFAULT_FILTER: &str = "info";

/// How many bytes of lines may wait to be written.
const QUEUE: usize = 4 * 1024 * 1024;

/// How long the end of the program waits for lines that are queued.
const FLUSH: Duration = Duration::from_secs(1);

/// Lines that were lost because standard error did not take them.
const DROPPED: &str = "log_lines_dropped_total";

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoggingError {
    #[error("`RUST_LOG` cannot be read as a filter: {0}; write it like `info` or `info,auth_layer=debug`")]
    Filter(#[from] ParseError),
    #[error("`RUST_LOG` is not UTF-8; write it like `info` or `info,auth_layer=debug`")]
    NotUtf8,
    #[error("no thread can be started to write the log: {0}")]
    Thread(#[from] io::Error),
    #[error("the log cannot be set up: {0}")]
    Taken(#[from] TryInitError),
}

/// The log of the process. Dropped, it writes what is queued, for [`FLUSH`] at most.
#[must_use = "lines that are queued are lost unless this lives to the end of the program"]
pub(crate) struct Logging {
    output: Output,
    repeats: Repeats,
}

impl Logging {
    /// Sends what is logged, and what panics say, to standard error.
    pub(crate) fn start(format: LogFormat) -> Result<Self, LoggingError> {
        let filter = filter(env::var("RUST_LOG"))?;
        let repeats = Repeats::new(Instant::now());
        let output = Output::start(io::stderr(), QUEUE, lost, {
            let repeats = repeats.clone();
            move || repeats.report(Instant::now())
        })?;
        let lines = match format {
            LogFormat::Text => {
                let colours = io::stderr().is_terminal();
                layer()
                    .with_ansi(colours)
                    .fmt_fields(Text)
                    .with_writer(output.clone())
                    .log_internal_errors(false)
                    .boxed()
            }
            LogFormat::Json => {
                layer().with_ansi(false).fmt_fields(Text).event_format(Json).with_writer(output.clone()).boxed()
            }
        };
        tracing_subscriber::registry().with(filter).with(repeats.clone()).with(lines).try_init()?;
        std::panic::set_hook(Box::new(panicked));
        Ok(Self { output, repeats })
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.repeats.report_all();
        self.output.flush(FLUSH);
    }
}

/// An empty variable is an unset one.
fn filter(rust_log: Result<String, env::VarError>) -> Result<EnvFilter, LoggingError> {
    let directives = match rust_log {
        Ok(directives) if !directives.trim().is_empty() => directives,
        Ok(_) | Err(env::VarError::NotPresent) => DEFAULT_FILTER.to_owned(),
        Err(env::VarError::NotUnicode(_)) => return Err(LoggingError::NotUtf8),
    };
    Ok(EnvFilter::try_new(directives)?)
}

/// Describes what the log counts. To be called when the recorder of metrics is installed.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(
        DROPPED,
        metrics::Unit::Count,
        "Lines of the log that were lost because standard error did not take them"
    );
    // There from the start, so that the first one is an increase.
    metrics::counter!(DROPPED).increment(0);
}

/// Writes a line to standard output, and does not wait until it is written.
pub(crate) fn print(text: String) {
    let write = move || {
        let mut stdout = io::stdout().lock();
        // The program that started us may have closed the pipe; that is no reason to stop.
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    };
    if let Err(error) = thread::Builder::new().name("stdout".into()).spawn(write) {
        tracing::warn!(%error, "standard output cannot be written");
    }
}

/// Says that lines were lost, when lines can be written again.
fn lost(lines: u64) {
    tracing::warn!(target: repeats::REPORTS, lines, "lines of the log were lost; standard error takes them again");
}

/// The panic hook. Rust's own writes to standard error, waits for it, and panics where that fails.
fn panicked(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    tracing::error!(
        location,
        thread = thread.name().unwrap_or("-"),
        backtrace,
        "panicked: {}",
        panic.payload_as_str().unwrap_or("no text")
    );
}

#[cfg(test)]
pub(crate) mod tests;
