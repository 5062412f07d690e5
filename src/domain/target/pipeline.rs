//! A pipeline that deploys an earlier version when asked to: the way out where nothing else may deploy.

use serde::{Deserialize, Serialize};

/// Where the pipeline is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PipelineTarget {
    /// An Azure DevOps pipeline by its number; `server` is `https://dev.azure.com` unless the policy says otherwise.
    AzureDevOps { server: String, organization: String, project: String, pipeline: u32, branch: String },
    /// A GitHub workflow by its file name; `api` is `https://api.github.com` unless the policy says otherwise.
    GitHub {
        api: String,
        /// `owner/name`.
        repository: String,
        workflow: String,
        reference: String,
        /// Name of the app setting that holds the token.
        token_from: String,
    },
}

impl PipelineTarget {
    pub(super) fn canonical(&self) -> String {
        match self {
            Self::AzureDevOps { server, organization, project, pipeline, .. } => {
                format!(
                    "{}/{}/{}/pipelines/{pipeline}",
                    server.to_lowercase(),
                    organization.to_lowercase(),
                    project.to_lowercase()
                )
            }
            Self::GitHub { api, repository, workflow, .. } => {
                format!("{}/{}/workflows/{workflow}", api.to_lowercase(), repository.to_lowercase())
            }
        }
    }

    /// The organization, which shares one budget.
    pub(super) fn owner(&self) -> String {
        match self {
            Self::AzureDevOps { server, organization, .. } => {
                format!("{}/{}", server.to_lowercase(), organization.to_lowercase())
            }
            Self::GitHub { api, repository, .. } => {
                format!("{}/{}", api.to_lowercase(), repository.to_lowercase().split('/').next().unwrap_or_default())
            }
        }
    }
}
