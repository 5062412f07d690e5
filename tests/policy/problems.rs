//! Every kind of problem of a policy file, with its line and its hint. All files are composed here.

use backout::{
    domain::resource_id::ResourceId,
    policy::{self, Problem},
};

const SITE: &str =
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Web/sites/checkout";
const PAYMENTS: &str =
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Web/sites/payments";

/// The problems of `text`, in which `SITE` and `PAYMENTS` stand for two resource ids.
fn problems(text: &str) -> Vec<Problem> {
    let own = ResourceId::parse(
        "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/ops/providers/Microsoft.Web/sites/backout",
    )
    .unwrap();
    policy::read(text.replace("SITE", SITE).replace("PAYMENTS", PAYMENTS).as_bytes(), Some(&own)).expect_err(text).problems
}

/// A policy whose only service has `more` below its target, from line 5 on.
fn with(more: &str) -> String {
    format!("version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: SITE }}\n{more}")
}

/// A policy whose only service has the target `target`, written on line 4.
fn with_target(target: &str) -> String {
    format!("version: 1\nservices:\n  checkout:\n    target: {target}\n")
}

#[track_caller]
fn check(text: &str, line: u64, path: &str, says: &str, hint: &str) {
    let found = problems(text);
    let [problem] = found.as_slice() else { panic!("one problem expected for\n{text}\nfound: {found:#?}") };
    assert_eq!((problem.line, problem.path.as_str()), (line, path), "{problem}");
    assert!(problem.says.contains(says), "`{says}` expected in: {problem}");
    assert!(problem.hint.contains(hint), "`{hint}` expected in the hint of: {problem}");
}

#[test]
fn the_file_as_a_whole() {
    check("", 1, "", "the file is empty", "`version: 1`");
    check("# nothing\n", 1, "", "the file is empty", "`version: 1`");
    check("- a\n- b\n", 1, "", "no keys with values", "`version: 1`");
    check("version: 1\nservices: {a: [}\n", 2, "", "not valid YAML", "indentation");
    check("version: 1\n---\nversion: 1\n", 3, "", "second document", "one document");
    check("version: 1\nversion: 1\n", 2, "", "second time", "keep one");
    check(&format!("version: 1\n#{}", "x".repeat(policy::SIZE_MAX)), 1, "", "larger than 256 KiB", "elsewhere");
    let invalid = policy::read(b"version: \xff\xfe\n", None).unwrap_err();
    assert_eq!(invalid.to_string(), "backout.yaml:1:1: the file is not UTF-8 text; hint: save it as UTF-8");
}

#[test]
fn duplicate_keys_at_depth() {
    check(&with("    mode: act\n    mode: observe\n"), 6, "", "second time", "keep one");
    check(&with("    alerts:\n      - property: { 1: a, '1': b }\n"), 6, "", "second time", "keep one");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{below}]\n");
    }
    let found = problems(&bomb);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].says.contains("nests or repeats too much"), "{}", found[0]);
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("version: 1\nservices: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    let found = problems(&deep);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].line, 2, "{}", found[0]);
}

#[test]
fn version_and_services() {
    let services = "services:\n  checkout:\n    target: { platform: app-service, site: SITE }\n";
    check(services, 1, "version", "is missing", "`version: 1`");
    check(&format!("version: 2\n{services}"), 1, "version", "is 2", "`version: 1`");
    check(&format!("version: one\n{services}"), 1, "version", "is text; a whole number", "digits");
    check("version: 1\n", 1, "services", "names no service", "at least one");
    check("version: 1\nservices: {}\n", 2, "services", "names no service", "at least one");
    check("version: 1\nservices:\n", 2, "services", "is empty", "write a value");
    check(
        "version: 1\nservices:\n  -bad name:\n    target: { platform: app-service, site: SITE }\n",
        3,
        "services.-bad name",
        "is not a name",
        "begin with a letter",
    );
}

