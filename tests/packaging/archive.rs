//! The zip as bytes, and as readers see it that are not ours.

use std::{
    io::{Cursor, Read},
    process::Command,
};

use backout::packaging::archive::{Entry, EntryKind, write};
use zip::ZipArchive;

fn entry(name: &str, kind: EntryKind, text: &str) -> Entry {
    Entry { name: name.to_owned(), kind, bytes: text.into() }
}

fn entries() -> Vec<Entry> {
    vec![
        entry("host.json", EntryKind::Text, "{}"),
        entry("backout", EntryKind::Program, &"program ".repeat(1_000)),
        entry("alerts/function.json", EntryKind::Text, "{\"bindings\": []}"),
    ]
}

#[test]
fn the_same_entries_in_any_order_are_the_same_bytes() {
    let mut turned = entries();
    turned.reverse();
    let zip = write(&entries()).unwrap();
    assert_eq!(zip, write(&turned).unwrap());
    turned[0].bytes.push(b' ');
    assert_ne!(zip, write(&turned).unwrap());
}

#[test]
fn names_modes_times_and_contents() {
    let mut zip = ZipArchive::new(Cursor::new(write(&entries()).unwrap())).unwrap();
    let mut found = Vec::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let time = file.last_modified().unwrap();
        assert_eq!((time.year(), time.month(), time.day(), time.hour()), (1980, 1, 1, 0));
        found.push((file.name().unwrap().into_owned(), file.unix_mode().unwrap(), text.len()));
    }
    // 0o100000: a regular file.
    let expected = [("alerts/function.json", 0o100_644, 16), ("backout", 0o100_755, 8_000), ("host.json", 0o100_644, 2)];
    assert_eq!(found, expected.map(|(name, mode, length)| (name.to_owned(), mode, length)));
}

/// Python's own reader checks each entry against its checksum.
#[test]
fn another_reader_agrees() {
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  for i in z.infolist(): print(i.filename, oct(i.external_attr >> 16), i.create_system, i.file_size)";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.zip");
    std::fs::write(&path, write(&entries()).unwrap()).unwrap();
    let Ok(ran) = Command::new("python3").arg("-c").arg(script).arg(&path).output() else {
        eprintln!("NOT CHECKED: python3 is not installed, so no second reader looked at the zip");
        return;
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let expected = "alerts/function.json 0o100644 3 16\nbackout 0o100755 3 8000\nhost.json 0o100644 3 2\n";
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), expected);
}
