//! Where the values of settings come from: the environment, or a map in tests and the demo.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Gives the raw text of a setting. An empty text counts as set here; parsing treats it as unset.
pub trait Source: Send + Sync {
    fn get(&self, name: &str) -> Option<String>;

    /// The names of all settings that have a value, where the source can tell. Finds misspelt names.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// The folder of the running binary, where `backout.yaml` lies unless a setting says otherwise.
    fn binary_folder(&self) -> Option<PathBuf> {
        None
    }

    /// The value under `name` in whatever case it is written: the host's own configuration does not know case.
    fn get_in_any_case(&self, name: &str) -> Option<String> {
        self.get(name).or_else(|| self.names().iter().find(|n| n.eq_ignore_ascii_case(name)).and_then(|n| self.get(n)))
    }
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment;

impl Source for Environment {
    /// Text that is no UTF-8 comes back with replacement characters, so that parsing can refuse it by name.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    fn get(&self, name: &str) -> Option<String> {
        match std::env::var(name) {
            Ok(value) => Some(value),
            Err(std::env::VarError::NotPresent) => None,
            Err(std::env::VarError::NotUnicode(value)) => Some(value.to_string_lossy().into_owned()),
        }
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }

    fn binary_folder(&self) -> Option<PathBuf> {
        std::env::current_exe().ok()?.parent().map(Path::to_path_buf)
    }
}

/// Settings from a map, for tests, the demo and the simulation.
#[derive(Clone, Default)]
pub struct MapSource(BTreeMap<String, String>);

impl MapSource {
    pub fn new<N: Into<String>, V: Into<String>>(settings: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }
}

impl Source for MapSource {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Values may be secret, so only the names are shown.
impl std::fmt::Debug for MapSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
