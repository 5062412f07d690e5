//! Endpoints: a token goes over https, or stays on this machine.

use backout::{
    azure::{
        cloud::{Cloud, Endpoints, Overrides, endpoint},
        identity::{TokenSource, credential},
    },
    ports::PortErrorKind,
};

use super::server::{identity, no_identity};

#[test]
fn each_cloud_has_its_own_hosts_and_scopes() {
    let rows = [
        ("public", "https://management.azure.com/", "https://management.azure.com/.default"),
        ("UsGovernment", "https://management.usgovcloudapi.net/", "https://management.core.usgovcloudapi.net/.default"),
        ("china", "https://management.chinacloudapi.cn/", "https://management.chinacloudapi.cn/.default"),
    ];
    for (word, arm, scope) in rows {
        let cloud: Cloud = word.parse().unwrap();
        let endpoints = Endpoints::new(cloud, Overrides::default()).unwrap();
        assert_eq!(endpoints.resource_manager.as_str(), arm);
        assert_eq!(cloud.resource_manager_scope(), scope);
        assert_eq!(endpoints.service_bus, None);
        assert!(!endpoints.is_simulated());
    }
    let problem = "germany".parse::<Cloud>().unwrap_err().to_string();
    assert_eq!(problem, "`BACKOUT_CLOUD`: `germany` is no cloud; use `public`, `usgovernment` or `china`");
}

#[test]
fn plain_http_stays_on_this_machine() {
    for good in ["https://arm.contoso.com", "http://127.0.0.1:8080", "http://127.9.8.7", "http://[::1]:1", "http://localhost:1"] {
        assert!(endpoint("BACKOUT_ARM_ENDPOINT", good).is_ok(), "{good}");
    }
    let rows = [
        ("http://management.azure.com", "loopback only"),
        ("http://localhost.evil.com", "loopback only"),
        ("http://128.0.0.1", "loopback only"),
        ("ftp://127.0.0.1", "neither https nor http"),
        ("management.azure.com", "no URL"),
        ("https://user:secret@arm.test", "user name or password"),
        ("https://arm.test?x=1", "a query"),
        ("mailto:a@b.c", "names no host"),
    ];
    for (bad, reason) in rows {
        let problem = Endpoints::new(Cloud::Public, Overrides { resource_manager: Some(bad), ..Overrides::default() });
        let text = problem.unwrap_err().to_string();
        assert!(text.starts_with("`BACKOUT_ARM_ENDPOINT`: ") && text.contains(reason), "{text}");
        assert!(!text.contains("secret"));
    }
    let blank = Endpoints::new(Cloud::Public, Overrides { resource_manager: Some(" "), ..Overrides::default() }).unwrap();
    assert_eq!(blank.resource_manager.as_str(), "https://management.azure.com/");
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