#[test]
fn shape() {
    check(&with("    mdoe: act\n"), 5, "services.checkout.mdoe", "is not a key of this place", "did you mean `mode`?");
    check(&with("    owner: me\n"), 5, "services.checkout.owner", "is not a key of this place", "known here: `target`");
    check(&with("    mode: atc\n"), 5, "services.checkout.mode", "says `atc`", "did you mean `act`?");
    check(&with("    mode: [act]\n"), 5, "services.checkout.mode", "is a list; text is expected", "write text");
    check(&with("    dependsOn: payments\n"), 5, "services.checkout.dependsOn", "is text; a list is expected", "[one, two]");
    check(&with("    coolDown: 30\n"), 5, "services.checkout.coolDown", "is a number; text is expected", "such as `30m`");
    check(&with("    severityAtLeast: 2\n"), 5, "services.checkout.severityAtLeast", "is a number", "`Sev0`");
    check(&with("    budget: { rollbacks: -1 }\n"), 5, "services.checkout.budget.rollbacks", "is a number", "digits");
    check(&with("    budget: { rollbacks: 1.5 }\n"), 5, "services.checkout.budget.rollbacks", "fraction", "digits");
    check(&with("    reversible: maybe\n"), 5, "services.checkout.reversible", "says `maybe`", "`declared`");
    check(&with("    resubmit: twice\n"), 5, "services.checkout.resubmit", "says `twice`", "`once`");
    check("version: 1\nservices:\n  checkout: x\n", 3, "services.checkout", "is text; a set of keys", "key: value");
    check("version: 1\nservices:\n  checkout: {}\n", 3, "services.checkout", "lacks `target`", "app-service");
    check(&with_target("{ platform: app-service }"), 4, "services.checkout.target", "lacks `site`", "resource id");
    check(&with_target("{ site: SITE }"), 4, "services.checkout.target", "lacks `platform`", "app-service");
    check(
        &with("    alerts:\n      - property: { build: 7 }\n"),
        6,
        "services.checkout.alerts[0].property.build",
        "is a number; text is expected",
        "in quotes",
    );
    check(&with("extra: 1\n"), 5, "extra", "is not a key of this place", "known here: `version`");
}

#[test]
fn more_problems_than_anybody_reads() {
    let many = (0..300).map(|n| format!("wrong{n}: 1\n")).collect::<Vec<_>>().concat();
    let found = problems(&with(&many));
    assert_eq!(found.len(), 101);
    assert!(found[100].says.contains("more problems"), "{}", found[100]);
}

#[test]
fn empty_values() {
    check("version: 1\nservices:\n  checkout:\n", 3, "services.checkout", "is empty", "or remove it");
    check(&with("    mode:\n"), 5, "services.checkout.mode", "is empty", "or remove it");
    check(&with("    mode: ~\n"), 5, "services.checkout.mode", "is empty", "or remove it");
    check(&with("    dependsOn:\n      - \n"), 6, "services.checkout.dependsOn[0]", "is empty", "or remove it");
    check(&with_target("{ platform: app-service, site: }"), 4, "services.checkout.target.site", "is empty", "or remove it");
    check(&with("notify:\n  - { channel: log }\n  -\n"), 7, "notify[1]", "is empty", "or remove it");
}

