//! Kept inputs. A failure names the file; `tests/fuzz/run FAMILY FILE` shows it under the fuzzer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tracing::subscriber::{NoSubscriber, with_default};

use super::properties::{FAMILIES, change};

/// Bytes of all that is kept, as committed.
const KEPT_BYTES_MAX: u64 = 1024 * 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// Name and bytes of what is kept for a family.
fn kept(family: &str) -> Vec<(String, Vec<u8>)> {
    let mut kept = Vec::new();
    for folder in ["corpus", "regressions"] {
        let Ok(files) = fs::read_dir(root().join(folder).join(family)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            kept.push((format!("{folder}/{family}/{}", path.file_name().unwrap().display()), fs::read(&path).unwrap()));
        }
    }
    if family == "inbound" {
        for folder in ["tests/fixtures/inbound", "../shared/samples"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            json_files(&folder, &mut kept);
        }
    }
    kept.sort();
    kept
}

/// Published samples lie beside the package on some machines; `inbound::published_samples` says aloud where they do not.
fn json_files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files {
        let path = file.unwrap().path();
        if path.is_dir() {
            json_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            into.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

/// Every kept input holds; and so do `cases` changed ones.
fn holds(family: &str, cases: u32) {
    let (_, property) = FAMILIES.iter().find(|(name, _)| *name == family).unwrap();
    let property = |input: &[u8]| match family {
        // It logs its input, said back to it, which may look like a secret.
        "host" => with_default(NoSubscriber::new(), || property(input)),
        _ => property(input),
    };
    let kept = kept(family);
    assert!(!kept.is_empty(), "nothing is kept for `{family}`");
    for (name, input) in &kept {
        assert!(catch_unwind(|| property(input)).is_ok(), "{name} does not hold; see above");
    }
    let inputs: Vec<Vec<u8>> = kept.into_iter().map(|(_, input)| input).filter(|input| input.len() <= 64 * 1024).collect();
    let changed =
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..8));
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    let outcome = TestRunner::new(config).run(&changed, |(which, place, seed, bytes)| {
        let input = &inputs[which.index(inputs.len())];
        property(&changed_copy(input, place, seed, &bytes));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{family}: {failure}");
    }
}

/// Changed where its JSON is, or bytes replaced or put in anywhere.
fn changed_copy(input: &[u8], place: prop::sample::Index, seed: u32, bytes: &[u8]) -> Vec<u8> {
    if !seed.is_multiple_of(4)
        && let Some(changed) = change::json(input, seed)
    {
        return changed;
    }
    let mut copy = input.to_vec();
    let at = place.index(copy.len() + 1);
    let end = (at + seed as usize % 9).min(copy.len());
    copy.splice(at..end, bytes.iter().copied());
    copy
}

macro_rules! families {
    ($($name:ident: $cases:literal,)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name), $cases);
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

families! {
    azure: 60,
    documents: 60,
    host: 120,
    identifiers: 1_000,
    inbound: 400,
    kubernetes: 400,
    packaging: 200,
    policy: 200,
    process: 60,
    settings: 400,
    webhook: 200,
}

/// A family is a file of properties, a target, an entry in the manifest, a corpus, and a test here.
#[test]
fn every_family_is_complete() {
    let names: BTreeSet<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, TESTED.iter().copied().collect());
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in &names {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
        assert!(root().join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
        assert!(root().join(format!("corpus/{name}")).is_dir(), "{name}");
    }
    for folder in ["corpus", "regressions", "fuzz_targets"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let family = name.trim_end_matches(".rs");
            assert!(names.contains(family) || name == "README.md", "{folder}/{name} belongs to no family");
        }
    }
}

#[test]
fn what_is_kept_is_small() {
    let bytes: u64 = FAMILIES
        .iter()
        .flat_map(|(family, _)| ["corpus", "regressions"].map(|folder| root().join(folder).join(family)))
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= KEPT_BYTES_MAX, "{bytes} bytes are kept; minimise with `tests/fuzz/run --minimise`");
}

/// What is fuzzed is what is shipped: both lock files name the same version of every crate that both have.
#[test]
fn both_lock_files_agree() {
    let versions = |path: &Path| {
        let lock: toml::Table = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in lock["package"].as_array().unwrap() {
            let text = |key: &str| package[key].as_str().unwrap().to_owned();
            versions.entry(text("name")).or_default().insert(text("version"));
        }
        versions
    };
    let ours = versions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"));
    for (name, fuzzed) in versions(&root().join("Cargo.lock")) {
        if let Some(known) = ours.get(&name) {
            assert!(
                fuzzed.is_subset(known),
                "`{name}` is {fuzzed:?} in tests/fuzz/Cargo.lock and {known:?} in Cargo.lock: copy the latter and build"
            );
        }
    }
}
