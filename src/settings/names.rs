//! Every app setting by name, with what it means. The reference page and the samples are made from this list.

/// One app setting as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingDoc {
    pub name: &'static str,
    pub docs: &'static str,
    /// What holds when it is not set, in words or as the value.
    pub default: &'static str,
    pub set_by: SetBy,
    /// True if the value must never be shown.
    pub secret: bool,
}

/// Who gives a setting its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    Operator,
    /// The Functions host, for the process that it starts.
    Host,
    /// App Service or Functions, for every app.
    Platform,
}

/// What the names of our own settings begin with.
pub const PREFIX: &str = concat!("BACKOUT", "_");

macro_rules! settings {
    ($($constant:ident = $name:literal, $set_by:ident, $secret:literal, default $default:literal, $docs:literal;)*) => {
        $(#[doc = $docs] pub const $constant: &str = $name;)*

        /// All settings in the order of the reference page.
        pub const ALL: &[SettingDoc] = &[
            $(SettingDoc { name: $name, docs: $docs, default: $default, set_by: SetBy::$set_by, secret: $secret },)*
        ];
    };
}

settings! {
    FUNCTIONS_CUSTOMHANDLER_PORT = "FUNCTIONS_CUSTOMHANDLER_PORT", Host, false, default "8080",
        "Port on which the Functions host calls this process.";
    FUNCTIONS_HTTPWORKER_PORT = "FUNCTIONS_HTTPWORKER_PORT", Host, false, default "unset",
        "The older name of `FUNCTIONS_CUSTOMHANDLER_PORT`; read only when that one is not set.";
    BACKOUT_POLICY = "BACKOUT_POLICY", Operator, false, default "`backout.yaml` beside the binary",
        "The policy file: a path, or the https URL of a blob. A shared access signature in the URL is kept out of every message.";
    BACKOUT_MODE = "BACKOUT_MODE", Operator, false, default "unset: the policy decides",
        "Ceiling over every service's mode: `observe`, `propose` or `act`.";
    BACKOUT_STORE = "BACKOUT_STORE", Operator, true, default "`sqlite:.backout/state.db` on one machine; required in Azure",
        "Where state is kept. `https://ACCOUNT.blob.core.windows.net/CONTAINER`: blob storage with the managed identity, which needs `Storage Blob Data Contributor` there; with a shared access signature as the URL's query, that is used instead. `BlobEndpoint=URL;SharedAccessSignature=SIGNATURE;container=NAME`: the same as a connection string. `UseDevelopmentStorage=true;container=NAME`: Azurite on this machine. `sqlite:PATH`: one machine. `memory:`: gone with the process.";
    BACKOUT_BUS = "BACKOUT_BUS", Operator, false, default "ServiceBus",
        "`local:` for the embedded queue, or the prefix of the Service Bus connection that the triggers use. `backout local` and the commands of a person take the embedded queue as well where this is unset and no Service Bus connection is set.";
    SERVICE_BUS = "ServiceBus", Operator, true, default "unset",
        "Connection string of Service Bus, if no managed identity is used. It wins over `ServiceBus__fullyQualifiedNamespace`, as it does in the host.";
    SERVICE_BUS_NAMESPACE = "ServiceBus__fullyQualifiedNamespace", Operator, false, default "unset",
        "Host name of the Service Bus namespace, such as `contoso.servicebus.windows.net`. The prefix is the value of `BACKOUT_BUS`; case does not matter.";
    SERVICE_BUS_CREDENTIAL = "ServiceBus__credential", Operator, false, default "unset: the system-assigned identity",
        "`managedidentity` for a user-assigned identity, together with `ServiceBus__clientId`.";
    SERVICE_BUS_CLIENT_ID = "ServiceBus__clientId", Operator, false, default "unset",
        "Client id of the user-assigned identity that may use Service Bus.";
    BACKOUT_ACTOR_CLIENT_ID = "BACKOUT_ACTOR_CLIENT_ID", Operator, false, default "unset: one identity does all",
        "Client id of a second managed identity which is used for mutating calls only, so that reading and acting can be granted apart.";
    BACKOUT_TIME_SCALE = "BACKOUT_TIME_SCALE", Operator, false, default "1",
        "For the demo and tests only: virtual seconds per real second, optionally `@` and the RFC 3339 time at which the virtual clock starts. Refused unless the resource manager is on loopback.";
    BACKOUT_APPROVER_AUTH = "BACKOUT_APPROVER_AUTH", Operator, false, default "easyauth",
        "`easyauth`: approving needs a signed-in principal; declining and stopping need only the signed link. `link`: the signed link is enough (one machine, demo).";
    BACKOUT_CLOUD = "BACKOUT_CLOUD", Operator, false, default "public",
        "`public`, `usgovernment` or `china`.";
    BACKOUT_ARM_ENDPOINT = "BACKOUT_ARM_ENDPOINT", Operator, false, default "that of the cloud",
        "URL of the resource manager. Plain http is allowed on loopback only.";
    BACKOUT_BUS_ENDPOINT = "BACKOUT_BUS_ENDPOINT", Operator, false, default "that of the connection",
        "URL of the REST interface of Service Bus. Plain http is allowed on loopback only.";
    BACKOUT_LOGS_ENDPOINT = "BACKOUT_LOGS_ENDPOINT", Operator, false, default "that of the cloud",
        "URL of the log query interface. Plain http is allowed on loopback only.";
    BACKOUT_LOGIN_ENDPOINT = "BACKOUT_LOGIN_ENDPOINT", Operator, false, default "that of the cloud",
        "URL of the sign-in service, whose keys check the webhook's tokens. Plain http is allowed on loopback only.";
    BACKOUT_WEBHOOK_TENANT = "BACKOUT_WEBHOOK_TENANT", Operator, false, default "unset: the function key only",
        "Id of the tenant whose tokens the webhook accepts; needs `BACKOUT_WEBHOOK_AUDIENCE`.";
    BACKOUT_WEBHOOK_AUDIENCE = "BACKOUT_WEBHOOK_AUDIENCE", Operator, false, default "unset: the function key only",
        "Audience that a secure webhook's token must carry; needs `BACKOUT_WEBHOOK_TENANT`.";
    BACKOUT_WEBHOOK_CALLER = "BACKOUT_WEBHOOK_CALLER", Operator, false, default "`461e8683-5575-4561-ac7f-899cc907d62a`",
        "Id of the application to which a secure webhook's token must have been issued; the default is that of Azure Monitor's action groups in the public cloud.";
    BACKOUT_GITHUB_WEBHOOK_SECRET = "BACKOUT_GITHUB_WEBHOOK_SECRET", Operator, true, default "unset: nothing is taken from GitHub",
        "Secret of the GitHub webhook that posts to `alert-webhook/github`; at least 16 characters.";
    BACKOUT_FLUX_WEBHOOK_SECRET = "BACKOUT_FLUX_WEBHOOK_SECRET", Operator, true, default "unset: nothing is taken from Flux",
        "Token of the Flux provider `generic-hmac` that posts to `alert-webhook/flux`; at least 16 characters.";
    BACKOUT_CDEVENTS_WEBHOOK_SECRET = "BACKOUT_CDEVENTS_WEBHOOK_SECRET", Operator, true, default "unset: no CDEvents are taken over HTTP",
        "Secret of whoever posts CDEvents to `alert-webhook/cdevents`, for the header `X-Signature`; at least 16 characters.";
    BACKOUT_APPROVAL_KEY = "BACKOUT_APPROVAL_KEY", Operator, true, default "unset: no approval links",
        "Signs approval links: at least 32 characters of random text; needs `BACKOUT_PUBLIC_URL`.";
    BACKOUT_PUBLIC_URL = "BACKOUT_PUBLIC_URL", Operator, false, default "unset: no approval links",
        "Where approval links point, such as `https://contoso-backout.azurewebsites.net`.";
    APPLICATIONINSIGHTS_CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING", Operator, true, default "unset: nothing is exported",
        "Connection string of the Application Insights component that gets traces and metrics; the host sends its own telemetry there too. Its `IngestionEndpoint` may be plain http on loopback only.";
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING", Operator, false, default "unset: the connection string is enough",
        "`Authorization=AAD`, where the component takes telemetry only with a token; with `;ClientId=GUID` in front for a user-assigned identity. That identity needs `Monitoring Metrics Publisher` on the component. The same value as for the host.";
    OTEL_EXPORTER_OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", Operator, false, default "unset: nothing is exported over OTLP",
        "URL of a collector that takes OTLP over HTTP, such as `http://localhost:4318`; traces and metrics then go there instead of to Application Insights. Plain http is allowed on loopback only.";
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Operator, false, default "unset: `/v1/traces` below `OTEL_EXPORTER_OTLP_ENDPOINT`",
        "URL for traces alone, exactly as it is asked; read only where `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Plain http is allowed on loopback only.";
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", Operator, false, default "unset: `/v1/metrics` below `OTEL_EXPORTER_OTLP_ENDPOINT`",
        "URL for metrics alone, exactly as it is asked; read only where `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Plain http is allowed on loopback only.";
    OTEL_EXPORTER_OTLP_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS", Operator, true, default "unset",
        "Headers for that collector: `name=value`, separated by commas.";
    OTEL_SDK_DISABLED = "OTEL_SDK_DISABLED", Operator, false, default "false",
        "`true`: nothing is exported, whatever else is set.";
    AZURE_CLIENT_ID = "AZURE_CLIENT_ID", Operator, false, default "unset: the system-assigned identity",
        "Client id of the user-assigned managed identity that reads and, without `BACKOUT_ACTOR_CLIENT_ID`, acts.";
    IDENTITY_ENDPOINT = "IDENTITY_ENDPOINT", Platform, false, default "unset: no managed identity",
        "Where the platform hands out tokens of the managed identity.";
    IDENTITY_HEADER = "IDENTITY_HEADER", Platform, true, default "unset",
        "The secret that goes with `IDENTITY_ENDPOINT`.";
    WEBSITE_SITE_NAME = "WEBSITE_SITE_NAME", Platform, false, default "unset: not in Azure",
        "Name of the site that this process runs in; backout never acts on itself (E9).";
    WEBSITE_RESOURCE_GROUP = "WEBSITE_RESOURCE_GROUP", Platform, false, default "unset",
        "Resource group of that site.";
    WEBSITE_OWNER_NAME = "WEBSITE_OWNER_NAME", Platform, false, default "unset",
        "Begins with that site's subscription, up to the `+`.";
    WEBSITE_INSTANCE_ID = "WEBSITE_INSTANCE_ID", Platform, false, default "unset: not in Azure",
        "Set on every instance in Azure, where the local disk vanishes with the instance.";
}