#[test]
fn durations() {
    for (text, says) in [
        ("'30'", "is not a duration"),
        ("thirty", "is not a duration"),
        ("1d", "is not a duration"),
        ("-5m", "is not a duration"),
        ("1.5h", "is not a duration"),
        ("5m 3s", "is not a duration"),
        ("3s5m", "is not a duration"),
        ("5m5m", "is not a duration"),
        ("m", "is not a duration"),
        ("hms", "is not a duration"),
        ("PT5M", "is not a duration"),
        ("''", "is not a duration"),
        ("0s", "is no time at all"),
        ("0h0m", "is no time at all"),
        ("2161h", "is longer than 90 days"),
        ("99999999999999999999h", "is longer than 90 days"),
    ] {
        for key in ["correlationWindow", "evidenceWait", "healthyFor", "coolDown", "quietTime", "verifyWithin"] {
            check(&with(&format!("    {key}: {text}\n")), 5, &format!("services.checkout.{key}"), says, "`2h30m`");
        }
        check(&with(&format!("    budget: {{ per: {text} }}\n")), 5, "services.checkout.budget.per", says, "`30s`");
        check(&with(&format!("storm: {{ within: {text} }}\n")), 5, "storm.within", says, "`30s`");
        check(&with(&format!("defaults:\n  healthyFor: {text}\n")), 6, "defaults.healthyFor", says, "`30s`");
    }
}

#[test]
fn levels() {
    check(&with("    quietTime: 5m59s\n"), 5, "services.checkout.quietTime", "too short", "`6m` or more");
    // Told once where it is written, though every service takes it over.
    check(&with("defaults: { quietTime: 1m }\n"), 5, "defaults.quietTime", "too short", "`6m` or more");
    for severity in ["Sev5", "critical", "'2'", "Sev", "Sev22", "''"] {
        let text = with(&format!("    severityAtLeast: {severity}\n"));
        check(&text, 5, "services.checkout.severityAtLeast", "is not a severity", "`Sev0`");
    }
    check(&with("    budget: { rollbacks: 0 }\n"), 5, "services.checkout.budget.rollbacks", "is 0", "`mode: observe`");
    check(&with("storm: { resources: 1 }\n"), 5, "storm.resources", "is 1", "2 or more");
}

#[test]
fn targets() {
    let target = |site: &str| with_target(&format!("{{ platform: app-service, site: \"{site}\" }}"));
    let path = "services.checkout.target.site";
    check(&target("checkout"), 4, path, "is not an Azure resource id: it does not begin", "az webapp show");
    check(&target(&format!("{SITE}/../x")), 4, path, "`..` segment", "az webapp show");
    check(&target(&format!("{SITE}/slots/staging")), 4, path, "is a slot, not a site", "`goodSlots`");
    check(
        &target("/subscriptions/1/resourceGroups/shop/providers/Microsoft.Web/serverfarms/plan"),
        4,
        path,
        "is not the id of an App Service site",
        "Microsoft.Web/sites/{name}",
    );
    check(&target("/subscriptions/1/resourceGroups/shop"), 4, path, "is not the id of an App Service site", "sites/{name}");
    check(&target("/subscriptions/1/providers/Microsoft.Web/sites/a"), 4, path, "names no resource group", "resourceGroups");
    for provider in [
        "Microsoft.Insights/components",
        "microsoft.insights/metricAlerts",
        "Microsoft.OperationalInsights/workspaces",
        "Microsoft.AlertsManagement/actionRules",
        "Microsoft.Monitor/accounts",
        "Microsoft.ServiceBus/namespaces",
        "Microsoft.EventGrid/topics",
    ] {
        let site = format!("/subscriptions/1/resourceGroups/ops/providers/{provider}/x");
        check(&target(&site), 4, path, "never acts (E9)", "`alerts:`");
    }
    // Case does not hide it.
    let own = "/SUBSCRIPTIONS/11111111-1111-1111-1111-111111111111/resourcegroups/OPS/providers/microsoft.web/sites/Backout";
    check(&target(own), 4, path, "backout itself runs in (E9)", "by hand");
}

