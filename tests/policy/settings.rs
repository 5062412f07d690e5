//! Settings: final types, every problem at once, and no secret in any text.

use std::path::PathBuf;

use backout::{
    azure::cloud::Cloud,
    domain::service::Mode,
    settings::{
        ApproverAuth, BusConnection, BusSetting, IdentitySetting, MapSource, PolicyLocation, Settings, SettingsProblem, Source,
        StoreSetting, TelemetrySetting, WebhookToken,
        blob_container::{BlobAccess, BlobContainer},
        names, secret,
    },
};
use secrecy::ExposeSecret;

const ID: &str = "22222222-2222-2222-2222-222222222222";
const BUS: (&str, &str) = ("ServiceBus__fullyQualifiedNamespace", "contoso.servicebus.windows.net");

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::from_source(&MapSource::new(pairs.iter().copied().chain([BUS]))).unwrap_or_else(|error| panic!("{error}"))
}

/// The problems with `pairs`, a usable bus aside.
fn problems(pairs: &[(&str, &str)]) -> Vec<SettingsProblem> {
    Settings::from_source(&MapSource::new([BUS].into_iter().chain(pairs.iter().copied()))).expect_err(&format!("{pairs:?}")).0
}

#[track_caller]
fn check(pairs: &[(&str, &str)], name: &str, says: &str, hint: &str) {
    let found = problems(pairs);
    let [problem] = found.as_slice() else { panic!("one problem expected for {pairs:?}, found {found:#?}") };
    assert_eq!(problem.name, name);
    assert!(problem.says.contains(says), "`{says}` expected in: {problem}");
    assert!(problem.hint.contains(hint), "`{hint}` expected in the hint of: {problem}");
}

#[test]
fn defaults() {
    let settings = settings(&[]);
    assert_eq!(settings.handler_port, 8080);
    assert_eq!(settings.policy, PolicyLocation::File(PathBuf::from("backout.yaml")));
    assert_eq!(settings.mode_ceiling, None);
    assert!(matches!(&settings.store, StoreSetting::Sqlite(path) if path == &PathBuf::from(".backout/state.db")));
    assert_eq!(settings.cloud, Cloud::Public);
    assert_eq!(settings.identity, IdentitySetting { client_id: None, platform_endpoint: false });
    assert_eq!(settings.actor_client_id, None);
    assert_eq!(settings.time_scale, None);
    assert_eq!(settings.approver_auth, ApproverAuth::EasyAuth);
    assert_eq!(settings.webhook, None);
    assert!(settings.approval_key.is_none());
    assert_eq!(settings.public_url, None);
    assert_eq!(settings.own_site, None);
    assert_eq!((&settings.arm_endpoint, &settings.bus_endpoint, &settings.logs_endpoint), (&None, &None, &None));
    let BusSetting::ServiceBus { prefix, connection: BusConnection::Namespace { host, client_id } } = settings.bus else {
        panic!("{:?}", settings.bus)
    };
    assert_eq!((prefix.as_str(), host.as_str(), client_id), ("ServiceBus", "contoso.servicebus.windows.net", None));
}

#[test]
fn an_empty_value_is_unset() {
    let settings = settings(&[("BACKOUT_MODE", ""), ("BACKOUT_STORE", "  "), ("BACKOUT_CLOUD", ""), ("AZURE_CLIENT_ID", "")]);
    assert_eq!((settings.mode_ceiling, settings.cloud, settings.identity.client_id), (None, Cloud::Public, None));
}

