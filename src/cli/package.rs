//! `backout package`: the function app as one zip, or the reasons why it would not start.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Parser;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Format, out, out_json, progress};
use crate::{
    packaging::{
        BUILD_COMMAND, Refusal,
        app_files::AppFiles,
        archive::{self, Entry},
        binary::{self, Binary, GlibcVersion, Linking},
        contents, sbom,
    },
    settings::{Environment, Source},
};

#[derive(Debug, Parser)]
pub struct Args {
    /// Where the zip goes
    #[arg(long, default_value = "backout.zip")]
    out: PathBuf,
    /// The program to pack; else the newest release build below `target/`, else the one that runs
    #[arg(long)]
    binary: Option<PathBuf>,
    /// The policy to pack
    #[arg(long, default_value = "backout.yaml")]
    policy: PathBuf,
    /// Folder with changed copies of host.json and the function folders, instead of the built-in ones
    #[arg(long)]
    app: Option<PathBuf>,
    /// glibc of the image that will run it
    #[arg(long, default_value_t = binary::OLDEST_IMAGE)]
    glibc: GlibcVersion,
    /// Largest zip that is not refused
    #[arg(long, default_value_t = contents::SIZE_MAX)]
    bytes_max: usize,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut refusals = Vec::new();
    let path = match &args.binary {
        Some(path) => path.clone(),
        None => newest_build().map_or_else(std::env::current_exe, Ok).context("the running program has no path")?,
    };
    let program =
        fs::read(&path).with_context(|| format!("`{}` could not be read; build it with `{BUILD_COMMAND}`", path.display()))?;
    let inspected = kept(binary::inspect(&program), &mut refusals);
    let fits = inspected.as_ref().and_then(|binary| kept(binary.starts_on(args.glibc), &mut refusals)).is_some();
    let runs = if fits && kept(may_be_executed(&path), &mut refusals).is_some() {
        kept(says_its_version(&path).await, &mut refusals).unwrap_or(false)
    } else {
        false
    };
    let policy = kept(read_policy(&args.policy), &mut refusals);
    let policy = policy.and_then(|bytes| {
        let read = kept(contents::check_policy(&bytes, &args.policy.display().to_string()), &mut refusals)?;
        Some((bytes, read))
    });
    let app = match &args.app {
        Some(folder) => AppFiles::read(folder)?,
        None => AppFiles::built_in(),
    };
    refusals.extend(contents::check_app(&app));
    let (Some(binary), Some((policy, read)), true) = (inspected, policy, refusals.is_empty()) else {
        return refused(&refusals, args.format);
    };

    let services = read.services.len();
    let entries = contents::entries(&app, program, policy, sbom::cyclone_dx()?);
    progress("compressing");
    let zip = archive::write(&entries).context("the zip could not be made")?;
    if let Err(refusal) = contents::check_size(zip.len(), args.bytes_max) {
        return refused(&[refusal], args.format);
    }
    write_whole(&args.out, &zip).with_context(|| format!("`{}` could not be written", args.out.display()))?;
    tell(&Packed { args: &args, path: &path, binary: &binary, runs, services, entries: &entries, zip: &zip });
    Ok(ExitCode::SUCCESS)
}

/// Where release builds for the hosts land; `CARGO_TARGET_DIR` moves them.
fn newest_build() -> Option<PathBuf> {
    let target = Environment.get("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty()).unwrap_or_else(|| "target".to_owned());
    let builds = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"]
        .map(|triple| Path::new(&target).join(triple).join("release").join(contents::PROGRAM));
    let dated = builds.into_iter().filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)));
    dated.max().map(|(_, path)| path)
}

/// The value, or one more refusal.
fn kept<T>(result: Result<T, Refusal>, refusals: &mut Vec<Refusal>) -> Option<T> {
    result.map_err(|refusal| refusals.push(refusal)).ok()
}

