//! Entries -> zip. The same entries give the same bytes, on any day and any machine.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, DateTime, System, ZipWriter, result::ZipResult, write::SimpleFileOptions};

/// One file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// With `/`, relative to the app's root.
    pub name: String,
    pub kind: EntryKind,
    pub bytes: Vec<u8>,
}

/// What the file is for, and so who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    Program,
    Text,
}

impl EntryKind {
    /// Unix permissions. The host only starts what is executable, and not every plan repairs it (azure-functions-host #6160).
    pub fn mode(self) -> u32 {
        match self {
            Self::Program => 0o755,
            Self::Text => 0o644,
        }
    }
}

/// The zip's bytes: sorted by name, no time but the format's first (1980), modes as on Unix wherever it is made.
pub fn write(entries: &[Entry]) -> ZipResult<Vec<u8>> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in sorted {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            .last_modified_time(DateTime::default())
            .system(System::Unix)
            .unix_permissions(entry.kind.mode());
        zip.start_file(entry.name.as_str(), options)?;
        zip.write_all(&entry.bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}
