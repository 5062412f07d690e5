//! A revision's template: what names its content, and how it is copied into a new revision.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::target::short_hash;

/// The name that the caller gave the revision; no part of its content.
const SUFFIX: &str = "revisionSuffix";
const SECRET: &str = "secretRef";

/// Hash of all that a revision runs: images, environment, resources, scale, volumes. Equal for a copy of it.
///
/// Keys are sorted, empty values count as left out, and names of secrets are taken without the app's prefix. The values of
/// secrets are the app's own and enter nothing here.
pub fn fingerprint(template: &Value, app: &str) -> String {
    let canonical = canonical(template, app, true).unwrap_or(Value::Null);
    short_hash(&[&canonical.to_string()])
}

fn canonical(value: &Value, app: &str, top: bool) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| value.clone()),
        // `1` and `1.0` are the same number of cores.
        Value::Number(number) => Some(number.as_f64().map_or_else(|| value.clone(), Value::from)),
        Value::Bool(_) => Some(value.clone()),
        Value::Array(all) => {
            let all: Vec<Value> = all.iter().filter_map(|value| canonical(value, app, false)).collect();
            (!all.is_empty()).then_some(Value::Array(all))
        }
        Value::Object(map) => {
            let sorted: BTreeMap<&String, Value> = map
                .iter()
                .filter(|(key, _)| !(top && *key == SUFFIX))
                .filter_map(|(key, value)| {
                    let value = match value.as_str().filter(|_| key == SECRET) {
                        Some(secret) => Value::from(without_prefix(secret, app)),
                        None => canonical(value, app, false)?,
                    };
                    Some((key, value))
                })
                .collect();
            let sorted: Map<String, Value> = sorted.into_iter().map(|(key, value)| (key.clone(), value)).collect();
            (!sorted.is_empty()).then_some(Value::Object(sorted))
        }
    }
}

fn without_prefix<'a>(secret: &'a str, app: &str) -> &'a str {
    let prefix = secret.get(..app.len() + 1).filter(|prefix| prefix.ends_with('-'));
    match prefix.filter(|prefix| prefix[..app.len()].eq_ignore_ascii_case(app)) {
        Some(prefix) if secret.len() > prefix.len() => &secret[prefix.len()..],
        Some(_) | None => secret,
    }
}

/// Names of secrets which the template uses and the app does not have any more.
pub fn missing_secrets(template: &Value, app: &str, secrets: &[String]) -> Vec<String> {
    let mut missing = Vec::new();
    each_secret(template, &mut |name| {
        if secret_of(name, app, secrets).is_none() && !missing.contains(name) {
            missing.push(name.clone());
        }
    });
    missing
}

