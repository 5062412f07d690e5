//! `host.json` and the function folders: those of this version, built in, or changed copies in a folder.

use std::{fmt, fs, io, path::Path};

/// The text files of a function app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFiles {
    pub host_json: String,
    /// Name of the folder, and its `function.json`; by name.
    pub functions: Vec<(String, String)>,
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {says}")]
pub struct Unreadable {
    pub file: String,
    pub says: String,
}

impl AppFiles {
    /// The files of this repository, as they were when it was compiled.
    pub fn built_in() -> Self {
        let mut functions: Vec<_> = FUNCTIONS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        functions.sort();
        Self { host_json: HOST_JSON.to_owned(), functions }
    }

    /// `root/host.json`, and the functions of `root/function-app/` or, as in a package, of `root` itself.
    pub fn read(root: &Path) -> Result<Self, Unreadable> {
        let nested = root.join("function-app");
        let folder = if nested.is_dir() { nested } else { root.to_owned() };
        let unreadable = |error: io::Error| Unreadable::new(folder.display(), &error);
        let mut functions = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let file = entry.path().join("function.json");
            if file.is_file() {
                functions.push((entry.file_name().to_string_lossy().into_owned(), read_text(&file)?));
            }
        }
        functions.sort();
        Ok(Self { host_json: read_text(&root.join("host.json"))?, functions })
    }
}

macro_rules! function {
    ($name:literal) => {
        ($name, include_str!(concat!("../../function-app/", $name, "/function.json")))
    };
}

const HOST_JSON: &str = include_str!("../../host.json");

/// A test holds the list equal to the folders.
const FUNCTIONS: &[(&str, &str)] = &[
    function!("alerts"),
    function!("deployments"),
    function!("markers"),
    function!("followups"),
    function!("alert-webhook"),
    function!("sweep"),
];

fn read_text(file: &Path) -> Result<String, Unreadable> {
    fs::read_to_string(file).map_err(|error| Unreadable::new(file.display(), &error))
}

impl Unreadable {
    fn new(file: impl fmt::Display, error: &io::Error) -> Self {
        Self { file: file.to_string(), says: error.to_string() }
    }
}
