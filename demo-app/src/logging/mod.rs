//! Writes the log to standard error on a thread of its own.
//!
//! Logging is best effort: a request never waits for the log and never fails with it. [`output`]
//! queues lines for one thread, which drops and counts what it cannot write. [`repeats`] limits
//! how often the same event is logged, and [`line`] the length of a line.

mod line;
mod output;
mod problems;
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
    Layer,
    filter::{ParseError, Targets},
    fmt::layer,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

pub(crate) use self::{line::error_text, problems::ProblemLog};
use self::{
    line::{JsonEvent, TextFields},
    output::Output,
    repeats::RepeatLimiter,
};
use crate::traces::Traces;

/// The maximum size of the queue, in bytes.
const QUEUE_LIMIT: usize = 4 * 1024 * 1024;

/// The longest wait for queued lines when the program ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Counts the lines that standard error did not take.
const DROPPED: &str = "log_lines_dropped_total";

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The reason why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoggingError {
    #[error("`RUST_LOG` cannot be read as a filter: {0}; write it like `info` or `info,auth_layer=debug`")]
    Filter(#[from] ParseError),
    #[error("`RUST_LOG` filters by target and level alone; write it like `info` or `info,auth_layer=debug`")]
    SpansOrFields,
    #[error("`RUST_LOG` is not UTF-8; write it like `info` or `info,auth_layer=debug`")]
    NotUtf8,
    #[error("no thread can be started to write the log: {0}")]
    Thread(#[from] io::Error),
    #[error("the log cannot be set up: {0}")]
    AlreadySet(#[from] TryInitError),
}

/// The log and the traces of the process. Sends the last spans on drop, then writes the queue, for
/// [`FLUSH_TIMEOUT`] at most.
#[must_use = "lines and spans that are queued are lost unless this lives to the end of the program"]
pub(crate) struct Logging {
    output: Output,
    repeats: RepeatLimiter,
    traces: Traces,
}

impl Logging {
    /// Sends log lines and panics to standard error, and spans to `traces`. `default_filter` holds
    /// where `RUST_LOG` is not set.
    pub(crate) fn start(format: LogFormat, default_filter: &str, traces: Traces) -> Result<Self, LoggingError> {
        let filter = filter(env::var("RUST_LOG"), default_filter)?;
        let repeats = RepeatLimiter::new(Instant::now());
        let output = Output::start(io::stderr(), QUEUE_LIMIT, report_lost, {
            let repeats = repeats.clone();
            move || repeats.report(Instant::now())
        })?;
        let lines = match format {
            LogFormat::Text => {
                let colours = io::stderr().is_terminal();
                layer()
                    .with_ansi(colours)
                    .fmt_fields(TextFields)
                    .with_writer(output.clone())
                    .log_internal_errors(false)
                    .boxed()
            }
            LogFormat::Json => layer()
                .with_ansi(false)
                .fmt_fields(TextFields)
                .event_format(JsonEvent)
                .with_writer(output.clone())
                .boxed(),
        };
        let filtered = tracing_subscriber::registry().with(filter).with(repeats.clone());
        filtered.with(traces.layer()).with(lines).try_init()?;
        std::panic::set_hook(Box::new(log_panic));
        Ok(Self { output, repeats, traces })
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // First, since it may log.
        self.traces.flush();
        self.repeats.report_all();
        self.output.flush(FLUSH_TIMEOUT);
    }
}

/// Treats an empty variable as unset.
fn filter(rust_log: Result<String, env::VarError>, default: &str) -> Result<Targets, LoggingError> {
    let directives = match rust_log {
        Ok(directives) if !directives.trim().is_empty() => directives,
        Ok(_) | Err(env::VarError::NotPresent) => default.to_owned(),
        Err(env::VarError::NotUnicode(_)) => return Err(LoggingError::NotUtf8),
    };
    // Otherwise it would be taken for the name of a target.
    if directives.contains('[') {
        return Err(LoggingError::SpansOrFields);
    }
    Ok(directives.parse()?)
}

/// Describes the log's metrics. Call it when the metrics recorder is installed.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(
        DROPPED,
        metrics::Unit::Count,
        "Log lines dropped because standard error did not accept them"
    );
    // Exported from the start, so that the first loss is an increase.
    metrics::counter!(DROPPED).increment(0);
}

/// Writes a line to standard output, without waiting for the write.
pub(crate) fn print_line(text: String) {
    let write = move || {
        let mut stdout = io::stdout().lock();
        // The parent process may have closed the pipe; that is no reason to stop.
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    };
    if let Err(error) = thread::Builder::new().name("stdout".into()).spawn(write) {
        tracing::warn!(%error, "the thread for standard output cannot be started; the address is not printed");
    }
}

/// Reports lost lines once lines can be written again.
fn report_lost(lines: u64) {
    tracing::warn!(target: repeats::REPORT_TARGET, lines, "log lines were dropped; standard error accepts lines again");
}

/// Logs a panic. Rust's own hook waits for standard error and panics if the write fails.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
    tracing::error!(
        location,
        thread = thread.name().unwrap_or("-"),
        backtrace,
        "panicked: {}",
        panic.payload_as_str().unwrap_or("(the payload is not a string)")
    );
}

#[cfg(test)]
pub(crate) mod tests;