fn each_secret(value: &Value, visit: &mut impl FnMut(&String)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(name) if key == SECRET && !name.is_empty() => visit(name),
                    _ => each_secret(value, visit),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| each_secret(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The app's own name of a secret: revisions show it with the app's name in front.
fn secret_of(name: &str, app: &str, secrets: &[String]) -> Option<String> {
    let known = |name: &str| secrets.iter().find(|known| known.eq_ignore_ascii_case(name)).cloned();
    known(name).or_else(|| known(without_prefix(name, app)))
}

/// The images that the template runs, as written.
pub fn images(template: &Value) -> Vec<&str> {
    let containers = template.get("containers").and_then(Value::as_array);
    containers.into_iter().flatten().filter_map(|container| container.get("image")?.as_str()).collect()
}

/// `app:42` of the first image, for people.
pub fn label(template: &Value) -> String {
    images(template).first().map_or("unknown image", |image| image.rsplit('/').next().unwrap_or(image)).to_owned()
}

/// An image whose name may mean other content tomorrow: no tag, or `latest`.
pub fn floating_image(template: &Value) -> Option<&str> {
    images(template).into_iter().find(|image| {
        let name = image.rsplit('/').next().unwrap_or(image);
        !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag.eq_ignore_ascii_case("latest"))
    })
}

/// The `template` of a PATCH which makes the app's template equal to `good`'s, under the given name.
///
/// A PATCH merges objects, so what only `current` has is taken away by null; arrays are replaced whole.
pub fn copy(good: &Value, current: &Value, app: &str, secrets: &[String], suffix: &str) -> Value {
    let mut template = good.clone();
    rename_secrets(&mut template, app, secrets);
    give_empty_values(&mut template);
    take_away(&mut template, current);
    template[SUFFIX] = Value::from(suffix);
    template
}

fn rename_secrets(value: &mut Value, app: &str, secrets: &[String]) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(name) if key == SECRET => *name = secret_of(name, app, secrets).unwrap_or_else(|| name.clone()),
                    _ => rename_secrets(value, app, secrets),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| rename_secrets(value, app, secrets)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An environment variable with an empty value is shown without one, and would be refused so.
fn give_empty_values(template: &mut Value) {
    for group in ["containers", "initContainers"] {
        let containers = template.get_mut(group).and_then(Value::as_array_mut);
        for variable in
            containers.into_iter().flatten().filter_map(|container| container.get_mut("env")?.as_array_mut()).flatten()
        {
            let given = |key: &str| variable.get(key).is_some_and(|value| !value.is_null());
            if variable.is_object() && !given("value") && !given(SECRET) {
                variable["value"] = Value::from("");
            }
        }
    }
}

fn take_away(good: &mut Value, current: &Value) {
    let (Some(good), Some(current)) = (good.as_object_mut(), current.as_object()) else { return };
    for (key, value) in current {
        take_away(good.entry(key.clone()).or_insert(Value::Null), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({"revisionSuffix": "a1", "volumes": null, "scale": {"minReplicas": 1}, "containers": [{"image": "r.io/shop/app:41",
            "resources": {"cpu": 1, "memory": "2Gi"}, "env": [{"name": "EMPTY"}, {"name": "DB", "secretRef": "shop-db"}]}]})
    }

    #[test]
    fn content_alone_names_a_template() {
        let same = json!({"containers": [{"env": [{"name": "EMPTY", "value": ""}, {"secretRef": "db", "name": "DB"}],
            "image": "r.io/shop/app:41", "resources": {"memory": "2Gi", "cpu": 1.0}}], "scale": {"minReplicas": 1, "rules": []}});
        assert_eq!(fingerprint(&good(), "shop"), fingerprint(&same, "shop"));
        for (pointer, value) in [
            ("/containers/0/image", json!("r.io/shop/app:42")),
            ("/containers/0/env/0/value", json!("x")),
            ("/containers/0/env/1/secretRef", json!("db2")),
            ("/scale/minReplicas", json!(2)),
        ] {
            let mut other = same.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert_ne!(fingerprint(&good(), "shop"), fingerprint(&other, "shop"), "{pointer}");
        }
    }

    #[test]
    fn a_copy_leaves_nothing_of_what_it_replaces() {
        let current = json!({"revisionSuffix": "b2", "volumes": [{"name": "v"}], "containers": [{"image": "r.io/shop/app:42"}],
            "scale": {"minReplicas": 1, "maxReplicas": 9}, "initContainers": [{"image": "i"}]});
        let copy = copy(&good(), &current, "shop", &["db".to_owned()], "back-x");
        assert_eq!(
            copy,
            json!({"revisionSuffix": "back-x", "volumes": null, "initContainers": null,
                "scale": {"minReplicas": 1, "maxReplicas": null}, "containers": [{"image": "r.io/shop/app:41",
                "resources": {"cpu": 1, "memory": "2Gi"},
                "env": [{"name": "EMPTY", "value": ""}, {"name": "DB", "secretRef": "db"}]}]})
        );
        assert_eq!(fingerprint(&copy, "shop"), fingerprint(&good(), "shop"));
    }

    #[test]
    fn secrets_and_images_are_looked_at() {
        let secrets = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(missing_secrets(&good(), "shop", &secrets(&["db"])), Vec::<String>::new());
        assert_eq!(missing_secrets(&good(), "shop", &secrets(&["shop-db"])), Vec::<String>::new());
        assert_eq!(missing_secrets(&good(), "shop", &secrets(&["other"])), ["shop-db"]);
        for (image, floating) in [
            ("r.io:5000/app", true),
            ("app:latest", true),
            ("app:1", false),
            ("r.io/app@sha256:ab", false),
            ("r.io/app:2", false),
        ] {
            let template = json!({"containers": [{"image": image}]});
            assert_eq!(floating_image(&template).is_some(), floating, "{image}");
        }
    }
}