#[test]
fn slots() {
    let target = |more: &str| with_target(&format!("{{ platform: app-service, site: SITE, {more} }}"));
    let path = "services.checkout.target";
    check(&target("goodSlots: []"), 4, &format!("{path}.goodSlots"), "is empty", "[staging]");
    check(&target("goodSlots: [a/b]"), 4, &format!("{path}.goodSlots[0]"), "is not the name of a slot", "name alone");
    check(&target("goodSlots: [staging, Staging]"), 4, &format!("{path}.goodSlots[1]"), "a second time", "remove");
    check(&target("goodSlots: [production]"), 4, &format!("{path}.goodSlots[0]"), "is the slot that serves", "another slot");
    check(&target("servingSlot: Staging"), 4, &format!("{path}.goodSlots[0]"), "is the slot that serves", "another slot");
    check(&target("servingSlot: ''"), 4, &format!("{path}.servingSlot"), "is not the name of a slot", "`production`");
    check(&target("goodSlots: [1]"), 4, &format!("{path}.goodSlots[0]"), "is a number; text", "quotes");
}

#[test]
fn ways_back() {
    let target = |more: &str| with_target(&format!("{{ platform: app-service, site: SITE, {more} }}"));
    let path = "services.checkout.target";
    check(&target("waysBack: []"), 4, &format!("{path}.waysBack"), "is empty", "[slots]");
    check(&target("waysBack: [slots, slots]"), 4, &format!("{path}.waysBack[1]"), "`slots` a second time", "remove");
    check(&target("waysBack: [slots, package]"), 4, &format!("{path}.waysBack[1]"), "does not name", "WEBSITE_RUN_FROM_PACKAGE");
    check(&target("waysBack: [swap]"), 4, &format!("{path}.waysBack[0]"), "says `swap`", "`slots`");
    check(&target("waysBack: [image], goodSlots: [a]"), 4, &format!("{path}.goodSlots"), "has no `slots`", "`waysBack`");
    let marked = format!("{}    fingerprint: {{ url: /v }}\n", target("waysBack: [slots, image]"));
    check(&marked, 4, &format!("{path}.waysBack[1]"), "`fingerprint:` does not name", "remove `image`");
}

#[test]
fn platforms() {
    check(
        &with_target("{ platform: app-services, site: SITE }"),
        4,
        "services.checkout.target.platform",
        "says `app-services`",
        "did you mean `app-service`?",
    );
}

#[test]
fn evidence() {
    let evidence = |entry: &str| with(&format!("    evidence:\n      - {entry}\n"));
    let path = "services.checkout.evidence[0]";
    check(&with("    evidence: []\n"), 5, "services.checkout.evidence", "is empty", "default");
    check(&evidence("{ worseWhen: higher }"), 6, path, "names no metric", "`Http5xx`");
    check(&evidence("{ metric: '' }"), 6, path, "names no metric", "`Http5xx`");
    check(&evidence("{ metric: Http5xx, of: ' ' }"), 6, &format!("{path}.of"), "is empty", "remove it");
    check(&evidence("{ metric: a, worseWhen: more }"), 6, &format!("{path}.worseWhen"), "says `more`", "`higher`");
    check(&evidence("{ metric: a, noData: none }"), 6, &format!("{path}.noData"), "says `none`", "`unknown`");
    check(
        &evidence("{ metric: a, resource: b }"),
        6,
        &format!("{path}.resource"),
        "is not an Azure resource id",
        "has this metric",
    );
    for key in ["kql", "promql", "dimension"] {
        let entry = if key == "dimension" { "{ metric: a, dimension: b }".to_owned() } else { format!("{{ {key}: query }}") };
        check(&evidence(&entry), 6, &format!("{path}.{key}"), "not available in this version", "`metric:`");
    }
}

#[test]
fn alerts_and_deployments() {
    let alerts = |entry: &str| with(&format!("    alerts:\n      - {entry}\n"));
    let path = "services.checkout.alerts[0]";
    check(&alerts("{}"), 6, path, "has no key", "`rule:`");
    check(&alerts("{ property: {} }"), 6, path, "has no key", "`rule:`");
    check(&alerts("{ rule: '' }"), 6, &format!("{path}.rule"), "is empty", "any run of characters");
    check(&alerts("{ property: { '': x } }"), 6, &format!("{path}.property"), "empty name", "custom property");
    check(&alerts("{ resource: insights }"), 6, &format!("{path}.resource"), "is not an Azure resource id", "JSON view");
    check(&alerts("{ rules: x }"), 6, &format!("{path}.rules"), "is not a key of this place", "did you mean `rule`?");

    let deployments = |entry: &str| with(&format!("    deployments:\n      - {entry}\n"));
    let path = "services.checkout.deployments[0]";
    check(&deployments("{}"), 6, path, "has no key", "`pipeline:`");
    check(&deployments("{ pipeline: '' }"), 6, &format!("{path}.pipeline"), "is empty", "remove the key");
}

