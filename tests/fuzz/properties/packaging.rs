//! What `package` reads before it packs: the program's ELF header, and the files of the function app.

use backout::{
    packaging::{
        app_files::AppFiles,
        binary::{self, GlibcVersion, Linking, OLDEST_IMAGE},
        contents, sbom,
    },
    sim::host::FunctionApp,
};

use super::{choose, is_sentence};

pub fn holds(input: &[u8]) {
    if input.starts_with(b"\x7fELF") {
        return program(input);
    }
    let (kind, rest) = choose(&["program", "host.json", "function.json", "glibc", "lock"], input);
    let text = String::from_utf8_lossy(rest);
    match kind {
        "program" => program(rest),
        "host.json" => app(&AppFiles { host_json: text.into_owned(), ..AppFiles::built_in() }),
        "function.json" => {
            let mut files = AppFiles::built_in();
            files.functions[0].1 = text.into_owned();
            app(&files);
        }
        "glibc" => {
            if let Ok(version) = text.parse::<GlibcVersion>() {
                assert_eq!(version.to_string().parse(), Ok(version));
            }
        }
        "lock" => {
            let manifest = "[package]\nname = \"backout\"\n[dependencies]\nserde = \"1\"\n";
            if let Ok(document) = sbom::compose(&text, manifest) {
                assert_eq!(document["bomFormat"], "CycloneDX");
            }
        }
        other => unreachable!("{other}"),
    }
}

fn program(bytes: &[u8]) {
    match binary::inspect(bytes) {
        Ok(binary) => {
            is_sentence(&binary.to_string(), 200);
            match &binary.linking {
                Linking::Static => assert!(binary.starts_on(OLDEST_IMAGE).is_ok()),
                Linking::Dynamic { loader, libraries, .. } => {
                    let named = loader.len() + libraries.iter().map(String::len).sum::<usize>();
                    // Bytes that are no UTF-8 become three each; entries of the table may share a text.
                    assert!(named <= 3 * bytes.len() * (1 + libraries.len()));
                    if let Err(refusal) = binary.starts_on(OLDEST_IMAGE) {
                        is_sentence(&refusal.to_string(), 700);
                    }
                }
            }
        }
        Err(refusal) => is_sentence(&refusal.to_string(), 700),
    }
}

fn app(files: &AppFiles) {
    for refusal in contents::check_app(files) {
        is_sentence(&refusal.to_string(), 2_000);
    }
    if let Ok(read) = FunctionApp::of(files) {
        assert_eq!(read.functions.len(), files.functions.len());
    }
}
