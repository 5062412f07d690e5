//! A pipeline that deploys an earlier version when asked to: the way out where nothing else may deploy.

use serde::{Deserialize, Serialize};

/// A pipeline, and how it is asked for a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineTarget {
    pub place: PipelinePlace,
    /// Name of the input that says which version to deploy; without it a run deploys the commit that it is of.
    pub version_parameter: String,
    /// Name of the input that carries the id of the record, by which a run is found again.
    pub decision_parameter: String,
}

/// Where the pipeline is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PipelinePlace {
    /// An Azure DevOps pipeline by its number; `server` is `https://dev.azure.com` unless the policy says otherwise.
    AzureDevOps {
        server: String,
        organization: String,
        project: String,
        pipeline: u32,
        /// Its runs deploy. A name, or a whole `refs/...`.
        branch: String,
    },
    /// A GitHub workflow by its file name; `api` is `https://api.github.com` unless the policy says otherwise.
    GitHub {
        api: String,
        /// `owner/name`.
        repository: String,
        workflow: String,
        /// Its runs deploy. A branch or a tag.
        reference: String,
        /// Name of the app setting that holds the token.
        token_from: String,
    },
}

impl PipelineTarget {
    pub(super) fn canonical(&self) -> String {
        match &self.place {
            PipelinePlace::AzureDevOps { server, organization, project, pipeline, .. } => {
                format!(
                    "{}/{}/{}/pipelines/{pipeline}",
                    server.to_lowercase(),
                    organization.to_lowercase(),
                    project.to_lowercase()
                )
            }
            PipelinePlace::GitHub { api, repository, workflow, .. } => {
                format!("{}/{}/workflows/{workflow}", api.to_lowercase(), repository.to_lowercase())
            }
        }
    }

    /// The organization, which shares one budget.
    pub(super) fn owner(&self) -> String {
        match &self.place {
            PipelinePlace::AzureDevOps { server, organization, .. } => {
                format!("{}/{}", server.to_lowercase(), organization.to_lowercase())
            }
            PipelinePlace::GitHub { api, repository, .. } => {
                format!("{}/{}", api.to_lowercase(), repository.to_lowercase().split('/').next().unwrap_or_default())
            }
        }
    }
}