#[test]
fn everything_set() {
    let settings = settings(&[
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "51234"),
        ("FUNCTIONS_HTTPWORKER_PORT", "51235"),
        ("BACKOUT_POLICY", "https://contoso.blob.core.windows.net/config/backout.yaml"),
        ("BACKOUT_MODE", "Propose"),
        ("BACKOUT_STORE", "https://contoso.blob.core.windows.net/backout"),
        ("BACKOUT_BUS", "Orders"),
        ("Orders__fullyQualifiedNamespace", "Orders.servicebus.usgovcloudapi.net"),
        ("Orders__credential", "managedIdentity"),
        ("Orders__clientId", ID),
        ("BACKOUT_ACTOR_CLIENT_ID", ID),
        ("BACKOUT_ARM_ENDPOINT", "http://127.0.0.1:9000"),
        ("BACKOUT_BUS_ENDPOINT", "http://localhost:9001"),
        ("BACKOUT_LOGS_ENDPOINT", "https://logs.contoso.example"),
        ("BACKOUT_TIME_SCALE", "60@2026-01-31T02:00:00Z"),
        ("BACKOUT_APPROVER_AUTH", "link"),
        ("BACKOUT_CLOUD", "usgovernment"),
        ("BACKOUT_WEBHOOK_TENANT", ID),
        ("BACKOUT_WEBHOOK_AUDIENCE", "api://backout"),
        ("BACKOUT_LOGIN_ENDPOINT", "http://127.0.0.1:9003"),
        ("BACKOUT_GITHUB_WEBHOOK_SECRET", "a secret of GitHub's"),
        ("BACKOUT_FLUX_WEBHOOK_SECRET", "a secret of Flux's"),
        ("BACKOUT_CDEVENTS_WEBHOOK_SECRET", "a secret of a pipeline's"),
        ("BACKOUT_APPROVAL_KEY", "0123456789012345678901234567890123"),
        ("BACKOUT_PUBLIC_URL", "https://contoso-backout.azurewebsites.net"),
        ("AZURE_CLIENT_ID", ID),
        ("IDENTITY_ENDPOINT", "http://169.254.129.4:8081/msi/token"),
        ("IDENTITY_HEADER", "a-header"),
        ("WEBSITE_SITE_NAME", "backout"),
        ("WEBSITE_RESOURCE_GROUP", "ops"),
        ("WEBSITE_OWNER_NAME", "11111111-1111-1111-1111-111111111111+ops-WestEuropewebspace-Linux"),
        ("WEBSITE_INSTANCE_ID", "abc"),
    ]);
    assert_eq!(settings.handler_port, 51234);
    assert_eq!(settings.policy.to_string(), "https://contoso.blob.core.windows.net/config/backout.yaml");
    assert_eq!(settings.mode_ceiling, Some(Mode::Propose));
    let StoreSetting::Blob(BlobContainer { url, access: BlobAccess::Identity }) = &settings.store else {
        panic!("{:?}", settings.store)
    };
    assert_eq!(url.as_str(), "https://contoso.blob.core.windows.net/backout");
    let BusSetting::ServiceBus { prefix, connection: BusConnection::Namespace { host, client_id } } = settings.bus else {
        panic!("{:?}", settings.bus)
    };
    assert_eq!((prefix.as_str(), host.as_str()), ("Orders", "orders.servicebus.usgovcloudapi.net"));
    assert_eq!(client_id.as_deref(), Some(ID));
    assert_eq!(settings.actor_client_id.as_deref(), Some(ID));
    assert_eq!(settings.arm_endpoint.unwrap().as_str(), "http://127.0.0.1:9000/");
    assert_eq!(settings.bus_endpoint.unwrap().as_str(), "http://localhost:9001/");
    assert_eq!(settings.logs_endpoint.unwrap().as_str(), "https://logs.contoso.example/");
    let scale = settings.time_scale.unwrap();
    assert_eq!(scale.raw, "60@2026-01-31T02:00:00Z");
    assert!((scale.factor - 60.0).abs() < f64::EPSILON);
    assert_eq!(scale.from.unwrap().to_string(), "2026-01-31T02:00:00Z");
    assert_eq!(settings.approver_auth, ApproverAuth::Link);
    assert_eq!(settings.cloud, Cloud::UsGovernment);
    assert_eq!(settings.cloud.resource_manager(), "https://management.usgovcloudapi.net");
    let caller = "461e8683-5575-4561-ac7f-899cc907d62a".to_owned();
    assert_eq!(settings.webhook, Some(WebhookToken { tenant: ID.to_owned(), audience: "api://backout".to_owned(), caller }));
    assert_eq!(settings.login_endpoint.unwrap().as_str(), "http://127.0.0.1:9003/");
    let secrets = [settings.webhook_secrets.github, settings.webhook_secrets.flux, settings.webhook_secrets.cdevents];
    let secrets = secrets.map(|secret| secret.unwrap().expose_secret().to_owned());
    assert_eq!(secrets, ["a secret of GitHub's", "a secret of Flux's", "a secret of a pipeline's"]);
    assert_eq!(settings.approval_key.unwrap().expose_secret(), "0123456789012345678901234567890123");
    assert_eq!(settings.public_url.unwrap().as_str(), "https://contoso-backout.azurewebsites.net/");
    assert_eq!(settings.identity, IdentitySetting { client_id: Some(ID.to_owned()), platform_endpoint: true });
    assert_eq!(
        settings.own_site.unwrap().as_written(),
        "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/ops/providers/Microsoft.Web/sites/backout"
    );
}

