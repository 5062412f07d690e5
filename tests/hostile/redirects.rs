//! A redirect could carry a token, a signature or a document anywhere: no client follows one.

use backout::{
    ports::{Key, PortErrorKind, StateStore},
    settings::{blob_container::BlobContainer, names},
};

use crate::support::{
    azurite,
    leaks::seed,
    policy::site,
    program::Program,
    redirects::{Redirects, STATUSES},
};

#[tokio::test]
async fn the_store_follows_none() {
    for status in STATUSES {
        let redirects = Redirects::start(status).await;
        let signature = azurite::container_signature("backout", "racwdl", "2099-12-31T00:00:00Z");
        let container = BlobContainer::from_url(&format!("{}account/backout?{signature}", redirects.url())).unwrap();
        let (store, key) = (azurite::store(&container), Key::new("control"));
        let refused = [
            store.read(&key).await.unwrap_err(),
            store.insert(&key, b"{}").await.unwrap_err(),
            store.list("records/", None, 1).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.kind == PortErrorKind::Invalid), "{status}: {refused:#?}");
        assert!(redirects.asked() >= 3, "{status}: {}", redirects.asked());
        assert_eq!(redirects.led_away(), 0, "{status}");
    }
}

/// The platform's endpoint for tokens is asked with a secret in a header, and its answer is a token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_managed_identity_follows_none() {
    seed("header-of-the-identity");
    let folder = tempfile::tempdir().unwrap();
    let policy = format!(
        "version: 1\nservices:\n  checkout:\n    target: {{ platform: app-service, site: {}, goodSlots: [staging] }}\n",
        site("checkout")
    );
    std::fs::write(folder.path().join("backout.yaml"), policy).unwrap();
    for status in STATUSES {
        let redirects = Redirects::start(status).await;
        let settings = [
            (names::BACKOUT_POLICY, "backout.yaml"),
            (names::BACKOUT_STORE, "sqlite:state.db"),
            (names::BACKOUT_BUS, "local:"),
            // Nobody is there; without a token nobody is asked either.
            (names::BACKOUT_ARM_ENDPOINT, "http://127.0.0.1:9"),
            (names::IDENTITY_ENDPOINT, &format!("{}msi/token", redirects.url())),
            (names::IDENTITY_HEADER, "header-of-the-identity"),
        ];
        let program = Program::new(["check"]).in_folder(folder.path()).without_environment().with(settings);
        let output = program.ran().await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{status}: {said}");
        assert!(said.contains("get a token: no token for "), "{status}: {said}");
        assert!(redirects.asked() > 0, "{status}: {said}");
        assert_eq!(redirects.led_away(), 0, "{status}: {said}");
    }
}
