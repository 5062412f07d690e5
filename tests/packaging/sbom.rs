//! The bill of materials.

use backout::packaging::sbom::{SbomProblem, compose, cyclone_dx};
use serde_json::{Value, json};

/// Composed by us in the form of Cargo.
const MANIFEST: &str = "[package]\nname = \"app\"\n[dependencies]\none = \"1\"\nother = { package = \"two\", version = \"2\" }\n[dev-dependencies]\nonly-tests = \"1\"\n";
const LOCK: &str = "version = 4
[[package]]\nname = \"app\"\nversion = \"0.3.0\"\ndependencies = [\"one\", \"only-tests\", \"two 2.0.0\"]
[[package]]\nname = \"one\"\nversion = \"1.0.0+x\"\nchecksum = \"11\"\ndependencies = [\"two 1.0.0\"]
[[package]]\nname = \"only-tests\"\nversion = \"1.0.0\"\nchecksum = \"22\"
[[package]]\nname = \"two\"\nversion = \"1.0.0\"\nchecksum = \"33\"
[[package]]\nname = \"two\"\nversion = \"2.0.0\"\nchecksum = \"44\"\n";

#[test]
fn what_the_program_is_made_of_and_nothing_of_its_tests() {
    let document = compose(LOCK, MANIFEST).unwrap();
    assert_eq!((&document["bomFormat"], &document["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
    assert_eq!(document["metadata"]["component"]["purl"], "pkg:cargo/app@0.3.0");
    let purls: Vec<_> =
        document["components"].as_array().unwrap().iter().map(|component| component["purl"].as_str().unwrap()).collect();
    assert_eq!(purls, ["pkg:cargo/one@1.0.0%2Bx", "pkg:cargo/two@1.0.0", "pkg:cargo/two@2.0.0"]);
    assert_eq!(document["components"][1]["hashes"], json!([{ "alg": "SHA-256", "content": "33" }]));
    assert_eq!(
        document["dependencies"],
        json!([
            { "ref": "pkg:cargo/app@0.3.0", "dependsOn": ["pkg:cargo/one@1.0.0%2Bx", "pkg:cargo/two@2.0.0"] },
            { "ref": "pkg:cargo/one@1.0.0%2Bx", "dependsOn": ["pkg:cargo/two@1.0.0"] },
            { "ref": "pkg:cargo/two@1.0.0", "dependsOn": [] },
            { "ref": "pkg:cargo/two@2.0.0", "dependsOn": [] },
        ])
    );
    let Err(SbomProblem::NotLocked(name)) = compose(&LOCK.replace("\"one\"\nversion", "\"uno\"\nversion"), MANIFEST) else {
        panic!("a lock file without `one` was taken")
    };
    assert_eq!(name, "one");
}

#[test]
fn our_own_names_each_crate_once_with_its_checksum() {
    let text = cyclone_dx().unwrap();
    assert_eq!(text, cyclone_dx().unwrap());
    let document: Value = serde_json::from_str(&text).unwrap();
    let components = document["components"].as_array().unwrap();
    let names = |name: &str| components.iter().filter(|component| component["name"] == name).count();
    assert_eq!((names("tokio"), names("rusqlite"), names("aws-lc-sys"), names("azure_core")), (1, 1, 1, 2));
    assert_eq!((names("proptest"), names("insta"), names("backout")), (0, 0, 0), "only tests use them");
    for component in components {
        let checksum = component["hashes"][0]["content"].as_str().unwrap_or_default();
        assert_eq!(checksum.len(), 64, "{component}");
    }
}