#[test]
fn ports() {
    assert_eq!(settings(&[("FUNCTIONS_HTTPWORKER_PORT", "7000")]).handler_port, 7000);
    for port in ["0", "65536", "-1", "http", "80 80"] {
        check(&[("FUNCTIONS_CUSTOMHANDLER_PORT", port)], names::FUNCTIONS_CUSTOMHANDLER_PORT, "is not a port", "1 to 65535");
    }
}

#[test]
fn words() {
    check(&[("BACKOUT_MODE", "fast")], names::BACKOUT_MODE, "`fast` is not known", "`observe`, `propose`, `act`");
    check(&[("BACKOUT_CLOUD", "germany")], names::BACKOUT_CLOUD, "`germany` is not known", "`usgovernment`");
    check(&[("BACKOUT_APPROVER_AUTH", "none")], names::BACKOUT_APPROVER_AUTH, "`none` is not known", "`easyauth`, `link`");
    check(&[("AZURE_CLIENT_ID", "my-identity")], names::AZURE_CLIENT_ID, "is not a client id", "GUID");
    check(&[("BACKOUT_ACTOR_CLIENT_ID", "x")], names::BACKOUT_ACTOR_CLIENT_ID, "is not a client id", "GUID");
}

#[test]
fn misspelt_names() {
    check(&[("BACKOUT_MOD", "observe")], "BACKOUT_MOD", "is no setting", "did you mean `BACKOUT_MODE`?");
    check(&[("backout_mode", "observe")], "backout_mode", "is no setting", "did you mean `BACKOUT_MODE`?");
    // A secret that the policy names may well begin like ours.
    assert_eq!(settings(&[("BACKOUT_TEAMS_WEBHOOK_URL", "https://x.example")]).mode_ceiling, None);
}

#[test]
fn policy_locations() {
    assert_eq!(settings(&[("BACKOUT_POLICY", "ops/p.yaml")]).policy, PolicyLocation::File(PathBuf::from("ops/p.yaml")));
    assert_eq!(settings(&[("BACKOUT_POLICY", "http://127.0.0.1:1/p.yaml")]).policy.to_string(), "http://127.0.0.1:1/p.yaml");
    check(&[("BACKOUT_POLICY", "http://contoso.example/p")], names::BACKOUT_POLICY, "plain http", "https URL");
    check(&[("BACKOUT_POLICY", "ftp://contoso.example/p")], names::BACKOUT_POLICY, "neither https nor http", "https URL");
    check(&[("BACKOUT_POLICY", "https://u:p@contoso.example/p")], names::BACKOUT_POLICY, "password", "https URL");
    check(&[("BACKOUT_POLICY", "http://127.0.0.1.evil.example/p")], names::BACKOUT_POLICY, "plain http", "https URL");
}

#[test]
fn stores() {
    assert!(matches!(settings(&[("BACKOUT_STORE", "memory:")]).store, StoreSetting::Memory));
    assert!(
        matches!(settings(&[("BACKOUT_STORE", "sqlite:/var/state.db")]).store, StoreSetting::Sqlite(path) if path.as_os_str() == "/var/state.db")
    );
    let name = names::BACKOUT_STORE;
    check(&[(name, "redis:x")], name, "is no kind of store", "`sqlite:PATH`");
    check(&[(name, "sqlite:")], name, "names no file", "sqlite:.backout/state.db");
    for in_azure in [("WEBSITE_INSTANCE_ID", "x"), ("WEBSITE_SITE_NAME", "x")] {
        check(&[in_azure], name, "local disk vanishes", "Storage Blob Data Contributor");
        assert!(matches!(settings(&[in_azure, (name, "memory:")]).store, StoreSetting::Memory));
    }
}

