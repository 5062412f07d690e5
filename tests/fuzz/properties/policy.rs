//! The policy file: whatever it holds, it is a policy that makes sense, or every problem has its place, its words and a hint.

use backout::{
    domain::target::Target,
    policy::{self, SIZE_MAX},
};

use super::is_sentence;

/// Longest path that a problem may name: a few keys, of which the file's author chose one or two.
const PATH_CHARACTERS_MAX: usize = 6_000;
const SENTENCE_CHARACTERS_MAX: usize = 2_000;

pub fn holds(input: &[u8]) {
    let policy = match policy::read(input, None) {
        Ok(policy) => policy,
        Err(found) => {
            assert!(!found.problems.is_empty());
            let (lines, columns) = size_of(input);
            for problem in &found.problems {
                assert!((1..=lines).contains(&problem.line), "line {} of {lines}: {problem}", problem.line);
                assert!((1..=columns).contains(&problem.column), "column {} of {columns}: {problem}", problem.column);
                assert!(problem.path.chars().count() <= PATH_CHARACTERS_MAX, "{problem}");
                is_sentence(&problem.says, SENTENCE_CHARACTERS_MAX);
                is_sentence(&problem.hint, SENTENCE_CHARACTERS_MAX);
                is_sentence(&problem.to_string(), PATH_CHARACTERS_MAX + 2 * SENTENCE_CHARACTERS_MAX);
            }
            // It has to fit into a parked message, whatever the file's size.
            assert!(found.to_string().len() <= 2_000 + 400 * input.len().min(1_000), "{} bytes", found.to_string().len());
            return;
        }
    };
    assert!(input.len() <= SIZE_MAX);
    // The same file is the same policy, and what comes after its last line is not part of it.
    assert_eq!(policy::read(input, None).as_ref(), Ok(&policy));
    for (name, service) in &policy.services {
        assert_eq!(name, &service.name);
        is_sentence(&name.0, 64);
        assert!(service.depends_on.iter().all(|upstream| policy.services.contains_key(upstream)));
        assert!(service.budget.rollbacks > 0 && service.budget.per.is_positive() && service.quiet_time.is_positive());
        // Whoever reads the target back from a claim gets the same one.
        let stored = serde_json::to_string(&service.target).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&stored).unwrap(), service.target);
        if let Target::AppService(target) = &service.target {
            assert!(policy::read(input, Some(&target.site)).is_err(), "the handler's own site is a target: {}", target.site);
        }
    }
    let keys: std::collections::BTreeSet<_> = policy.services.values().map(|service| service.target.key()).collect();
    assert_eq!(keys.len(), policy.services.len(), "two services have one target");
}

/// Lines, and characters of the longest one.
fn size_of(input: &[u8]) -> (u64, u64) {
    let text = String::from_utf8_lossy(input);
    // YAML ends a line at each of these; a problem may be told behind the last character.
    let lines: Vec<&str> = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).collect();
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    (lines.len() as u64 + 1, longest as u64 + 2)
}
