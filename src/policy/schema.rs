//! The JSON Schema of the policy file, for editors: `# yaml-language-server: $schema=...`.

use schemars::{
    Schema,
    transform::{RecursiveTransform, Transform as _},
};
use serde_json::Value;

use super::file::PolicyFile;

/// JSON Schema (draft 2020-12), made from the types of [`super::file`].
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(PolicyFile);
    schema.insert("title".to_owned(), Value::from("backout policy"));
    RecursiveTransform(refuse_null).transform(&mut schema);
    schema.to_value()
}

/// A field that may be left out may not be empty: the reader refuses that too.
fn refuse_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get("anyOf")
        && let [Value::Object(choice), null] = choices.as_slice()
        && null["type"] == "null"
    {
        let choice = choice.clone();
        object.remove("anyOf");
        for (key, value) in choice {
            object.entry(key).or_insert(value);
        }
    }
}
