//! Formats a line of the log and bounds its length.
//!
//! An event is one line: control characters are escaped and long values cut. An error comes with
//! its causes; an error of the MongoDB driver comes without its description of the topology.
//!
//! tracing-subscriber's formats bound no value, and its JSON omits an error's causes.

use std::{
    error::Error,
    fmt::{self, Debug, Write},
    hash::{Hash, Hasher},
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::{LookupSpan, Scope},
};

/// The maximum length of one value, in bytes.
const MAX_VALUE_LENGTH: usize = 1024;

/// The name of the field for errors.
const ERROR: &str = "error";

/// The fields of an event or a span, each bounded.
#[derive(Debug, Default)]
pub(super) struct EventFields {
    pub(super) message: String,
    others: Vec<(&'static str, FieldValue)>,
}

#[derive(Debug, Hash)]
enum FieldValue {
    /// A value that JSON can represent.
    Value(Value),
    /// The `Debug` or `Display` text.
    Formatted(String),
}

impl EventFields {
    /// Returns the field `error`.
    pub(super) fn error(self) -> Option<String> {
        self.others.into_iter().find(|(name, _)| *name == ERROR).map(|(_, content)| match content {
            FieldValue::Value(Value::String(text)) | FieldValue::Formatted(text) => text,
            FieldValue::Value(other) => other.to_string(),
        })
    }

    /// Hashes every field but `error`, and not the message, which may contain the error.
    pub(super) fn hash_all_but_error(&self, hasher: &mut impl Hasher) {
        self.others.iter().filter(|(name, _)| *name != ERROR).for_each(|field| field.hash(hasher));
    }

