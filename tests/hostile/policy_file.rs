//! The policy file as somebody might write it who wants to hurt its reader.

use backout::policy;

const SITE: &str = "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/g/providers/Microsoft.Web/sites/s";

/// Shown in a terminal, a log line, and the reason of every parked message.
const TOLD_BYTES_MAX: usize = 128 * 1024;

/// A hundred, and one that says how many more there are.
const PROBLEMS_MAX: usize = 101;

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

#[test]
fn whatever_is_written_ends_in_an_answer_of_bounded_size() {
    let service = format!("version: 1\nservices:\n  s:\n    target: {{ platform: app-service, site: {SITE} }}\n");
    let long = "k".repeat(100_000);
    let unknown_keys = lines(500, |n| format!("    key{n}: 1\n"));
    let laughs = (1..10).fold("l0: &l0 { a: x, b: x }\n".to_owned(), |text, n| {
        let below = (0..10).map(|k| format!("k{k}: *l{}", n - 1)).collect::<Vec<_>>().join(", ");
        format!("{text}l{n}: &l{n} {{ {below} }}\n")
    });
    let merges = (1..40)
        .fold("m0: &m0 { a: x }\n".to_owned(), |text, n| format!("{text}m{n}: &m{n} {{ <<: [*m{0}, *m{0}], b{n}: x }}\n", n - 1));
    let rows = [
        ("laughs of maps", format!("{service}{laughs}")),
        ("merges of merges", format!("{service}{merges}")),
        ("an alias to itself", format!("{service}x: &x [*x]\n")),
        ("an alias to nothing", format!("{service}x: *gone\n")),
        ("many anchors", format!("{service}{}", lines(5_000, |n| format!("a{n}: &a{n} 1\n")))),
        ("deep lists", format!("{service}x: {}{}\n", "[".repeat(100_000), "]".repeat(100_000))),
        ("deep lines", lines(400, |n| format!("{}a:\n", " ".repeat(n)))),
        ("a long key", format!("{service}{long}: 1\n")),
        ("a long name of a service with many problems", format!("version: 1\nservices:\n  {long}:\n{unknown_keys}")),
        ("a long value", format!("{service}    mode: {long}\n")),
        ("many unknown keys", format!("{service}{unknown_keys}")),
        ("many services without a target", format!("version: 1\nservices:\n{}", lines(5_000, |n| format!("  s{n}: {{}}\n")))),
        (
            "many services on one target",
            format!(
                "version: 1\nservices:\n{}",
                lines(1_000, |n| format!("  s{n}: {{ target: {{ platform: app-service, site: {SITE} }} }}\n"))
            ),
        ),
        (
            "a circle of dependencies",
            format!(
                "version: 1\nservices:\n{}",
                lines(900, |n| {
                    let on = (n + 1) % 900;
                    format!("  s{n}: {{ target: {{ platform: app-service, site: {SITE}{n} }}, dependsOn: [s{on}] }}\n")
                })
            ),
        ),
        ("a tag that would run code elsewhere", format!("{service}x: !!python/object/apply:os.system ['id']\n")),
        ("two documents", format!("{service}---\n{service}")),
        ("numbers without end", format!("{service}storm: {{ resources: {}, within: 1e999m }}\n", "9".repeat(10_000))),
        ("a byte that is none", format!("{service}\u{0}\n")),
        (
            "a name that reads from right to left",
            format!("version: 1\nservices:\n  a\u{202e}b: {{ target: {{ platform: app-service, site: {SITE} }} }}\n"),
        ),
        (
            "a site outside of itself",
            format!("version: 1\nservices:\n  s: {{ target: {{ platform: app-service, site: {SITE}/../other }} }}\n"),
        ),
        (
            "a slot outside of its site",
            format!(
                "version: 1\nservices:\n  s: {{ target: {{ platform: app-service, site: {SITE}, goodSlots: ['../../other'] }} }}\n"
            ),
        ),
    ];
    let mut most = 0;
    for (name, text) in rows {
        let Err(problems) = policy::read(text.as_bytes(), None) else { panic!("{name}: such a policy is none") };
        let told = problems.to_string();
        assert!(!problems.problems.is_empty() && problems.problems.len() <= PROBLEMS_MAX, "{name}: {}", problems.problems.len());
        assert!(told.len() <= TOLD_BYTES_MAX, "{name}: {} bytes are told", told.len());
        most = most.max(problems.problems.len());
    }
    assert_eq!(most, PROBLEMS_MAX, "some of them have more problems than are told");
}
