//! `platform: arm-deployment` in the policy file. All files are composed here.

use backout::{
    domain::target::{Lineage, Target},
    policy,
};

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/net";

fn text(target: &str, evidence: bool) -> String {
    let evidence = if evidence {
        "    evidence:\n      - { metric: requests/failed, of: requests/count, worseWhen: higher, noData: unknown, resource: COMPONENT }\n"
    } else {
        ""
    };
    let component = format!("{GROUP}/providers/Microsoft.Insights/components/net");
    format!("version: 1\nservices:\n  network:\n    target: {{ platform: arm-deployment, {target} }}\n    alerts: [{{ rule: 'net-*' }}]\n{evidence}")
        .replace("GROUP", GROUP)
        .replace("COMPONENT", &component)
}

fn target(keys: &str) -> backout::domain::target::ArmDeploymentTarget {
    let policy = policy::read(text(keys, true).as_bytes(), None).unwrap_or_else(|problems| panic!("{keys}: {problems}"));
    match policy.services.values().next().unwrap().target.clone() {
        Target::ArmDeployment(target) => target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_or_a_subscription_with_a_name_or_a_tag() {
    let by_name = target("scope: GROUP, lineage: 'hub-*'");
    assert_eq!((by_name.scope.as_written(), by_name.lineage), (GROUP, Lineage::Name("hub-*".to_owned())));
    let by_tag = target("scope: /subscriptions/11111111-1111-1111-1111-111111111111, tag: { product: hub }");
    assert_eq!(by_tag.lineage, Lineage::Tag { name: "product".to_owned(), value: "hub".to_owned() });
    assert_eq!(by_tag.scope.resource_group(), None);
    let secrets = target(
        "scope: GROUP, lineage: hub, secureParameters: { pw: { vault: GROUP/providers/Microsoft.KeyVault/vaults/kv, secret: admin-pw } }",
    );
    let secret = &secrets.secure_parameters["pw"];
    assert_eq!((secret.vault.name(), secret.secret.as_str()), ("kv", "admin-pw"));
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_a_cure() {
    let vault = "vault: GROUP/providers/Microsoft.KeyVault/vaults/kv";
    for (keys, path, says, hint) in [
        ("scope: GROUP", "", "does not say which deployments belong together", "`hub-*`"),
        ("scope: GROUP, lineage: a, tag: { b: c }", "", "says both `lineage` and `tag`", "keep one"),
        ("scope: GROUP, lineage: '*'", ".lineage", "fits every deployment", "`hub-*`"),
        ("scope: GROUP, lineage: 'a/b'", ".lineage", "fits no deployment", "`*` for what differs"),
        ("scope: GROUP, lineage: 'rb-*'", ".lineage", "that backout makes itself", "your own"),
        ("scope: GROUP, tag: { a: b, c: d }", ".tag", "is not one tag", "write one"),
        ("scope: GROUP, tag: {}", ".tag", "is not one tag", "write one"),
        ("scope: /x, lineage: hub", ".scope", "`/subscriptions/`", "resourceGroups"),
        ("scope: GROUP/providers/Microsoft.Web/sites/a, lineage: hub", ".scope", "not a scope of deployments", "resourceGroups"),
        (
            "scope: GROUP, lineage: hub, secureParameters: { pw: { vault: GROUP/providers/Microsoft.Web/sites/a, secret: s } }",
            ".secureParameters.pw.vault",
            "is not the id of a key vault",
            "Microsoft.KeyVault/vaults",
        ),
        (
            &format!("scope: GROUP, lineage: hub, secureParameters: {{ pw: {{ {vault}, secret: 'https://kv/s' }} }}"),
            ".secureParameters.pw.secret",
            "is not the name of a secret",
            "its name alone",
        ),
    ] {
        let found = policy::read(text(keys, true).as_bytes(), None).expect_err(keys).problems;
        let [problem] = found.as_slice() else { panic!("one problem expected for {keys}: {found:#?}") };
        assert_eq!(problem.path, format!("services.network.target{path}"), "{problem}");
        assert!(problem.says.contains(says), "`{says}` expected in: {problem}");
        assert!(problem.hint.contains(hint), "`{hint}` expected in the hint of: {problem}");
    }
}

#[test]
fn a_scope_measures_nothing_so_evidence_must_be_named() {
    let found = policy::read(text("scope: GROUP, lineage: hub", false).as_bytes(), None).unwrap_err().problems;
    assert!(found.iter().any(|problem| problem.to_string().contains("evidence")), "{found:#?}");
}
