//! Every setting of the code appears in the sample and in the infrastructure, and no other does.

use std::collections::BTreeSet;

use backout::settings::names::{self, SetBy};
use serde_json::Value;

use super::read;

/// Words that look like a setting of ours.
fn mentioned(text: &str) -> BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with(names::PREFIX) || word.starts_with("ServiceBus__")).collect()
}

#[test]
fn an_operators_setting_is_in_the_infrastructure_and_in_the_sample() {
    let infra = read("infra/modules/function-app.bicep");
    let sample: Value = serde_json::from_str(&read("local.settings.sample.json")).unwrap();
    let of_operators = names::ALL.iter().filter(|setting| setting.set_by == SetBy::Operator);
    // One connection has two forms; the sample shows the one without a secret.
    for setting in of_operators.filter(|setting| setting.name != names::SERVICE_BUS) {
        assert!(infra.contains(setting.name), "infra/modules/function-app.bicep does not name `{}`", setting.name);
        assert!(sample["Values"].get(setting.name).is_some(), "local.settings.sample.json does not name `{}`", setting.name);
    }
}

#[test]
fn the_infrastructure_sets_nothing_that_the_code_does_not_know() {
    let known: BTreeSet<&str> = names::ALL.iter().map(|setting| setting.name).collect();
    let infra = read("infra/modules/function-app.bicep");
    let unknown: Vec<_> = mentioned(&infra).difference(&known).copied().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// A value that only serves the demo, or opens a way around the identities, must not come in by the default.
#[test]
fn what_is_for_the_demo_is_named_in_a_comment_only() {
    let infra = read("infra/modules/function-app.bicep");
    for name in
        [names::BACKOUT_TIME_SCALE, names::BACKOUT_ARM_ENDPOINT, names::BACKOUT_BUS_ENDPOINT, names::BACKOUT_LOGS_ENDPOINT]
    {
        for line in infra.lines().filter(|line| line.contains(name)) {
            assert!(line.trim_start().starts_with("//"), "{line}");
        }
    }
}
