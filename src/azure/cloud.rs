//! The Azure clouds: where each part answers, and what a token is asked for.

/// `BACKOUT_CLOUD`. Source of hosts and scopes: azure-mgmt-core, azure-cli.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cloud {
    #[default]
    Public,
    UsGovernment,
    China,
}

impl Cloud {
    /// Where resource manager answers.
    pub fn resource_manager(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com",
            Self::UsGovernment => "https://management.usgovcloudapi.net",
            Self::China => "https://management.chinacloudapi.cn",
        }
    }

    /// What a token for resource manager is asked for. The host differs from the endpoint's in one cloud (`core`).
    pub fn resource_manager_scope(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com/.default",
            Self::UsGovernment => "https://management.core.usgovcloudapi.net/.default",
            Self::China => "https://management.chinacloudapi.cn/.default",
        }
    }

    /// Where tenants of this cloud sign in.
    pub fn login(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGovernment => "https://login.microsoftonline.us",
            Self::China => "https://login.partner.microsoftonline.cn",
        }
    }

    /// How a tenant names itself in its tokens: of version 1, and of version 2.
    pub fn token_issuers(self, tenant: &str) -> [String; 2] {
        let first = match self {
            Self::Public | Self::UsGovernment => "https://sts.windows.net",
            Self::China => "https://sts.chinacloudapi.cn",
        };
        [format!("{first}/{tenant}/"), format!("{}/{tenant}/v2.0", self.login())]
    }

    /// What a token for sending telemetry to Application Insights is asked for. The audience ends with a slash.
    pub fn telemetry_scope(self) -> &'static str {
        match self {
            Self::Public => "https://monitor.azure.com//.default",
            Self::UsGovernment => "https://monitor.azure.us//.default",
            Self::China => "https://monitor.azure.cn//.default",
        }
    }

    /// Where log queries are answered.
    pub fn logs(self) -> &'static str {
        match self {
            Self::Public => "https://api.loganalytics.azure.com",
            Self::UsGovernment => "https://api.loganalytics.us",
            Self::China => "https://api.loganalytics.azure.cn",
        }
    }
}