fn blob_container(value: &str) -> BlobContainer {
    match settings(&[("BACKOUT_STORE", value)]).store {
        StoreSetting::Blob(container) => container,
        other => panic!("{value}: {other:?}"),
    }
}

#[test]
fn blob_containers() {
    for (value, url, signature) in [
        ("https://a.blob.core.windows.net/state", "https://a.blob.core.windows.net/state", None),
        ("https://a.blob.core.usgovcloudapi.net/state/", "https://a.blob.core.usgovcloudapi.net/state", None),
        ("https://127.0.0.1:10000/devstoreaccount1/state", "https://127.0.0.1:10000/devstoreaccount1/state", None),
        ("https://a.blob.core.windows.net/state?sv=1&sig=x%3D#f", "https://a.blob.core.windows.net/state", Some("sv=1&sig=x%3D")),
        ("http://localhost:10000/d/state?sig=x", "http://localhost:10000/d/state", Some("sig=x")),
        (
            "BlobEndpoint=https://a.blob.core.windows.net/;QueueEndpoint=https://a.queue.core.windows.net/;\
             SharedAccessSignature=?sv=1&sig=x%3D;Container=state",
            "https://a.blob.core.windows.net/state",
            Some("sv=1&sig=x%3D"),
        ),
    ] {
        let container = blob_container(value);
        assert_eq!((container.url.as_str(), container.name()), (url, "state"), "{value}");
        match (&container.access, signature) {
            (BlobAccess::Identity, None) => {}
            (BlobAccess::Signature(found), Some(signature)) => assert_eq!(found.expose_secret(), signature),
            (access, _) => panic!("{value}: {access:?}"),
        }
    }
    for value in [
        "container=state;UseDevelopmentStorage=true;",
        "blobendpoint=http://127.0.0.1:10000/devstoreaccount1;accountname=devstoreaccount1;accountkey=a2V5;container=state",
    ] {
        let container = blob_container(value);
        assert_eq!(container.url.as_str(), "http://127.0.0.1:10000/devstoreaccount1/state");
        assert!(matches!(&container.access, BlobAccess::EmulatorKey { account, .. } if account == "devstoreaccount1"));
        assert!(!format!("{container:?}").contains("a2V5"));
    }
}

#[test]
fn blob_containers_that_cannot_be_used() {
    let name = names::BACKOUT_STORE;
    let of_azure = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net;container=state";
    for (value, says, hint) in [
        ("AccountName=a;AccountKey=a2V5", "without a container", ";container=NAME"),
        ("AccountName=a;AccountKey=a2V5;container=No", "cannot exist", "lower-case"),
        (of_azure, "for an emulator on this machine only", "generate-sas"),
        ("BlobEndpoint=https://a.example;AccountName=a;AccountKey=a2V5;container=state", "for an emulator", "generate-sas"),
        ("BlobEndpoint=http://127.0.0.1:1/a;AccountName=a;AccountKey=k;container=state", "no base64", "whole key"),
        ("BlobEndpoint=http://127.0.0.1:1/a;AccountKey=a2V5;container=state", "without its `AccountName`", "SharedAccess"),
        ("BlobEndpoint=https://a.example;container=state", "without a signature", "generate-sas"),
        ("SharedAccessSignature=sig=x;container=state", "names no `BlobEndpoint`", "BlobEndpoint="),
        ("BlobEndpoint=https://a.example;SharedAccessSignature=sv=1;container=state", "has no `sig`", "whole signature"),
        ("BlobEndpoint=http://a.example;SharedAccessSignature=sig=x;container=state", "plain http", "loopback only"),
        ("https://a.blob.core.windows.net", "without the name of a container", "CONTAINER"),
        ("https://a.blob.core.windows.net/a/b/c", "without the name of a container", "CONTAINER"),
        ("https://a.blob.core.windows.net/state?comp=list", "has no `sig`", "whole signature"),
        ("http://a.blob.core.windows.net/state", "plain http", "https URL"),
        ("http://127.0.0.1:10000/devstoreaccount1/state", "over https only", "UseDevelopmentStorage"),
    ] {
        check(&[(name, value)], name, says, hint);
    }
}

