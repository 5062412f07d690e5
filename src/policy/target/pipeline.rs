//! `platform: pipeline`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::target::PipelineTarget,
    policy::{
        check::{below, is_setting_name},
        read::Findings,
        tree::Step,
    },
    settings::endpoint,
};

/// A pipeline that deploys an earlier version when asked to. Exactly one of the keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct PipelineTargetFile {
    /// An Azure DevOps pipeline.
    pub azure_dev_ops: Option<AzureDevOpsFile>,
    /// A GitHub workflow.
    pub github: Option<GitHubFile>,
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
    /// The branch that holds the pipeline's definition. Default: `main`.
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
    /// Branch or tag that holds the workflow. Default: `main`.
    #[serde(rename = "ref")]
    #[schemars(extend("default" = "main"))]
    pub reference: Option<String>,
    /// Name of the app setting that holds the token; the token never stands in this file.
    pub token_from: String,
}

pub(super) fn check(findings: &mut Findings<'_>, path: &[Step], file: PipelineTargetFile) -> Option<PipelineTarget> {
    match (file.azure_dev_ops, file.github) {
        (Some(file), None) => {
            let path = below(path, "azureDevOps");
            let server = url(findings, &below(&path, "server"), file.server, "https://dev.azure.com")?;
            for (key, text) in [("organization", &file.organization), ("project", &file.project)] {
                if text.trim().is_empty() || text.contains(['/', '?', '#', '%']) {
                    findings.add(&below(&path, key), "is no name", "write it as the URL of the project shows it");
                }
            }
            Some(PipelineTarget::AzureDevOps {
                server,
                organization: file.organization,
                project: file.project,
                pipeline: file.pipeline,
                branch: file.branch.unwrap_or_else(|| "main".to_owned()),
            })
        }
        (None, Some(file)) => {
            let path = below(path, "github");
            let api = url(findings, &below(&path, "api"), file.api, "https://api.github.com")?;
            let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            let mut parts = file.repository.split('/');
            if !matches!((parts.next(), parts.next(), parts.next()), (Some(owner), Some(name), None) if plain(owner) && plain(name))
            {
                findings.add(
                    &below(&path, "repository"),
                    "is not `owner/name`",
                    "write it as the URL of the repository shows it",
                );
            }
            if !plain(&file.workflow) {
                findings.add(
                    &below(&path, "workflow"),
                    "is not the file name of a workflow",
                    "write its name alone, such as `rollback.yml`",
                );
            }
            if !is_setting_name(&file.token_from) {
                findings.add(
                    &below(&path, "tokenFrom"),
                    "is not the name of an app setting",
                    "store the token in an app setting, and write only its name here; renew the token if it was committed",
                );
            }
            Some(PipelineTarget::GitHub {
                api,
                repository: file.repository,
                workflow: file.workflow,
                reference: file.reference.unwrap_or_else(|| "main".to_owned()),
                token_from: file.token_from,
            })
        }
        (Some(_), Some(_)) => {
            findings.add(path, "names both `azureDevOps` and `github`", "keep one of them");
            None
        }
        (None, None) => {
            findings.add(path, "names no pipeline", "write `azureDevOps:` or `github:`");
            None
        }
    }
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
