//! One JSON object a line, for the Functions host.
//!
//! The subscriber's own JSON format parses a span's fields again for each line, which was the largest part of a line's cost.
//! Here they are kept as the text of JSON members, and copied.

use std::{fmt, io};

use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use crate::domain::printable::printable_json;

/// `{"timestamp": ..., "level": ..., the event's fields, "target": ..., "span": {the innermost span's fields, "name": ...}}`.
pub(super) struct JsonLine;

impl<S> FormatEvent<S, Members> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(&self, context: &FmtContext<'_, S, Members>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
        let mut members = MemberWriter { writer: writer.by_ref(), written: true, result: Ok(()) };
        event.record(&mut members);
        members.member("target", metadata.target());
        members.result?;
        if let Some(span) = event.parent().and_then(|id| context.span(id)).or_else(|| context.lookup_current()) {
            writer.write_str(",\"span\":{")?;
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<Members>>().map_or("", |fields| fields.fields.as_str());
            writer.write_str(fields)?;
            let mut members = MemberWriter { writer: writer.by_ref(), written: !fields.is_empty(), result: Ok(()) };
            members.member("name", span.name());
            members.result?;
            writer.write_char('}')?;
        }
        writer.write_str("}\n")
    }
}

/// A span's fields as members of a JSON object, without its braces. Each field is to be recorded once.
pub(super) struct Members;

impl<'writer> FormatFields<'writer> for Members {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = MemberWriter { writer, written: false, result: Ok(()) };
        fields.record(&mut members);
        members.result
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let written = !current.fields.is_empty();
        let mut members = MemberWriter { writer: current.as_writer(), written, result: Ok(()) };
        fields.record(&mut members);
        members.result
    }
}

struct MemberWriter<'writer> {
    writer: Writer<'writer>,
    /// Whether a member stands before the next one.
    written: bool,
    result: fmt::Result,
}

impl MemberWriter<'_> {
    fn member(&mut self, name: &str, value: impl Serialize) {
        if self.result.is_ok() {
            self.result = self.try_member(name, value);
        }
    }

    fn try_member(&mut self, name: &str, value: impl Serialize) -> fmt::Result {
        if self.written {
            self.writer.write_char(',')?;
        }
        self.written = true;
        to_json(&mut self.writer, name)?;
        self.writer.write_char(':')?;
        to_json(&mut self.writer, value)
    }
}

impl Visit for MemberWriter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), value);
    }
}

fn to_json(writer: &mut Writer<'_>, value: impl Serialize) -> fmt::Result {
    serde_json::to_writer(Text(writer), &value).map_err(|_| fmt::Error)
}

/// The writer as one of bytes; a JSON serializer writes whole texts only.
struct Text<'a, 'writer>(&'a mut Writer<'writer>);

impl io::Write for Text<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(&printable_json(text)).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