fn bus(pairs: &[(&str, &str)]) -> Result<BusSetting, Vec<SettingsProblem>> {
    Settings::from_source(&MapSource::new(pairs.iter().copied())).map(|settings| settings.bus).map_err(|problems| problems.0)
}

#[test]
fn buses() {
    assert!(matches!(bus(&[("BACKOUT_BUS", "local:")]), Ok(BusSetting::Local)));
    let text = "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=k=";
    // As in the host, the connection string wins.
    let Ok(BusSetting::ServiceBus { connection: BusConnection::ConnectionString(found), .. }) =
        bus(&[("ServiceBus", text), ("ServiceBus__fullyQualifiedNamespace", "other.servicebus.windows.net")])
    else {
        panic!("a connection string expected")
    };
    assert_eq!(found.expose_secret(), text);
    for name in [
        "ServiceBus__fullyQualifiedNamespace",
        "SERVICEBUS__FULLYQUALIFIEDNAMESPACE",
        "servicebus__fullyQualifiedNamespace",
        "ServiceBus:fullyQualifiedNamespace",
        "AzureWebJobsServiceBus__fullyQualifiedNamespace",
    ] {
        let Ok(BusSetting::ServiceBus { prefix, connection: BusConnection::Namespace { host, .. } }) =
            bus(&[(name, "contoso.servicebus.windows.net")])
        else {
            panic!("{name}")
        };
        assert_eq!((prefix.as_str(), host.as_str()), ("ServiceBus", "contoso.servicebus.windows.net"));
    }
}

#[test]
fn bus_problems() {
    let one = |pairs: &[(&str, &str)]| {
        let mut found = bus(pairs).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        let SettingsProblem { name, says, hint } = found.remove(0);
        (name, says, hint)
    };
    let (name, says, hint) = one(&[]);
    assert_eq!(name, "ServiceBus__fullyQualifiedNamespace");
    assert!(says.contains("is not set") && hint.contains("`local:`"), "{says}; {hint}");
    let (name, says, hint) = one(&[("ServiceBus", "sb://contoso")]);
    assert_eq!(name, "ServiceBus");
    assert!(says.contains("is no Service Bus connection string") && hint.contains("Endpoint=sb://"), "{says}; {hint}");
    let (name, says, _) = one(&[("ServiceBus__fullyQualifiedNamespace", "sb://contoso.servicebus.windows.net/")]);
    assert_eq!((name.as_str(), says.as_str()), ("ServiceBus__fullyQualifiedNamespace", "is not a host name"));
    let (name, says, _) = one(&[BUS, ("ServiceBus__credential", "secret")]);
    assert_eq!((name.as_str(), says.as_str()), ("ServiceBus__credential", "`secret` is not known"));
    let (name, _, hint) = one(&[BUS, ("ServiceBus__clientId", ID)]);
    assert_eq!((name.as_str(), hint.as_str()), ("ServiceBus__credential", "write `managedidentity`"));
    let (name, _, hint) = one(&[("BACKOUT_BUS", "Endpoint=sb://x/;SharedAccessKey=k")]);
    assert_eq!(name, "BACKOUT_BUS");
    assert!(hint.contains("setting of that name"), "{hint}");
}

#[test]
fn endpoints() {
    for name in [names::BACKOUT_ARM_ENDPOINT, names::BACKOUT_BUS_ENDPOINT, names::BACKOUT_LOGS_ENDPOINT] {
        for good in ["https://x.example", "http://127.0.0.1:1", "http://127.8.8.8", "http://[::1]:8080", "http://localhost:80"] {
            assert!(Settings::from_source(&MapSource::new([BUS, (name, good)])).is_ok(), "{name} {good}");
        }
        check(&[(name, "http://10.0.0.1")], name, "plain http", "loopback only");
        check(&[(name, "http://localhost.evil.example")], name, "plain http", "loopback only");
        check(&[(name, "x.example")], name, "is not an absolute URL", "https URL");
        check(&[(name, "https://u@x.example")], name, "a user name", "https URL");
        check(&[(name, "https://x.example/?a=b")], name, "with a query", "scheme, host and port");
    }
}

