//! `platform: pipeline`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::target::{PipelinePlace, PipelineTarget},
    policy::{
        check::{below, is_setting_name},
        read::Findings,
        tree::Step,
    },
    settings::endpoint,
};

/// A pipeline that deploys an earlier version when asked to. Exactly one of `azureDevOps` and `github`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["azureDevOps"] }, { "required": ["github"] }]))]
#[schemars(extend("examples" = [{ "platform": "pipeline", "github": { "repository": "contoso/shop", "workflow": "rollback.yml", "tokenFrom": "GITHUB_TOKEN" } }]))]
pub struct PipelineTargetFile {
    /// An Azure DevOps pipeline. Default: none; either this or `github`.
    pub azure_dev_ops: Option<AzureDevOpsFile>,
    /// A GitHub workflow. Default: none; either this or `azureDevOps`.
    pub github: Option<GitHubFile>,
    /// The input that says which version to deploy. A run without it deploys the commit that it is of. Default: `version`.
    #[schemars(extend("default" = "version"))]
    pub version_parameter: Option<String>,
    /// The input that carries the id of the decision, by which a run is found again. Default: `decisionId`.
    #[schemars(extend("default" = "decisionId"))]
    pub decision_parameter: Option<String>,
}

/// An Azure DevOps pipeline, which is queued with the identity of backout.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureDevOpsFile {
    /// The server. Default: `https://dev.azure.com`.
    #[schemars(extend("default" = "https://dev.azure.com"))]
    pub server: Option<String>,
    /// The organization.
    pub organization: String,
    /// The project.
    pub project: String,
    /// The pipeline's number, as its URL shows it (`definitionId`).
    pub pipeline: u32,
    /// The branch whose runs deploy; runs of it are queued. Default: `main`.
    #[schemars(extend("default" = "main"))]
    pub branch: Option<String>,
}

/// A GitHub workflow with a `workflow_dispatch` trigger.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitHubFile {
    /// The API. Default: `https://api.github.com`.
    #[schemars(extend("default" = "https://api.github.com"))]
    pub api: Option<String>,
    /// `owner/name`.
    pub repository: String,
    /// File name of the workflow, such as `rollback.yml`.
    pub workflow: String,
    /// The branch or tag whose runs deploy; runs of it are dispatched. Default: `main`.
    #[serde(rename = "ref")]
    #[schemars(extend("default" = "main"))]
    pub reference: Option<String>,
    /// Name of the app setting that holds the token; the token never stands in this file.
    pub token_from: String,
}

pub(super) fn check(findings: &mut Findings<'_>, path: &[Step], file: PipelineTargetFile) -> Option<PipelineTarget> {
    let version_parameter = parameter(findings, &below(path, "versionParameter"), file.version_parameter, "version");
    let decision_parameter = parameter(findings, &below(path, "decisionParameter"), file.decision_parameter, "decisionId");
    if version_parameter.eq_ignore_ascii_case(&decision_parameter) {
        findings.add(
            &below(path, "decisionParameter"),
            "names the same input as `versionParameter`",
            "give the pipeline an input of its own for the decision",
        );
    }
    let place = match (file.azure_dev_ops, file.github) {
        (Some(file), None) => azure_dev_ops(findings, &below(path, "azureDevOps"), file)?,
        (None, Some(file)) => github(findings, &below(path, "github"), file)?,
        (Some(_), Some(_)) => {
            findings.add(path, "names both `azureDevOps` and `github`", "keep one of them");
            return None;
        }
        (None, None) => {
            findings.add(path, "names no pipeline", "write `azureDevOps:` or `github:`");
            return None;
        }
    };
    Some(PipelineTarget { place, version_parameter, decision_parameter })
}

fn azure_dev_ops(findings: &mut Findings<'_>, path: &[Step], file: AzureDevOpsFile) -> Option<PipelinePlace> {
    let server = url(findings, &below(path, "server"), file.server, "https://dev.azure.com")?;
    for (key, text) in [("organization", &file.organization), ("project", &file.project)] {
        let dots = text.chars().all(|c| c == '.');
        if text.trim().is_empty() || dots || text.contains(['/', '\\', '?', '#', '%', '|']) || text.contains(char::is_control) {
            findings.add(&below(path, key), "is no name", "write it as the page of the project shows it, without `%20`");
        }
    }
    if file.pipeline == 0 {
        findings.add(&below(path, "pipeline"), "is no number of a pipeline", "take `definitionId` from the pipeline's URL");
    }
    let branch = branch(findings, &below(path, "branch"), file.branch);
    Some(PipelinePlace::AzureDevOps {
        server,
        organization: file.organization,
        project: file.project,
        pipeline: file.pipeline,
        branch,
    })
}

fn github(findings: &mut Findings<'_>, path: &[Step], file: GitHubFile) -> Option<PipelinePlace> {
    let api = url(findings, &below(path, "api"), file.api, "https://api.github.com")?;
    if api == "https://github.com" || api.starts_with("https://github.com/") {
        findings.add(&below(path, "api"), "is the web page, not the API", "leave it out, or write `https://api.github.com`");
    }
    let mut parts = file.repository.split('/');
    if !matches!((parts.next(), parts.next(), parts.next()), (Some(owner), Some(name), None) if is_plain(owner) && is_plain(name))
    {
        findings.add(&below(path, "repository"), "is not `owner/name`", "write it as the URL of the repository shows it");
    }
    if !is_plain(&file.workflow) {
        findings.add(
            &below(path, "workflow"),
            "is not the file name of a workflow",
            "write its name alone, such as `rollback.yml`",
        );
    }
    if !is_setting_name(&file.token_from) {
        findings.add(
            &below(path, "tokenFrom"),
            "is not the name of an app setting",
            "store the token in an app setting, and write only its name here; renew the token if it was committed",
        );
    }
    let reference = branch(findings, &below(path, "ref"), file.reference);
    Some(PipelinePlace::GitHub {
        api,
        repository: file.repository,
        workflow: file.workflow,
        reference,
        token_from: file.token_from,
    })
}

fn is_plain(text: &str) -> bool {
    text.chars().any(|c| c != '.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn branch(findings: &mut Findings<'_>, path: &[Step], text: Option<String>) -> String {
    let text = text.unwrap_or_else(|| "main".to_owned());
    if text.is_empty() || text.contains(char::is_whitespace) || text.contains(['*', '?', '[', '\\', '^', '~', ':']) {
        findings.add(path, "is no name of one branch or tag", "write it as Git does, such as `main`");
    }
    text
}

fn parameter(findings: &mut Findings<'_>, path: &[Step], text: Option<String>, otherwise: &str) -> String {
    let text = text.unwrap_or_else(|| otherwise.to_owned());
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        findings.add(path, "is no name of a pipeline's input", "letters, digits, `-` and `_`, a letter first");
    }
    text
}

fn url(findings: &mut Findings<'_>, path: &[Step], text: Option<String>, otherwise: &str) -> Option<String> {
    let text = text.unwrap_or_else(|| otherwise.to_owned());
    match endpoint::parse(&text) {
        Ok(url) => Some(url.as_str().trim_end_matches('/').to_owned()),
        Err(problem) => {
            findings.add(path, format!("is no URL to send a token to: {problem}"), "write `https://` and the host");
            None
        }
    }
}
