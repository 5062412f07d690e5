//! What a binary's ELF header says about where it starts: architecture, loader, libraries, glibc.
//!
//! A host that cannot start its handler tells it as an exit without a word, so it is read from the file beforehand.

use std::{fmt, str::FromStr};

use object::{
    Endianness,
    elf::{DT_NEEDED, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64},
    read::elf::{FileHeader, ProgramHeader, SectionTable},
};

use super::{BUILD_COMMAND, Refusal};
use crate::azure::answer::clean;

/// A program that the hosts' machines can run, if its libraries are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    pub linking: Linking,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linking {
    /// Needs nothing but the kernel.
    Static,
    Dynamic {
        loader: String,
        /// File names, as `libc.so.6`.
        libraries: Vec<String>,
        /// The highest version of glibc that a symbol asks for; `None`: none names one.
        glibc: Option<GlibcVersion>,
    },
}

/// `2.31`. Compared by number, so 2.9 comes before 2.31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GlibcVersion {
    pub major: u32,
    pub minor: u32,
}

/// Debian 11, the older one of the two systems that images of the Functions host 4 are made for (azure-functions-docker
/// `host/4/bullseye`; `bookworm` has 2.36). Which of them a plan runs is published nowhere.
pub const OLDEST_IMAGE: GlibcVersion = GlibcVersion { major: 2, minor: 31 };

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// In every image: glibc's own, and the unwinder that Rust programs use.
const LIBRARIES_OF_IMAGES: [&str; 8] = [
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
];

type Header = FileHeader64<Endianness>;

/// Reads the header. Refuses what is no program for 64-bit x86 Linux.
pub fn inspect(bytes: &[u8]) -> Result<Binary, Refusal> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(refused("is no Linux program: it has no ELF header"));
    }
    // Byte 4 is the class: 1 for 32 bits.
    if bytes.get(4) == Some(&1) {
        return Err(refused("is a 32-bit program; the Functions hosts are 64-bit"));
    }
    let header = Header::parse(bytes).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    match header.e_machine(endian) {
        EM_X86_64 => {}
        EM_AARCH64 => return Err(refused("is built for aarch64 (arm64); the Functions plans run their hosts on x86-64 only")),
        other => return Err(refused(&format!("is built for machine {other} of the ELF list; the Functions hosts are x86-64"))),
    }
    if !matches!(header.e_type(endian), ET_EXEC | ET_DYN) || header.e_entry(endian) == 0 {
        return Err(refused("is no program but an object file or a library: it has no entry point"));
    }
    let mut loader = None;
    for segment in header.program_headers(endian, bytes).map_err(damaged)? {
        if let Some(path) = segment.interpreter(endian, bytes).map_err(damaged)? {
            loader = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let Some(loader) = loader else { return Ok(Binary { linking: Linking::Static }) };
    let sections = header.sections(endian, bytes).map_err(damaged)?;
    if sections.is_empty() {
        return Err(refused("has no section headers, so what it needs cannot be told"));
    }
    let linking = Linking::Dynamic {
        loader,
        libraries: libraries(&sections, endian, bytes).map_err(damaged)?,
        glibc: glibc_needed(&sections, endian, bytes)?,
    };
    Ok(Binary { linking })
}

impl Binary {
    /// Whether it starts on an image with that glibc.
    pub fn starts_on(&self, image: GlibcVersion) -> Result<(), Refusal> {
        let Linking::Dynamic { loader, libraries, glibc } = &self.linking else { return Ok(()) };
        if loader != LOADER {
            return Err(refused(&format!(
                "asks for the loader `{}`, which the images do not have; theirs is `{LOADER}`",
                clean(loader)
            )));
        }
        if let Some(library) = libraries.iter().find(|library| !LIBRARIES_OF_IMAGES.contains(&library.as_str())) {
            return Err(refused(&format!(
                "needs the library `{}`, which not every image of the Functions host has",
                clean(library)
            )));
        }
        match glibc {
            Some(needed) if *needed > image => Err(refused(&format!(
                "needs glibc {needed}, but the image has {image}: it would end with ``version `GLIBC_{needed}' not found``"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.linking {
            Linking::Static => f.write_str("static, needs no glibc"),
            Linking::Dynamic { glibc: Some(glibc), .. } => write!(f, "needs glibc {glibc}"),
            Linking::Dynamic { glibc: None, .. } => f.write_str("dynamic, any glibc"),
        }
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for GlibcVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = parsed.ok_or("a glibc version is written as `2.31`")?;
        Ok(Self { major, minor })
    }
}

type Sections<'a> = SectionTable<'a, Header>;

fn libraries(sections: &Sections<'_>, endian: Endianness, bytes: &[u8]) -> object::Result<Vec<String>> {
    let table = sections.dynamic_table(endian, bytes)?;
    let needed = table.iter().filter(|entry| entry.tag == DT_NEEDED);
    needed.map(|entry| Ok(String::from_utf8_lossy(table.string(entry)?).into_owned())).collect()
}

/// The highest of the versions in `.gnu.version_r`.
fn glibc_needed(sections: &Sections<'_>, endian: Endianness, bytes: &[u8]) -> Result<Option<GlibcVersion>, Refusal> {
    let mut highest = None;
    let Some((needs, strings)) = sections.gnu_verneed(endian, bytes).map_err(damaged)? else { return Ok(None) };
    let strings = sections.strings(endian, bytes, strings).map_err(damaged)?;
    for need in needs {
        let (_, versions) = need.map_err(damaged)?;
        for version in versions {
            let name = version.and_then(|version| version.name(endian, strings)).map_err(damaged)?;
            let name = String::from_utf8_lossy(name);
            if let Some(version) = name.strip_prefix("GLIBC_") {
                highest = highest.max(Some(version_named(version)?));
            }
        }
    }
    Ok(highest)
}

/// `2.34`, `2.2.5` (as 2.2), and the one mark without a number.
fn version_named(name: &str) -> Result<GlibcVersion, Refusal> {
    // Relative relocations in their short form: read by the loader since 2.36.
    if name == "ABI_DT_RELR" {
        return Ok(GlibcVersion { major: 2, minor: 36 });
    }
    let two: Vec<&str> = name.splitn(3, '.').take(2).collect();
    let unknown = || refused(&format!("needs `GLIBC_{}`, of which no version of glibc can be told", clean(name)));
    two.join(".").parse().map_err(|_| unknown())
}

fn refused(says: &str) -> Refusal {
    Refusal::new(format!("the binary {says}; build it with `{BUILD_COMMAND}`"))
}

fn damaged(error: object::Error) -> Refusal {
    refused(&format!("is damaged: {error}"))
}