    fn add(&mut self, field: &Field, content: FieldValue) {
        // An event of the `log` facade carries its metadata in fields, and a span what traces need.
        if field.name().starts_with("log.") || field.name().starts_with("otel.") {
            return;
        }
        match content {
            FieldValue::Value(Value::String(text)) | FieldValue::Formatted(text) if field.name() == "message" => {
                self.message = text;
            }
            content => self.others.push((field.name(), content)),
        }
    }
}

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, FieldValue::Value(value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, FieldValue::Value(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, FieldValue::Value(value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, FieldValue::Value(value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Nearly every value, such as the id of a request.
        let is_plain = value.len() <= MAX_VALUE_LENGTH && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let text = if is_plain { value.to_owned() } else { BoundedText::of(format_args!("{value}")) };
        self.add(field, FieldValue::Value(text.into()));
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.add(field, FieldValue::Value(error_text(error).into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, FieldValue::Formatted(BoundedText::of(format_args!("{value:?}"))));
    }
}

/// Text of one line and at most [`MAX_VALUE_LENGTH`] bytes; a cut text ends with an ellipsis. It
/// stops the formatting once it is full.
#[derive(Default)]
struct BoundedText(String);

impl BoundedText {
    fn of(text: fmt::Arguments<'_>) -> String {
        let mut bounded = Self::default();
        // An error here only means that the text was cut.
        let _ = bounded.write_fmt(text);
        bounded.0
    }
}

impl Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.len() + character.len_utf8() > MAX_VALUE_LENGTH {
                self.0.push('…');
                return Err(fmt::Error);
            }
            if character.is_control() {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

/// Formats an error and its causes as text of one line.
pub(crate) fn error_text(error: &(dyn Error + 'static)) -> String {
    let mut text = BoundedText::default();
    // An error here only means that the text was cut.
    let _ = write_chain(&mut text, error);
    text.0
}

/// Writes an error and its causes, outermost first.
fn write_chain(text: &mut impl Write, error: &(dyn Error + 'static)) -> fmt::Result {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<mongodb::error::Error>() {
            Some(error) => write_mongodb(text, error)?,
            None => write!(text, "{error}")?,
        }
        next = error.source();
        if next.is_some() {
            text.write_str(": ")?;
        }
    }
    Ok(())
}

/// Writes an error of the driver, without its labels and the server's raw reply.
fn write_mongodb(text: &mut impl Write, error: &mongodb::error::Error) -> fmt::Result {
    match &*error.kind {
        mongodb::error::ErrorKind::ServerSelection { message, .. } => write_server_selection(text, message),
        kind => write!(text, "{kind}"),
    }
}

/// Writes a server selection error. The driver describes its whole topology; only addresses and
/// errors are kept.
fn write_server_selection(text: &mut impl Write, message: &str) -> fmt::Result {
    let Some((what, topology)) = message.split_once(". Topology:") else { return text.write_str(message) };
    text.write_str(what)?;
    let mut separator = ": ";
    for server in topology.split("{ Address: ").skip(1) {
        let address = server.split([',', ' ']).next().unwrap_or_default();
        write!(text, "{separator}{address}")?;
        if let Some((_, error)) = server.split_once("Error: ") {
            let error = error.strip_prefix("Kind: ").unwrap_or(error);
            write!(text, " ({})", error.split(", labels:").next().unwrap_or(error))?;
        }
        separator = ", ";
    }
    Ok(())
}

/// Formats fields for people: the message, then `name=value`.
pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, recorded: R) -> fmt::Result {
        let mut fields = EventFields::default();
        recorded.record(&mut fields);
        writer.write_str(&fields.message)?;
        let mut separator = if fields.message.is_empty() { "" } else { " " };
        for (name, content) in &fields.others {
            match content {
                // Nearly every value of a span: it is written as JSON has it.
                FieldValue::Value(Value::String(text)) if is_verbatim(text) => {
                    [separator, name, "=\"", text, "\""].iter().try_for_each(|part| writer.write_str(part))?;
                }
                FieldValue::Value(value) => write!(writer, "{separator}{name}={value}")?,
                FieldValue::Formatted(text) => write!(writer, "{separator}{name}={text}")?,
            }
            separator = " ";
        }
        Ok(())
    }
}

/// Returns whether JSON escapes nothing in a text.
fn is_verbatim(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

/// Formats an event as one JSON object: `timestamp`, `level`, `target`, `message`, `fields`, and
/// `spans` inside spans.
pub(super) struct JsonEvent;

impl<S, N> FormatEvent<S, N> for JsonEvent
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let spans = context.event_scope().into_iter().flat_map(Scope::from_root);
        let spans: Vec<String> = spans
            .map(|span| match span.extensions().get::<FormattedFields<N>>() {
                Some(fields) if !fields.is_empty() => format!("{}{{{fields}}}", span.name()),
                _ => span.name().to_owned(),
            })
            .collect();
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let line = JsonLine { timestamp, level: metadata.level().as_str(), target: metadata.target(), fields, spans };
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: String,
    level: &'static str,
    target: &'a str,
    #[serde(flatten)]
    fields: EventFields,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<String>,
}

impl Serialize for EventFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("message", &self.message)?;
        if !self.others.is_empty() {
            map.serialize_entry("fields", &OtherFields(&self.others))?;
        }
        map.end()
    }
}

struct OtherFields<'a>(&'a [(&'static str, FieldValue)]);

impl Serialize for OtherFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, content)| match content {
            FieldValue::Value(value) => (name, value.clone()),
            FieldValue::Formatted(text) => (name, text.clone().into()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_of_server_selection_error_keeps_addresses_and_errors() {
        let known = "Server selection timeout: No available servers. Topology: { Type: ReplicaSetNoPrimary, Set Name: rs, \
                     Servers: [ { Address: a:27017, Type: Unknown, Error: Kind: I/O error: refused, labels: {}, source: None, \
                     server response: None }, { Address: b:27017, Type: RsSecondary, Replica Set Name: rs } ] }";
        let cases = [
            (known, "Server selection timeout: No available servers: a:27017 (I/O error: refused), b:27017"),
            ("No servers. Topology: in other words", "No servers"),
            ("as a later driver says it", "as a later driver says it"),
        ];
        for (message, expected) in cases {
            let mut text = String::new();
            write_server_selection(&mut text, message).unwrap();
            assert_eq!(text, expected);
        }
    }
}
