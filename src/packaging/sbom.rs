//! The bill of materials: every crate that this version was locked to, as CycloneDX 1.6 JSON.
//!
//! Made from the lock file that was compiled in, so it needs no tool and no network, and says the same each time: no serial
//! number, no time. What only tests use is left out; what other systems or build scripts alone use is in, since the lock file
//! does not tell them apart. It names no licences, which the lock file does not know (`cargo deny` checks them).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

/// The document's text, the same for the same version.
pub fn cyclone_dx() -> Result<String, SbomProblem> {
    let document = compose(include_str!("../../Cargo.lock"), include_str!("../../Cargo.toml"))?;
    Ok(format!("{document:#}\n"))
}

#[derive(Debug, thiserror::Error)]
pub enum SbomProblem {
    #[error("the lock file or the manifest is no TOML: {0}")]
    NotRead(#[from] toml::de::Error),
    #[error("the lock file has no package `{0}`")]
    NotLocked(String),
}

/// What the document says about a lock file and the manifest that it belongs to.
pub fn compose(lock_file: &str, manifest: &str) -> Result<Value, SbomProblem> {
    let lock: LockFile = toml::from_str(lock_file)?;
    let manifest: Manifest = toml::from_str(manifest)?;
    let root_name = manifest.package.name;
    let root = lock.find(&root_name)?;
    let direct: BTreeSet<&str> =
        manifest.dependencies.iter().map(|(key, dependency)| dependency.package().unwrap_or(key)).collect();

    let mut reached: BTreeMap<String, &Package> = BTreeMap::new();
    let mut dependencies = vec![];
    let mut waiting = vec![root];
    while let Some(package) = waiting.pop() {
        if reached.insert(package.reference(), package).is_some() {
            continue;
        }
        let is_root = package.name == root_name;
        let mut needs = Vec::new();
        for written in &package.dependencies {
            // The lock file of the root also lists what its tests need.
            if is_root && !direct.contains(written.split(' ').next().unwrap_or(written)) {
                continue;
            }
            let needed = lock.find(written)?;
            needs.push(needed.reference());
            waiting.push(needed);
        }
        needs.sort();
        dependencies.push((package.reference(), needs));
    }
    dependencies.sort();
    let components: Vec<Value> =
        reached.values().filter(|package| package.name != root_name).map(|package| package.component()).collect();
    let dependencies: Vec<Value> =
        dependencies.into_iter().map(|(reference, needs)| json!({ "ref": reference, "dependsOn": needs })).collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root.reference(),
                "name": root.name,
                "version": root.version,
                "purl": root.reference(),
            },
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

#[derive(Deserialize)]
struct Manifest {
    package: ManifestPackage,
    dependencies: BTreeMap<String, Dependency>,
}

#[derive(Deserialize)]
struct ManifestPackage {
    name: String,
}

/// Only a renamed crate has another name than its key.
#[derive(Deserialize)]
#[serde(untagged)]
enum Dependency {
    Version(#[expect(dead_code, reason = "the lock file has the exact version")] String),
    Table { package: Option<String> },
}

impl Dependency {
    fn package(&self) -> Option<&str> {
        match self {
            Self::Version(_) => None,
            Self::Table { package } => package.as_deref(),
        }
    }
}

#[derive(Deserialize)]
struct LockFile {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// sha256 of the crate file; none for the root.
    checksum: Option<String>,
    /// `name`, or `name version` where several versions are locked.
    #[serde(default)]
    dependencies: Vec<String>,
}

impl LockFile {
    fn find(&self, written: &str) -> Result<&Package, SbomProblem> {
        let mut words = written.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        let meant = |package: &&Package| package.name == name && version.is_none_or(|version| package.version == version);
        self.package.iter().find(meant).ok_or_else(|| SbomProblem::NotLocked(written.to_owned()))
    }
}

impl Package {
    /// The package URL. Crate names need no escape; a `+` of a version does.
    fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }

    fn component(&self) -> Value {
        let mut component = json!({
            "type": "library",
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
            "purl": self.reference(),
        });
        if let Some(checksum) = &self.checksum {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        component
    }
}