fn may_be_executed(path: &Path) -> Result<(), Refusal> {
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o111 == 0 {
        return Err(Refusal(format!("`{0}` may not be executed, so it could not be tried: `chmod +x {0}`", path.display())));
    }
    Ok(())
}

/// Starts the program to ask for its version, where this machine can run it at all. The functions that are packed are those of
/// this version, so another one would not answer them all. False: not tried here.
async fn says_its_version(path: &Path) -> Result<bool, Refusal> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(false);
    }
    let own = format!("backout {}", env!("CARGO_PKG_VERSION"));
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut asked = tokio::process::Command::new(&path);
    asked.arg("--version").env_clear().kill_on_drop(true);
    let says = |what: String| Refusal(format!("`{} --version` {what}", path.display()));
    let answer = tokio::time::timeout(Duration::from_secs(20), asked.output())
        .await
        .map_err(|_| says("does not end; is it backout?".to_owned()))?
        .map_err(|error| says(format!("does not start: {error}; build it with `{BUILD_COMMAND}`")))?;
    let said = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if !answer.status.success() {
        let why = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        return Err(says(format!("fails ({}): {why}; build it with `{BUILD_COMMAND}`", answer.status)));
    }
    if said != own {
        return Err(says(format!(
            "says `{said}`, but the functions are those of `{own}`: package with the version that is packed"
        )));
    }
    Ok(true)
}

fn read_policy(path: &Path) -> Result<Vec<u8>, Refusal> {
    fs::read(path).map_err(|error| {
        let path = path.display();
        Refusal(format!("there is no policy to pack: `{path}`: {error}; write one (`backout schema` prints its shape), or name it by `--policy`"))
    })
}

/// Nobody ever sees half a zip under that name.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}

fn refused(refusals: &[Refusal], format: Format) -> anyhow::Result<ExitCode> {
    match format {
        Format::Json => {
            let says: Vec<&str> = refusals.iter().map(|refusal| refusal.0.as_str()).collect();
            out_json(&json!({ "packed": false, "refusals": says }));
            Ok(ExitCode::FAILURE)
        }
        Format::Text => {
            let says: Vec<String> = refusals.iter().map(|refusal| format!("- {refusal}")).collect();
            bail!("nothing was packed:\n{}", says.join("\n"))
        }
    }
}

struct Packed<'a> {
    args: &'a Args,
    path: &'a Path,
    binary: &'a Binary,
    runs: bool,
    services: usize,
    entries: &'a [Entry],
    zip: &'a [u8],
}

fn tell(packed: &Packed<'_>) {
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(packed.zip));
    let mut entries: Vec<&Entry> = packed.entries.iter().collect();
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    match packed.args.format {
        Format::Json => {
            let glibc = match &packed.binary.linking {
                Linking::Dynamic { glibc, .. } => glibc.map(|version| version.to_string()),
                Linking::Static => None,
            };
            let entries: Vec<_> = entries
                .iter()
                .map(|entry| json!({ "name": entry.name, "mode": format!("{:04o}", entry.kind.mode()), "bytes": entry.bytes.len() }))
                .collect();
            let told = json!({
                "packed": true, "out": packed.args.out, "bytes": packed.zip.len(), "sha256": sha256, "binary": packed.path,
                "static": packed.binary.linking == Linking::Static, "glibc": glibc, "tried": packed.runs,
                "services": packed.services, "entries": entries,
            });
            out_json(&told);
        }
        Format::Text => {
            for entry in entries {
                out(&format!("{:04o} {:>10}  {}", entry.kind.mode(), entry.bytes.len(), entry.name));
            }
            let tried = if packed.runs { "it starts here" } else { "it was not started here: another kind of machine" };
            out(&format!("program {}: {}; image glibc {}; {tried}", packed.path.display(), packed.binary, packed.args.glibc));
            out(&format!("policy {}: {} services", packed.args.policy.display(), packed.services));
            out(&format!("{}: {} bytes, sha256 {sha256}", packed.args.out.display(), packed.zip.len()));
        }
    }
}