#[test]
fn time_scales() {
    let arm = ("BACKOUT_ARM_ENDPOINT", "http://127.0.0.1:9000");
    let name = names::BACKOUT_TIME_SCALE;
    for text in ["0", "-1", "inf", "NaN", "fast", "60@", "60@yesterday", "60@2026-01-31", "@2026-01-31T02:00:00Z"] {
        check(&[arm, (name, text)], name, "is not a time scale", "60@2026-01-31T02:00:00Z");
    }
    check(&[(name, "60")], name, "not on loopback", "remove it");
    check(&[("BACKOUT_ARM_ENDPOINT", "https://management.azure.com"), (name, "60")], name, "not on loopback", "remove it");
    let scale = settings(&[arm, (name, "0.5")]).time_scale.unwrap();
    assert!((scale.factor - 0.5).abs() < f64::EPSILON);
    assert_eq!(scale.from, None);
}

#[test]
fn what_goes_together() {
    check(&[("BACKOUT_WEBHOOK_TENANT", ID)], names::BACKOUT_WEBHOOK_AUDIENCE, "counterpart", "set both");
    check(&[("BACKOUT_WEBHOOK_AUDIENCE", "a")], names::BACKOUT_WEBHOOK_TENANT, "counterpart", "set both");
    check(
        &[("BACKOUT_WEBHOOK_TENANT", "contoso.example"), ("BACKOUT_WEBHOOK_AUDIENCE", "a")],
        names::BACKOUT_WEBHOOK_TENANT,
        "is not a tenant id",
        "GUID",
    );
    let webhook = [("BACKOUT_WEBHOOK_TENANT", ID), ("BACKOUT_WEBHOOK_AUDIENCE", "a")];
    check(
        &[webhook[0], webhook[1], ("BACKOUT_WEBHOOK_CALLER", "AzNS")],
        names::BACKOUT_WEBHOOK_CALLER,
        "is not a client id",
        "GUID",
    );
    for name in [names::BACKOUT_GITHUB_WEBHOOK_SECRET, names::BACKOUT_FLUX_WEBHOOK_SECRET, names::BACKOUT_CDEVENTS_WEBHOOK_SECRET]
    {
        check(&[(name, "fifteen-letters")], name, "shorter than 16", "openssl rand");
    }
    let key = ("BACKOUT_APPROVAL_KEY", "0123456789012345678901234567890123");
    let url = ("BACKOUT_PUBLIC_URL", "https://contoso.example");
    check(&[key], names::BACKOUT_PUBLIC_URL, "is not set although", "approval links");
    check(&[url], names::BACKOUT_APPROVAL_KEY, "is not set although", "openssl rand");
    check(&[url, ("BACKOUT_APPROVAL_KEY", "short")], names::BACKOUT_APPROVAL_KEY, "shorter than 32", "openssl rand");
    check(&[("IDENTITY_ENDPOINT", "http://x")], names::IDENTITY_HEADER, "is not set although", "the platform sets both");
    check(
        &[
            ("BACKOUT_STORE", "memory:"),
            ("WEBSITE_SITE_NAME", "a/b"),
            ("WEBSITE_RESOURCE_GROUP", "ops"),
            ("WEBSITE_OWNER_NAME", "1+x"),
        ],
        names::WEBSITE_OWNER_NAME,
        "name no site",
        "do not override",
    );
}

#[test]
fn all_problems_at_once() {
    let found = problems(&[
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "x"),
        ("BACKOUT_MODE", "x"),
        ("BACKOUT_STORE", "x"),
        ("BACKOUT_CLOUD", "x"),
        ("BACKOUT_ARM_ENDPOINT", "x"),
        ("BACKOUT_TIME_SCALE", "1"),
        ("BACKOUT_WEBHOOK_TENANT", "x"),
        ("AZURE_CLIENT_ID", "x"),
    ]);
    let names: Vec<&str> = found.iter().map(|problem| problem.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "FUNCTIONS_CUSTOMHANDLER_PORT",
            "BACKOUT_MODE",
            "BACKOUT_STORE",
            "BACKOUT_TIME_SCALE",
            "BACKOUT_CLOUD",
            "BACKOUT_ARM_ENDPOINT",
            "BACKOUT_WEBHOOK_AUDIENCE",
            "AZURE_CLIENT_ID",
        ]
    );
}

