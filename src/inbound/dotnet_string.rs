//! Bodies that a .NET sender serialized as a string: binary XML around the JSON.
//!
//! The pipeline task `PublishToAzureServiceBus` does so unless `useDataContractSerializer` is off, and so does the
//! Service Bus consumer of Azure DevOps service hooks. Records and their numbers: "[MC-NBFX]: .NET Binary Format: XML".

use super::fields::Problem;

const ELEMENT_STRING: &[u8] = b"\x40\x06string";
const SHORT_XMLNS_ATTRIBUTE: u8 = 0x08;
const END_ELEMENT: u8 = 0x01;

const REASON: &str = "is a .NET-serialized string that cannot be decoded; switch the serializer off at the sender: \
                      `useDataContractSerializer: false` in the task `PublishToAzureServiceBus`, or \
                      \"send as non-serialized string\" in the Azure DevOps service hook";

pub(super) fn is_serialized(body: &[u8]) -> bool {
    body.starts_with(ELEMENT_STRING)
}

/// The text inside; long ones come in several records.
pub(super) fn decode(body: &[u8]) -> Result<String, Problem> {
    text(body).ok_or_else(|| Problem::body(REASON))
}

fn text(body: &[u8]) -> Option<String> {
    let mut reader = Reader(body.strip_prefix(ELEMENT_STRING)?);
    let mut record = reader.byte()?;
    if record == SHORT_XMLNS_ATTRIBUTE {
        let length = reader.byte()?;
        reader.take(length.into())?;
        record = reader.byte()?;
    }
    let mut bytes = Vec::new();
    loop {
        if record == END_ELEMENT {
            break;
        }
        // Odd record numbers carry the end of the element with them.
        let (kind, ends) = (record & !1, record & 1 == 1);
        match kind {
            0x98 => bytes.extend_from_slice(reader.counted(1)?),
            0x9a => bytes.extend_from_slice(reader.counted(2)?),
            0x9c => bytes.extend_from_slice(reader.counted(4)?),
            0xa8 => {} // empty text
            _ => return None,
        }
        if ends || reader.0.is_empty() {
            break;
        }
        record = reader.byte()?;
    }
    let rest = reader.0;
    if !rest.iter().all(|byte| *byte == END_ELEMENT) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A text with its length in front, little-endian in `width` bytes.
    fn counted(&mut self, width: usize) -> Option<&'a [u8]> {
        let mut length = [0; 8];
        length[..width].copy_from_slice(self.take(width)?);
        self.take(usize::try_from(u64::from_le_bytes(length)).ok()?)
    }
}
