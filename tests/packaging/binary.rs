//! What is read from an ELF header, and what is refused for it.

use backout::packaging::{
    BUILD_COMMAND,
    binary::{Binary, GlibcVersion, Linking, OLDEST_IMAGE, inspect},
};

use super::elf::Elf;

fn refusal(elf: &Elf) -> String {
    match inspect(&elf.bytes()) {
        Err(refusal) => refusal.0,
        Ok(binary) => binary.starts_on(OLDEST_IMAGE).expect_err("refused").0,
    }
}

fn glibc(versions: &[&'static str]) -> Option<String> {
    match inspect(&Elf::dynamic(versions).bytes()).unwrap().linking {
        Linking::Dynamic { glibc, .. } => glibc.map(|version| version.to_string()),
        Linking::Static => panic!("static"),
    }
}

#[test]
fn the_highest_glibc_counts_by_number() {
    assert_eq!(glibc(&["GLIBC_2.9", "GLIBC_2.28", "GLIBC_2.2.5", "GCC_3.0"]).as_deref(), Some("2.28"));
    assert_eq!(glibc(&["GLIBC_2.2.5"]).as_deref(), Some("2.2"));
    assert_eq!(glibc(&["GLIBC_2.17", "GLIBC_ABI_DT_RELR"]).as_deref(), Some("2.36"));
    assert_eq!(glibc(&["GCC_3.0"]), None);
    assert_eq!(glibc(&[]), None);
    let version: GlibcVersion = "2.31".parse().unwrap();
    assert_eq!(version, OLDEST_IMAGE);
    assert!("2".parse::<GlibcVersion>().is_err());
}

#[test]
fn a_program_for_every_image_is_taken() {
    let good = inspect(&Elf::dynamic(&["GLIBC_2.28"]).bytes()).unwrap();
    let libraries = vec!["libc.so.6".to_owned(), "libgcc_s.so.1".to_owned()];
    let loader = "/lib64/ld-linux-x86-64.so.2".to_owned();
    let needs = Some(GlibcVersion { major: 2, minor: 28 });
    assert_eq!(good, Binary { linking: Linking::Dynamic { loader, libraries, glibc: needs } });
    good.starts_on(OLDEST_IMAGE).unwrap();
    good.starts_on(GlibcVersion { major: 2, minor: 28 }).unwrap();
    for kind in [2, 3] {
        let still = inspect(&Elf { kind, ..Elf::without_loader() }.bytes()).unwrap();
        assert_eq!(still.linking, Linking::Static);
        still.starts_on(OLDEST_IMAGE).unwrap();
    }
}

#[test]
fn what_would_not_start_is_refused_with_its_reason_and_the_way_to_build() {
    let good = || Elf::dynamic(&["GLIBC_2.28"]);
    let cases = [
        (Elf::dynamic(&["GLIBC_2.28", "GLIBC_2.34"]), "needs glibc 2.34, but the image has 2.31"),
        (Elf::dynamic(&["GLIBC_NEXT"]), "needs `GLIBC_NEXT`, of which no version of glibc can be told"),
        (Elf { machine: 183, ..good() }, "is built for aarch64 (arm64); the Functions plans run their hosts on x86-64 only"),
        (Elf { machine: 243, ..good() }, "is built for machine 243 of the ELF list"),
        (Elf { class: 1, ..good() }, "is a 32-bit program"),
        (Elf { kind: 1, ..good() }, "is no program but an object file or a library"),
        (Elf { entry: 0, ..good() }, "is no program but an object file or a library"),
        (Elf { loader: Some("/lib/ld-musl-x86_64.so.1"), ..good() }, "asks for the loader `/lib/ld-musl-x86_64.so.1`"),
        (Elf { sections: false, ..good() }, "has no section headers, so what it needs cannot be told"),
        (Elf { libraries: vec!["libc.so.6", "libssl.so.3"], ..good() }, "needs the library `libssl.so.3`"),
    ];
    for (elf, says) in cases {
        let refusal = refusal(&elf);
        assert!(refusal.starts_with("the binary ") && refusal.contains(says), "{refusal}");
        assert!(refusal.contains(BUILD_COMMAND), "{refusal}");
    }
    let script = inspect(b"#!/bin/sh\nexec backout serve\n").unwrap_err().0;
    assert!(script.contains("is no Linux program: it has no ELF header"), "{script}");
}

#[test]
fn a_cut_or_altered_file_is_refused_and_never_a_panic() {
    let whole = Elf::dynamic(&["GLIBC_2.28", "GLIBC_2.17"]).bytes();
    for length in 0..whole.len() {
        assert!(inspect(&whole[..length]).is_err(), "{length} bytes");
    }
    for at in 0..whole.len() {
        for value in [0, 0x7f, 0xff] {
            let mut altered = whole.clone();
            altered[at] = value;
            // Whether it is still a program depends on the byte.
            let _either = inspect(&altered).map(|binary| binary.starts_on(OLDEST_IMAGE));
        }
    }
}