#[test]
fn fingerprints() {
    let fingerprint = |entry: &str| with(&format!("    fingerprint: {entry}\n"));
    let path = "services.checkout.fingerprint";
    check(&fingerprint("{}"), 5, path, "says nothing", "`setting: NAME`");
    check(&fingerprint("{ setting: A, url: /v }"), 5, path, "says both", "keep one");
    check(&fingerprint("{ setting: 'A B' }"), 5, &format!("{path}.setting"), "is not the name of an app setting", "RELEASE_ID");
    for url in ["version", "//evil.example/v", "https://evil.example/v", "/a\\b", "/a b", "/v#x"] {
        check(&fingerprint(&format!("{{ url: '{url}' }}")), 5, &format!("{path}.url"), "is not a path", "`/version`");
    }
}

#[test]
fn channels() {
    let notify = |entry: &str| with(&format!("notify:\n  - {entry}\n"));
    check(&notify("{ channel: pager }"), 6, "notify[0].channel", "says `pager`", "`teams`");
    check(&notify("{ for: [act] }"), 6, "notify[0]", "lacks `channel`", "`channel: log`");
    check(&notify("{ channel: teams }"), 6, "notify[0]", "names no `urlFrom`", "app setting");
    check(&notify("{ channel: log, urlFrom: X }"), 6, "notify[0].urlFrom", "has no meaning for `log`", "remove");
    check(&notify("{ channel: log, for: [] }"), 6, "notify[0].for", "is empty", "outcome");
    check(&notify("{ channel: log, for: [act, shout] }"), 6, "notify[0].for[1]", "says `shout`", "`page`");
    check(&notify("{ channel: slack, urlFrom: 'MY URL' }"), 6, "notify[0].urlFrom", "is not the name", "only its name");
}

#[test]
fn a_secret_in_the_file_is_told_and_never_shown() {
    const SECRET: &str = "hooks.slack.example/services/T000/B000/s3cr3t";
    for entry in [
        format!("{{ channel: slack, urlFrom: 'https://{SECRET}' }}"),
        format!("{{ channel: slack, url: 'https://{SECRET}' }}"),
        format!("{{ channel: 'https://{SECRET}' }}"),
        format!("'https://{SECRET}'"),
        format!("{{ channel: slack, urlFrom: ['https://{SECRET}'] }}"),
        format!("{{ channel: slack, urlFrom: X, for: 'https://{SECRET}' }}"),
        format!("{{ channel: slack, urlFrom: X, for: ['https://{SECRET}'] }}"),
    ] {
        let error = policy::read(with(&format!("notify:\n  - {entry}\n")).replace("SITE", SITE).as_bytes(), None).unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("s3cr3t"), "{text}");
        }
        assert!(error.problems.iter().any(|problem| problem.line == 6 && problem.path.starts_with("notify")), "{error}");
    }
    check(
        &with(&format!("notify:\n  - {{ channel: slack, urlFrom: 'https://{SECRET}' }}\n")),
        6,
        "notify[0].urlFrom",
        "looks like a URL, which is a secret",
        "app setting",
    );
    check(
        &with(&format!("notify:\n  - {{ channel: slack, urlFrom: X, url: 'https://{SECRET}' }}\n")),
        6,
        "notify[0].url",
        "would put a secret into the file",
        "`urlFrom`",
    );
    let misplaced = with_target(&format!("{{ platform: app-service, site: 'https://{SECRET}' }}"));
    let error = policy::read(misplaced.as_bytes(), None).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
}

