//! Every platform that a policy may name is shown to people, too.

use std::fs;

use backout::domain::target::PlatformKind;

#[test]
fn each_platform_has_its_page_and_its_row() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |path: &str| fs::read_to_string(format!("{root}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (readme, table) = (read("README.md"), read("docs/platforms/README.md"));
    for platform in PlatformKind::ALL {
        let page = read(&format!("docs/platforms/{platform}.md"));
        assert!(page.contains(&format!("platform: {platform}")), "the page of `{platform}` shows no policy entry");
        assert!(page.contains(&format!("demo --platform {platform}")) || platform == PlatformKind::AppService, "{platform}");
        assert!(page.contains("Rights") || page.contains("rights"), "the page of `{platform}` names no rights");
        assert!(readme.contains(&format!("docs/platforms/{platform}.md")), "the README has no row for `{platform}`");
        assert!(table.contains(&format!("({platform}.md)")), "the table has no column for `{platform}`");
    }
}