/// Every setting in turn holds something secret, in a good and in a bad place: no text ever shows it.
#[test]
fn secrets_are_never_shown() {
    const SECRET: &str = "s3cr3t/+s3cr3t/+s3cr3t/+s3cr3t/+s3cr3t";
    for setting in names::ALL {
        for value in [
            SECRET.to_owned(),
            format!("https://x.blob.core.windows.net/c?sig={SECRET}"),
            format!("https://user:{SECRET}@x.example/c"),
            format!("AccountName=a;AccountKey={SECRET};container=abc"),
            format!("AccountName=a;AccountKey={SECRET}"),
            format!("Endpoint=sb://x.example/;SharedAccessKeyName=a;SharedAccessKey={SECRET}"),
        ] {
            // Paths are no secrets: they are shown on purpose.
            if setting.name == names::BACKOUT_POLICY && !value.contains("://") {
                continue;
            }
            // Neither are the names of the webhook's audience and of the site.
            if [names::BACKOUT_WEBHOOK_AUDIENCE, names::WEBSITE_SITE_NAME].contains(&setting.name) {
                continue;
            }
            let source = MapSource::new([(BUS.0, BUS.1), (setting.name, value.as_str())]);
            let shown = match Settings::from_source(&source) {
                Ok(settings) => format!("{settings:?} {} {source:?}", settings.policy),
                Err(problems) => format!("{problems} {problems:?} {source:?}"),
            };
            assert!(!shown.contains("s3cr3t"), "{}: {shown}", setting.name);
        }
    }
}

#[test]
fn where_telemetry_goes() {
    let all = names::OTEL_EXPORTER_OTLP_ENDPOINT;
    let (traces, metrics) = (names::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, names::OTEL_EXPORTER_OTLP_METRICS_ENDPOINT);
    let urls = |pairs: &[(&str, &str)]| match settings(pairs).telemetry {
        TelemetrySetting::Otlp { traces, metrics } => (traces.to_string(), metrics.to_string()),
        other => panic!("{pairs:?}: {other:?}"),
    };
    let below = |url: &str| (format!("{url}/v1/traces"), format!("{url}/v1/metrics"));
    assert_eq!(urls(&[(all, "http://localhost:4318")]), below("http://localhost:4318"));
    assert_eq!(urls(&[(all, "http://127.0.0.1:4318/")]), below("http://127.0.0.1:4318"));
    assert_eq!(urls(&[(all, "https://otlp.example/otel/")]), below("https://otlp.example/otel"));
    let own = [(all, "https://otlp.example"), (traces, "http://[::1]:4318/t"), (metrics, "https://m.example/")];
    assert_eq!(urls(&own), ("http://[::1]:4318/t".to_owned(), "https://m.example/".to_owned()));
    for unset in
        [&[][..], &[(traces, "http://collector:4318")], &[(all, "http://far.example"), (names::OTEL_SDK_DISABLED, "true")]]
    {
        assert!(matches!(settings(unset).telemetry, TelemetrySetting::Off), "{unset:?}");
    }
}