/// Services by name with their dependencies, one a line from line 3 on.
fn depending(services: &[(&str, &str)]) -> String {
    let mut text = "version: 1\nservices:\n".to_owned();
    for (name, upstream) in services {
        let site = SITE.replace("checkout", name);
        text = format!("{text}  {name}: {{ target: {{ platform: app-service, site: {site} }}, dependsOn: [{upstream}] }}\n");
    }
    text
}

#[test]
fn dependencies() {
    check(
        &depending(&[("checkout", "payment"), ("payments", "")]),
        3,
        "services.checkout.dependsOn[0]",
        "names no service",
        "did you mean `payments`?",
    );
    check(&depending(&[("checkout", "search")]), 3, "services.checkout.dependsOn[0]", "names no service", "or remove it");
    check(
        &depending(&[("checkout", "payments, payments"), ("payments", "")]),
        3,
        "services.checkout.dependsOn[1]",
        "a second time",
        "remove",
    );
    check(&depending(&[("a", "a")]), 3, "services.a.dependsOn[0]", "closes a cycle: a -> a", "not on its callers");
    check(
        &depending(&[("a", "b"), ("b", "d, c"), ("c", "a"), ("d", "")]),
        5,
        "services.c.dependsOn[0]",
        "closes a cycle: a -> b -> c -> a",
        "remove one",
    );
    // Two ways to the same service are no cycle.
    let diamond = depending(&[("a", "b, c"), ("b", "d"), ("c", "d"), ("d", "")]);
    assert_eq!(policy::read(diamond.as_bytes(), None).unwrap().services.len(), 4);
}

#[test]
fn two_services_on_one_target() {
    let upper = SITE.to_uppercase().replace("/SITES/", "/sites/");
    let text = format!(
        "version: 1\nservices:\n  shop:\n    target: {{ platform: app-service, site: SITE }}\n  basket:\n    target: {{ platform: app-service, site: {upper}/ }}\n"
    );
    check(&text, 6, "services.basket.target", "is the target of service `shop` too (line 4)", "one service");
}

#[test]
fn all_problems_at_once_in_the_order_of_lines() {
    let text = r"version: 2
defaults:
  mode: acting
  coolDown: soon
services:
  checkout:
    target: { platform: app-service, site: nowhere, goodSlots: [] }
    dependsOn: [payment]
    colour: red
  payments:
    target: { platform: app-service, site: PAYMENTS }
    dependsOn: [chekout, search]
    alerts:
      - {}
      - { rule: '' }
    evidence:
      - { kql: requests }
  search:
    target: { platform: mainframe, name: search }
notify:
  - { channel: teams }
";
    let found: Vec<(u64, String)> = problems(text).into_iter().map(|problem| (problem.line, problem.path)).collect();
    let expected = [
        (1, "version"),
        (3, "defaults.mode"),
        (4, "defaults.coolDown"),
        (7, "services.checkout.target.site"),
        (7, "services.checkout.target.goodSlots"),
        (8, "services.checkout.dependsOn[0]"),
        (9, "services.checkout.colour"),
        (12, "services.payments.dependsOn[0]"),
        (14, "services.payments.alerts[0]"),
        (15, "services.payments.alerts[1].rule"),
        (17, "services.payments.evidence[0].kql"),
        (19, "services.search.target.platform"),
        (21, "notify[0]"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn columns_and_the_line_for_an_editor() {
    let error =
        policy::read(with("    mode: atc\n").replace("SITE", SITE).as_bytes(), None).unwrap_err().named("ops/backout.yaml");
    assert_eq!(
        error.to_string(),
        "ops/backout.yaml:5:5: `services.checkout.mode` says `atc`, which is not known; \
         hint: did you mean `act`? Known: `observe`, `propose`, `act`"
    );
}
