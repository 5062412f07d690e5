//! Endpoints: a token goes over https, or stays on this machine.

use backout::{
    azure::{
        cloud::Cloud,
        identity::{TokenSource, credential},
    },
    ports::PortErrorKind,
    settings::endpoint::{self, EndpointProblem},
};

use super::server::{identity, no_identity};

#[test]
fn each_cloud_has_its_own_hosts_and_scopes() {
    let rows = [
        (Cloud::Public, "https://management.azure.com", "https://management.azure.com/.default"),
        (Cloud::UsGovernment, "https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net/.default"),
        (Cloud::China, "https://management.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default"),
    ];
    for (cloud, arm, scope) in rows {
        assert_eq!((cloud.resource_manager(), cloud.resource_manager_scope()), (arm, scope));
    }
}

#[test]
fn plain_http_stays_on_this_machine() {
    for good in [
        "https://arm.contoso.com",
        "http://127.0.0.1:8080",
        "http://127.9.8.7",
        "http://[::1]:1",
        "http://localhost:1",
        "http://arm.localhost:1",
    ] {
        assert!(endpoint::parse(good).is_ok(), "{good}");
    }
    for bad in ["http://management.azure.com", "http://localhost.evil.com", "http://128.0.0.1"] {
        assert_eq!(endpoint::parse(bad), Err(EndpointProblem::PlainHttp), "{bad}");
    }
}

#[tokio::test]
async fn a_missing_identity_says_what_to_do() {
    let error = no_identity().bearer().await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Denied);
    assert!(error.says.contains("AZURE_CLIENT_ID") && error.says.contains("az login"), "{}", error.says);
    assert!(!format!("{:?}", identity("reader-token")).contains("reader-token"));

    let error = credential(Some("not-a-guid"), true).unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert!(error.says.contains("GUID"), "{}", error.says);
    let made = credential(Some("22222222-2222-2222-2222-222222222222"), true).unwrap();
    assert!(!TokenSource::new(made, "scope").is_same(&identity("reader-token")));
}
