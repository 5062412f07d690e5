//! The JSON Schema of the policy file, for editors: `# yaml-language-server: $schema=...`.

use serde_json::Value;

use super::file::PolicyFile;

/// JSON Schema (draft 2020-12), made from the types of [`super::file`].
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(PolicyFile);
    schema.insert("title".to_owned(), Value::from("backout policy"));
    schema.to_value()
}