/// The settings as a whole hold: a rollback must not wait for its telemetry.
#[test]
fn where_telemetry_cannot_go() {
    let (all, insights) = (names::OTEL_EXPORTER_OTLP_ENDPOINT, names::APPLICATIONINSIGHTS_CONNECTION_STRING);
    let (traces, metrics) = (names::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, names::OTEL_EXPORTER_OTLP_METRICS_ENDPOINT);
    let near = (all, "http://localhost:4318");
    let plain = "is a plain http URL, which is allowed on loopback only; hint: write an https URL";
    let ingestion = "has an `IngestionEndpoint` that ";
    let rows = [
        (vec![(all, "http://collector:4318")], all, plain.to_owned()),
        (vec![(all, "http://localhost.example:4318")], all, plain.to_owned()),
        (vec![(all, "collector:4318")], all, "is a URL that is neither https nor http".to_owned()),
        (vec![(all, "collector")], all, "is not an absolute URL".to_owned()),
        (vec![(all, "https://user:word@otlp.example")], all, "with a user name or a password".to_owned()),
        (vec![(all, "https://otlp.example?key=s3cr3t")], all, "with a query or a fragment; hint: a key".to_owned()),
        (vec![near, (traces, "http://10.0.0.4/v1/traces")], traces, plain.to_owned()),
        (vec![near, (metrics, "http://10.0.0.4/v1/metrics")], metrics, plain.to_owned()),
        (vec![(insights, "InstrumentationKey=k;IngestionEndpoint=http://in.example/")], insights, format!("{ingestion}{plain}")),
        (
            vec![(insights, "ingestionendpoint=https://in.example; IngestionEndpoint =http://in.example;InstrumentationKey=k")],
            insights,
            format!("{ingestion}{plain}"),
        ),
        (
            vec![(insights, "InstrumentationKey=k;IngestionEndpoint=in.example")],
            insights,
            format!("{ingestion}is not an absolute URL"),
        ),
    ];
    for (pairs, name, says) in rows {
        let TelemetrySetting::Unusable(problem) = settings(&pairs).telemetry else { panic!("{pairs:?}") };
        assert!(problem.starts_with(&format!("`{name}` ")) && problem.contains(&says), "{problem}");
        assert!(!problem.contains("s3cr3t"), "{problem}");
    }
    for usable in [
        "InstrumentationKey=k",
        "InstrumentationKey=k;IngestionEndpoint=http://127.0.0.1:1/",
        "InstrumentationKey=k;IngestionEndpoint=https://in.example/",
    ] {
        assert!(matches!(settings(&[(insights, usable)]).telemetry, TelemetrySetting::ApplicationInsights { .. }), "{usable}");
    }
}

#[test]
fn a_secret_by_its_name() {
    let source = MapSource::new([("TEAMS_WEBHOOK_URL", " https://x.example/abc \n"), ("EMPTY", "")]);
    let found = secret(&source, "TEAMS_WEBHOOK_URL").unwrap();
    assert_eq!(found.expose_secret(), "https://x.example/abc");
    assert!(!format!("{found:?}").contains("x.example"));
    assert!(secret(&source, "EMPTY").is_none());
    assert!(secret(&source, "teams_webhook_url").is_none());
}

#[test]
fn the_list_of_names() {
    let mut seen: Vec<&str> = names::ALL.iter().map(|setting| setting.name).collect();
    seen.sort_unstable();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count, "a name stands twice");
    for setting in names::ALL {
        assert!(setting.docs.ends_with('.') && setting.docs.len() > 15, "{}", setting.name);
        assert!(!setting.default.is_empty(), "{}", setting.name);
    }
    assert_eq!(names::ALL.iter().filter(|setting| setting.secret).count(), 9);
}

struct NextToBinary(MapSource);

impl Source for NextToBinary {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name)
    }

    fn binary_folder(&self) -> Option<PathBuf> {
        Some(PathBuf::from("/home/site/wwwroot"))
    }
}

#[test]
fn the_policy_lies_beside_the_binary() {
    let settings = Settings::from_source(&NextToBinary(MapSource::new([BUS]))).unwrap();
    assert_eq!(settings.policy, PolicyLocation::File(PathBuf::from("/home/site/wwwroot/backout.yaml")));
}

#[test]
fn the_environment_is_a_source() {
    let source = backout::settings::Environment;
    assert!(source.get("PATH").is_some_and(|path| !path.is_empty()));
    assert!(source.names().iter().any(|name| name == "PATH"));
    assert_eq!(source.get_in_any_case("path"), source.get("PATH"));
    assert_eq!(source.get("BACKOUT_NO_SUCH_SETTING_AT_ALL"), None);
    assert!(source.binary_folder().is_some_and(|folder| folder.is_dir()));
}
