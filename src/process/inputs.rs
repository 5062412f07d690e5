//! Keeps what a decision was made from, so that it can be explained, and made again, from stored data alone.
//!
//! It stands beside the record and is there before the record names it: a crash between the two leaves a document that nobody
//! names, never a decision without its reasons.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    Process,
    documents::{Insert, Loaded, keys},
};
use crate::{
    decide::case::Case,
    domain::{
        record::{DocumentRef, RecordId},
        target::sha256_hex,
    },
    ports::{PortError, PortErrorKind},
};

/// The case letter by letter, as its hash has it.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Inputs(Box<RawValue>);

impl Process {
    /// Stores a case of `record`. Called twice with an equal one: the document that is there.
    pub(super) async fn keep_inputs(&self, record: &RecordId, case: &Case) -> Result<DocumentRef, PortError> {
        const OPERATION: &str = "keep the inputs of a decision";
        let inputs = to_raw_value(case).map_err(|error| PortError::new(OPERATION, PortErrorKind::Invalid, error))?;
        let sha256 = sha256_hex(inputs.get().as_bytes());
        let key = keys::inputs(record, &sha256);
        match self.documents.insert(&key, Inputs(inputs)).await? {
            Insert::Now(_) => {}
            Insert::Taken(Loaded { value: Inputs(found), .. }) => {
                if sha256_hex(found.get().as_bytes()) != sha256 {
                    let says = format!("`{key}` holds other inputs than its name says; somebody changed it, so remove it");
                    return Err(PortError::new(OPERATION, PortErrorKind::Invalid, says));
                }
            }
        }
        Ok(DocumentRef { key: key.to_string(), sha256 })
    }
}
