//! Tests of the log's layers together.

use std::{
    io,
    sync::{Arc, Mutex, Once},
};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for CapturedLog {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Installs a global subscriber. Without one, a callsite that another thread meets first, just as a
/// test installs its subscriber, may stay disabled.
pub(crate) fn install_global_subscriber() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap());
}

/// Returns the lines of `log` at `info`.
pub(crate) fn capture_log(log: impl FnOnce()) -> Vec<String> {
    capture_log_as(LogFormat::Text, |_, _| log())
}

/// Runs `log` and returns its lines in this format, at `info`.
fn capture_log_as(format: LogFormat, log: impl FnOnce(&RepeatLimiter, &CapturedLog)) -> Vec<String> {
    install_global_subscriber();
    let (lines, repeats) = (CapturedLog::default(), RepeatLimiter::new(Instant::now()));
    let written = match format {
        LogFormat::Text => layer().with_ansi(false).fmt_fields(TextFields).with_writer(lines.clone()).boxed(),
        LogFormat::Json => layer().fmt_fields(TextFields).event_format(JsonEvent).with_writer(lines.clone()).boxed(),
    };
    let filter = filter(Err(env::VarError::NotPresent), "info").unwrap();
    let subscriber = tracing_subscriber::registry().with(filter).with(repeats.clone()).with(written);
    tracing::subscriber::with_default(subscriber, || log(&repeats, &lines));
    lines.take()
}

#[derive(Debug, thiserror::Error)]
#[error("MongoDB cannot be asked")]
struct DriverError(#[source] mongodb::error::Error);

/// Returns a real error of the driver. Nobody listens on port 1.
fn driver_error() -> DriverError {
    let ask = async {
        let client = mongodb::Client::with_uri_str("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200").await?;
        client.database("any").run_command(bson::doc! { "ping": 1 }).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    DriverError(runtime.block_on(ask).unwrap_err())
}

#[test]
fn log_of_outage_is_one_short_line_then_counts() {
    let begun = Instant::now();
    let driver_error = driver_error();
    assert!(driver_error.0.to_string().contains("Topology"), "{}", driver_error.0);
    let rest = capture_log_as(LogFormat::Text, |repeats, lines| {
        for _ in 0..40 {
            tracing::warn!(error = &driver_error as &dyn std::error::Error, "a store cannot be asked");
            tracing::info!(status = 503, "request");
        }
        let outage = lines.take();
        let (warnings, requests): (Vec<_>, Vec<_>) = outage.iter().partition(|line| line.contains("WARN"));
        assert_eq!((warnings.len(), requests.len()), (1, 40), "{outage:#?}");
        assert!(warnings[0].len() < 300 && !warnings[0].contains("Topology"), "{}", warnings[0]);
        let why = "MongoDB cannot be asked: Server selection timeout: No available servers: 127.0.0.1:1 (I/O error: ";
        assert!(warnings[0].contains(why), "{}", warnings[0]);

        repeats.report(begun + Duration::from_secs(31));
        let counted = lines.take();
        assert_eq!(counted.len(), 1, "{counted:#?}");
        for part in ["WARN", "repeated: a store cannot be asked", "repeats=39", why] {
            assert!(counted[0].contains(part), "{part} in {}", counted[0]);
        }
        repeats.report(begun + Duration::from_secs(62));
    });
    assert_eq!(rest.len(), 1, "{rest:#?}");
    assert!(rest[0].contains("resolved") && rest[0].contains("repeats=39"), "{rest:#?}");
}

#[test]
fn log_of_security_events_and_distinct_users_is_complete() {
    let lines = capture_log_as(LogFormat::Text, |_, _| {
        for user in 0..10 {
            tracing::warn!(target: "auth_layer::security", event = "refresh_token_reuse", "reuse");
            tracing::error!(user, "a password hash cannot be read");
        }
    });
    assert_eq!(lines.len(), 20, "{lines:#?}");
}

#[test]
fn log_of_chatty_driver_is_bounded() {
    let lines = capture_log_as(LogFormat::Text, |_, _| {
        for port in 0..100 {
            tracing::warn!(target: "redis::cluster", "cannot connect to {port}");
            tracing::error!(target: "redis::cluster", "refresh failed");
            tracing::warn!(target: "redis", port, "lost");
        }
    });
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

#[test]
fn log_line_is_single_escaped_and_bounded() {
    let hostile = format!("a\nb\u{1b}[31m{}", "x".repeat(1_000_000));
    for format in [LogFormat::Text, LogFormat::Json] {
        let lines = capture_log_as(format, |_, _| {
            tracing::info!(text = hostile, shown = %hostile, debugged = ?hostile, "{hostile}");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].len() < 6 * 1024 && !lines[0].contains('\u{1b}'), "{}", lines[0].len());
        assert_eq!(lines[0].matches('…').count(), 4);
    }
}

#[test]
fn log_in_json_keeps_types_causes_and_spans() {
    let driver_error = driver_error();
    let lines = capture_log_as(LogFormat::Json, |_, _| {
        let _span = tracing::info_span!("outer", number = 1).entered();
        tracing::info!(
            status = 200,
            ok = true,
            route = "/me",
            error = &driver_error as &dyn std::error::Error,
            "request"
        );
    });
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&line["message"], &line["level"], &line["spans"][0]),
        (&"request".into(), &"INFO".into(), &"outer{number=1}".into())
    );
    assert_eq!(line["fields"]["status"], 200);
    assert_eq!(line["fields"]["ok"], true);
    assert_eq!(line["fields"]["route"], "/me");
    assert!(line["fields"]["error"].as_str().unwrap().starts_with("MongoDB cannot be asked: Server selection"));
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn log_of_panic_has_message_and_location() {
    let lines = capture_log_as(LogFormat::Text, |_, _| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let caught = std::panic::catch_unwind(|| panic!("two\nlines"));
        std::panic::set_hook(before);
        assert!(caught.is_err());
    });
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("ERROR") && lines[0].contains("panicked: two\\nlines"), "{}", lines[0]);
    assert!(lines[0].contains("logging/tests.rs:"), "{}", lines[0]);
}
