//! The reference page of the policy file, made from its JSON Schema: what an editor knows, a reader can look up.

use std::fmt::Write as _;

use serde_json::Value;

use super::schema::json_schema;

/// A whole policy with comments, as the page shows it.
pub const EXAMPLE: &str = include_str!("example.yaml");

const TITLE: &str = "# The policy file

<!-- Made by `backout schema --format markdown` from the types that read the file. Change it there. -->

`backout.yaml` says what backout watches, what it may take back, and how far it may go. [`BACKOUT_POLICY`](settings.md#backout_policy)
says where it lies. `backout check --offline --policy backout.yaml` says what is wrong with it, each problem with its line;
`backout decide FILE...` says what would be decided about a message. A file with problems is refused as a whole.

For completion and checks in an editor: `backout schema > backout.schema.json`, and on top of the file
`# yaml-language-server: $schema=backout.schema.json`.
";

const RULES: &str = "## Everywhere

- An unknown key, a key without a value, and a key that stands twice are problems, not hints.
- Resource ids are compared without regard to case; `az ... show --query id` prints them.
- A secret never stands in the file: `urlFrom` and `tokenFrom` are names of [app settings](settings.md).
- At most 256 KiB. Anchors (`&name`, `*name`) may save some typing.

### Durations

";

/// The page, whole.
pub fn markdown() -> String {
    let schema = json_schema();
    let mut page = Page { definitions: &schema["$defs"], sections: Vec::new(), words: Vec::new() };
    page.collect("", &schema, "");
    page.write()
}

/// What a heading becomes in a link, as GitHub makes it.
pub fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

struct Page<'a> {
    definitions: &'a Value,
    sections: Vec<Section<'a>>,
    /// Definitions of words, with the key that first uses them.
    words: Vec<(&'a str, &'a str)>,
}

/// One set of keys, or the choice between several.
struct Section<'a> {
    /// Name of its definition; empty for the file itself, and for one of a choice.
    definition: &'a str,
    /// Where it stands, such as `services.NAME.alerts[]`.
    places: Vec<String>,
    /// The word that chooses it, where it is one of a choice.
    platform: Option<&'a str>,
    shape: &'a Value,
}

impl Section<'_> {
    /// How far inside: names that the reader chooses do not count.
    fn depth(&self) -> usize {
        let keys = self.places[0].split('.').filter(|key| !key.is_empty() && *key != "NAME").count();
        keys + usize::from(self.platform.is_some())
    }

    fn heading(&self) -> String {
        match (self.places[0].as_str(), self.platform) {
            ("", _) => "The file".to_owned(),
            (_, Some(platform)) => format!("`platform: {platform}`"),
            (place, None) => format!("`{place}`"),
        }
    }
}

impl<'a> Page<'a> {
    /// Walks the schema the way the file is written; a shape that stands in several places gets one section.
    fn collect(&mut self, definition: &'a str, shape: &'a Value, place: &str) {
        let known = self.sections.iter_mut().find(|section| !definition.is_empty() && section.definition == definition);
        if let Some(section) = known {
            section.places.push(place.to_owned());
            return;
        }
        self.sections.push(Section { definition, places: vec![place.to_owned()], platform: None, shape });
        self.below(shape, place);
        // The pipeline's choice between two keys has no shapes of its own.
        let variants = || choices(shape).filter(|variant| variant.get("properties").is_some());
        for variant in variants() {
            let platform = variant.pointer("/properties/platform/const").and_then(Value::as_str);
            self.sections.push(Section { definition: "", places: vec![place.to_owned()], platform, shape: variant });
        }
        for variant in variants() {
            self.below(variant, place);
        }
    }

    fn below(&mut self, shape: &'a Value, place: &str) {
        for (key, property) in properties(shape) {
            let at = if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
            let (inner, at) = match (property.get("items"), property.get("additionalProperties")) {
                (Some(items), _) => (items, format!("{at}[]")),
                (None, Some(values)) if values.is_object() => (values, format!("{at}.NAME")),
                (None, _) => (property, at),
            };
            let Some(name) = reference(inner) else { continue };
            let definition = &self.definitions[name];
            if is_set_of_keys(definition) {
                self.collect(name, definition, &at);
            } else if choices(definition).next().is_some() && !self.words.iter().any(|(known, _)| *known == name) {
                self.words.push((name, key));
            }
        }
    }

    fn write(&self) -> String {
        let mut out = format!("{TITLE}\n## A complete example\n\n```yaml\n{EXAMPLE}```\n\n## Contents\n\n");
        for section in &self.sections {
            let heading = section.heading();
            let indent = "  ".repeat(section.depth());
            line(&mut out, &format!("{indent}- [{heading}](#{}): {}", anchor(&heading), first_sentence(section.shape)));
        }
        line(&mut out, "- [Words](#words), [durations](#durations)\n");
        out.push_str(RULES);
        line(&mut out, &format!("{}\n", description(&self.definitions["Duration"])));
        for section in &self.sections {
            self.section(&mut out, section);
        }
        line(&mut out, "## Words\n");
        for (name, key) in &self.words {
            line(&mut out, &format!("### `{key}`\n\n{}\n", description(&self.definitions[*name])));
            line(&mut out, "| word | meaning |\n|---|---|");
            for word in choices(&self.definitions[*name]) {
                line(&mut out, &format!("| `{}` | {} |", text(&word["const"]), description(word)));
            }
            out.push('\n');
        }
        format!("{}\n", out.trim_end())
    }

