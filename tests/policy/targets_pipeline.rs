//! `platform: pipeline` of a policy file. All files are composed here.

use backout::{
    domain::target::{PipelinePlace, PipelineTarget, Target},
    policy::{self, Problem},
};

const INSIGHTS: &str =
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Insights/components/legacy";
const DEV_OPS: &str = "azureDevOps: { organization: contoso, project: Shop Legacy, pipeline: 12 }";
const GITHUB: &str = "github: { repository: contoso/legacy, workflow: deploy.yml, tokenFrom: DEPLOY_TOKEN }";

/// A policy whose only service has this target on line 4, and evidence.
fn with(target: &str) -> String {
    format!(
        "version: 1\nservices:\n  legacy:\n    target: {{ platform: pipeline, {target} }}\n    alerts:\n      - rule: legacy-*\n    \
         evidence:\n      - {{ metric: requests/failed, of: requests/count, worseWhen: higher, noData: zero, resource: {INSIGHTS} }}\n"
    )
}

fn read(target: &str) -> Target {
    let read = policy::read(with(target).as_bytes(), None).unwrap_or_else(|problems| panic!("{problems}"));
    read.services.into_values().next().unwrap().target
}

fn problems(text: &str) -> Vec<Problem> {
    policy::read(text.as_bytes(), None).expect_err(text).problems
}

#[track_caller]
fn check(target: &str, path: &str, says: &str, hint: &str) {
    let found = problems(&with(target));
    let [problem] = found.as_slice() else { panic!("one problem expected for\n{target}\nfound: {found:#?}") };
    assert_eq!((problem.line, problem.path.as_str()), (4, format!("services.legacy.target{path}").as_str()), "{problem}");
    assert!(problem.says.contains(says), "`{says}` expected in: {problem}");
    assert!(problem.hint.contains(hint), "`{hint}` expected in the hint of: {problem}");
}

#[test]
fn defaults_are_filled_in() {
    let expected = |place| {
        Target::Pipeline(PipelineTarget {
            place,
            version_parameter: "version".to_owned(),
            decision_parameter: "decisionId".to_owned(),
        })
    };
    let dev_ops = read(DEV_OPS);
    assert_eq!(
        dev_ops,
        expected(PipelinePlace::AzureDevOps {
            server: "https://dev.azure.com".to_owned(),
            organization: "contoso".to_owned(),
            project: "Shop Legacy".to_owned(),
            pipeline: 12,
            branch: "main".to_owned(),
        })
    );
    assert_eq!(dev_ops.key().0, "https://dev.azure.com/contoso/shop legacy/pipelines/12");
    assert_eq!(dev_ops.budget_scope(), "https://dev.azure.com/contoso");
    let github = read(GITHUB);
    assert_eq!(
        github,
        expected(PipelinePlace::GitHub {
            api: "https://api.github.com".to_owned(),
            repository: "contoso/legacy".to_owned(),
            workflow: "deploy.yml".to_owned(),
            reference: "main".to_owned(),
            token_from: "DEPLOY_TOKEN".to_owned(),
        })
    );
    assert_eq!(github.key().0, "https://api.github.com/contoso/legacy/workflows/deploy.yml");
    assert_eq!(github.resource(), None);
}

#[test]
fn everything_may_be_said() {
    let target = read(
        "github: { api: 'https://git.contoso.com/api/v3/', repository: a/b, workflow: r.yml, ref: release/2, tokenFrom: T }, \
         versionParameter: tag, decisionParameter: reason",
    );
    let Target::Pipeline(target) = target else { panic!("{target:?}") };
    assert_eq!((target.version_parameter.as_str(), target.decision_parameter.as_str()), ("tag", "reason"));
    let PipelinePlace::GitHub { api, reference, .. } = target.place else { panic!("{target:?}") };
    assert_eq!((api.as_str(), reference.as_str()), ("https://git.contoso.com/api/v3", "release/2"));
    let Target::Pipeline(target) = read(
        "azureDevOps: { organization: o, project: p, pipeline: 1, branch: refs/tags/live, server: 'https://tfs.contoso.com/tfs' }",
    ) else {
        panic!("no pipeline")
    };
    let PipelinePlace::AzureDevOps { branch, server, .. } = target.place else { panic!("{target:?}") };
    assert_eq!((branch.as_str(), server.as_str()), ("refs/tags/live", "https://tfs.contoso.com/tfs"));
}

#[test]
fn each_mistake_has_its_sentence() {
    check("versionParameter: v", "", "names no pipeline", "`azureDevOps:` or `github:`");
    check(&format!("{DEV_OPS}, {GITHUB}"), "", "names both", "keep one");
    let dev_ops = |keys: &str| format!("azureDevOps: {{ {keys} }}");
    let at = ".azureDevOps";
    check(&dev_ops("organization: a/b, project: p, pipeline: 1"), &format!("{at}.organization"), "is no name", "without `%20`");
    check(&dev_ops("organization: o, project: Shop%20Legacy, pipeline: 1"), &format!("{at}.project"), "is no name", "`%20`");
    check(&dev_ops("organization: o, project: .., pipeline: 1"), &format!("{at}.project"), "is no name", "project");
    check(&dev_ops("organization: o, project: p, pipeline: 0"), &format!("{at}.pipeline"), "no number", "definitionId");
    check(
        &dev_ops("organization: o, project: p, pipeline: 1, branch: 'release/*'"),
        &format!("{at}.branch"),
        "one branch",
        "`main`",
    );
    let plain = "organization: o, project: p, pipeline: 1, server: 'http://dev.azure.com'";
    check(&dev_ops(plain), &format!("{at}.server"), "plain http", "`https://`");
    let github = |keys: &str| format!("github: {{ {keys} }}");
    let at = ".github";
    check(&github("repository: legacy, workflow: d.yml, tokenFrom: T"), &format!("{at}.repository"), "`owner/name`", "URL");
    check(&github("repository: a/.., workflow: d.yml, tokenFrom: T"), &format!("{at}.repository"), "`owner/name`", "URL");
    let path = "repository: a/b, workflow: .github/workflows/d.yml, tokenFrom: T";
    check(&github(path), &format!("{at}.workflow"), "file name", "alone");
    let token = "repository: a/b, workflow: d.yml, tokenFrom: 'ghp 0123'";
    check(&github(token), &format!("{at}.tokenFrom"), "name of an app setting", "renew the token");
    let page = "repository: a/b, workflow: d.yml, tokenFrom: T, api: 'https://github.com'";
    check(&github(page), &format!("{at}.api"), "is the web page", "api.github.com");
    check(&format!("{GITHUB}, versionParameter: '1 2'"), ".versionParameter", "no name of a pipeline's input", "a letter first");
    check(&format!("{GITHUB}, decisionParameter: Version"), ".decisionParameter", "the same input", "of its own");
}

#[test]
fn evidence_must_be_named() {
    let file = format!("version: 1\nservices:\n  legacy:\n    target: {{ platform: pipeline, {DEV_OPS} }}\n");
    let found = problems(&file);
    assert!(found.iter().any(|problem| problem.to_string().contains("evidence")), "{found:#?}");
}