    fn section(&self, out: &mut String, section: &Section<'_>) {
        let level = if section.platform.is_some() { "###" } else { "##" };
        line(out, &format!("{level} {}\n\n{}\n", section.heading(), description(section.shape)));
        if let [_, others @ ..] = section.places.as_slice()
            && !others.is_empty()
        {
            let others: Vec<String> = others.iter().map(|place| format!("`{place}`")).collect();
            line(out, &format!("The same at {}.\n", others.join(", ")));
        }
        let rows: Vec<(&str, &Value)> = properties(section.shape).collect();
        if rows.is_empty() {
            return;
        }
        line(out, "| key | value | default | meaning |\n|---|---|---|---|");
        for (key, property) in rows {
            let (meaning, default) = meaning_and_default(property);
            let meaning = if key == "platform" { "Chooses these keys." } else { meaning };
            let default = match default {
                _ if is_required(section.shape, key) => "**required**",
                Some(default) => default,
                None => "none",
            };
            line(out, &format!("| `{key}` | {} | {default} | {meaning} |", self.value(property)));
        }
        out.push('\n');
        for example in section.shape.get("examples").and_then(Value::as_array).into_iter().flatten() {
            line(out, &format!("```yaml\n{}```\n", placed(section, example)));
        }
    }

    /// What may stand behind a key, in words.
    fn value(&self, property: &Value) -> String {
        if let Some(name) = reference(property) {
            return self.referenced(name);
        }
        if let Some(word) = property.get("const") {
            return format!("`{}`", text(word));
        }
        let number = |key: &str| property.get(key).and_then(Value::as_u64);
        match property.get("type").and_then(Value::as_str) {
            Some("array") => {
                let least = if number("minItems").is_some() { ", at least one" } else { "" };
                format!("list of {}{least}", self.value(&property["items"]))
            }
            Some("object") => match property.get("additionalProperties") {
                Some(values) if values.is_object() => format!("`NAME:` and {}, any number", self.value(values)),
                Some(_) | None => "keys".to_owned(),
            },
            Some("integer") => match (number("minimum"), number("maximum")) {
                (Some(only), Some(same)) if only == same => format!("`{only}`"),
                (Some(least), Some(most)) => format!("whole number from {least} to {most}"),
                (Some(least), None) if least > 0 => format!("whole number, at least {least}"),
                (_, _) => "whole number".to_owned(),
            },
            Some("boolean") => "`true` or `false`".to_owned(),
            Some(_) | None => match property.get("pattern").and_then(Value::as_str) {
                Some(pattern) => format!("text, `{}`", pattern.replace('|', "\\|")),
                None if number("minLength").is_some() => "text, not empty".to_owned(),
                None => "text".to_owned(),
            },
        }
    }

    fn referenced(&self, name: &str) -> String {
        let definition = &self.definitions[name];
        if let Some(section) = self.sections.iter().find(|section| section.definition == name) {
            return format!("[keys](#{})", anchor(&section.heading()));
        }
        if let Some((_, key)) = self.words.iter().find(|(word, _)| *word == name) {
            let words: Vec<String> = choices(definition).map(|word| format!("`{}`", text(&word["const"]))).collect();
            return format!("[{}](#{})", either(&words), anchor(key));
        }
        "[duration](#durations)".to_owned()
    }
}

/// Required keys first, `platform` before all.
fn properties(shape: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let mut keys: Vec<(&str, &Value)> =
        shape["properties"].as_object().into_iter().flatten().map(|(key, property)| (key.as_str(), property)).collect();
    keys.sort_by_key(|(key, _)| (*key != "platform", !is_required(shape, key)));
    keys.into_iter()
}

fn is_required(shape: &Value, key: &str) -> bool {
    shape["required"].as_array().into_iter().flatten().any(|required| required == key)
}

fn choices(shape: &Value) -> impl Iterator<Item = &Value> {
    shape.get("oneOf").and_then(Value::as_array).into_iter().flatten()
}

fn is_set_of_keys(definition: &Value) -> bool {
    definition.get("properties").is_some() || choices(definition).any(|choice| choice.get("properties").is_some())
}

fn reference(shape: &Value) -> Option<&str> {
    shape.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

fn description(shape: &Value) -> &str {
    text(&shape["description"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn first_sentence(shape: &Value) -> &str {
    let whole = description(shape);
    whole.split_once(". ").map_or(whole, |(first, _)| first).trim_end_matches('.')
}

/// The last sentence of a key's description says what holds without it.
fn meaning_and_default(property: &Value) -> (&str, Option<&str>) {
    match description(property).split_once("Default: ") {
        Some((meaning, default)) => (meaning.trim_end(), Some(default.trim_end_matches('.'))),
        None => (description(property), None),
    }
}

fn either(words: &[String]) -> String {
    match words {
        [many @ .., last] if !many.is_empty() => format!("{} or {last}", many.join(", ")),
        words => words.concat(),
    }
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "{text}");
}

/// The example below its own key, as it would stand in the file: one key a line, in the order of the table.
fn placed(section: &Section<'_>, example: &Value) -> String {
    let place = &section.places[0];
    let last = place.rsplit('.').next().unwrap_or(place);
    let (key, dash) = last.strip_suffix("[]").map_or((last, "  "), |key| (key, "  - "));
    let entries = properties(section.shape).filter_map(|(key, _)| Some((key, example.get(key)?)));
    let mut text = format!("{key}:\n");
    for (index, (key, value)) in entries.enumerate() {
        let indent = if index == 0 { dash.to_owned() } else { " ".repeat(dash.len()) };
        line(&mut text, &format!("{indent}{key}: {}", inline(value)));
    }
    text
}

/// A value of an example on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(word) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            let begins = word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
            let is_plain = begins && word.chars().all(plain) && word.parse::<f64>().is_err();
            if is_plain { word.clone() } else { value.to_string() }
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}: {}", inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
