use backout::sim::Role;

use super::{ARM, BUS, Drill, answer, token};

async fn ask(drill: &Drill, query: &[(&str, &str)], secret: &str) -> super::Answer {
    let url = url::Url::parse_with_params(&drill.azure.identity_endpoint(), query).unwrap();
    answer(drill.http.get(url).header("x-identity-header", secret)).await.unwrap()
}

#[tokio::test]
async fn a_token_comes_in_the_form_of_app_service() {
    let drill = Drill::new().await;
    let secret = drill.azure.identity_header();
    let given = ask(&drill, &[("resource", ARM), ("api-version", "2019-08-01"), ("client_id", "actor")], &secret).await;
    assert_eq!(given.status, 200);
    let body = given.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["resource"], ARM);
    let expires = body["expires_on"].as_str().expect("seconds as text").parse::<i64>().unwrap();
    assert!(expires > 1_700_000_000, "{expires}");
}

#[tokio::test]
async fn a_wrong_secret_version_or_identity_gets_no_token() {
    let drill = Drill::new().await;
    let secret = drill.azure.identity_header();
    let version = ("api-version", "2019-08-01");
    assert_eq!(ask(&drill, &[("resource", ARM), version], "wrong").await.status, 401);
    assert_eq!(ask(&drill, &[("resource", ARM)], &secret).await.status, 400);
    assert_eq!(ask(&drill, &[version], &secret).await.status, 400);
    drill.azure.set_client_ids(&["actor"]);
    assert_eq!(ask(&drill, &[("resource", ARM), version, ("client_id", "nobody")], &secret).await.status, 400);
    assert_eq!(ask(&drill, &[("resource", ARM), version, ("client_id", "ACTOR")], &secret).await.status, 200);
}

#[tokio::test]
async fn the_resource_manager_takes_only_its_own_tokens() {
    let drill = Drill::new().await;
    let url = format!("{}{}?api-version=2025-05-01", drill.azure.resource_manager_url(), &super::SITE[1..]);
    let bare = answer(drill.http.get(&url)).await.unwrap();
    assert_eq!((bare.status.as_u16(), bare.code().as_str()), (401, "AuthenticationFailed"));
    assert!(bare.header("www-authenticate").starts_with("Bearer "));
    let made_up = answer(drill.http.get(&url).bearer_auth("made-up")).await.unwrap();
    assert_eq!((made_up.status.as_u16(), made_up.code().as_str()), (401, "InvalidAuthenticationToken"));
    let bus_token = answer(drill.http.get(&url).bearer_auth(&drill.bus_token)).await.unwrap();
    assert_eq!((bus_token.status.as_u16(), bus_token.code().as_str()), (401, "InvalidAuthenticationTokenAudience"));
    assert_eq!(drill.get("").await.status, 200);
    drill.azure.revoke_tokens();
    assert_eq!(drill.get("").await.status, 401);
}

#[tokio::test]
async fn the_journal_tells_who_called_and_never_the_token() {
    let drill = Drill::new().await;
    let actor = token(&drill.http, &drill.azure, ARM, Some("actor")).await;
    assert_ne!(actor, drill.arm_token);
    assert_ne!(actor, token(&drill.http, &drill.azure, BUS, Some("actor")).await);
    drill.get("").await;
    let drill = Drill { arm_token: actor, ..drill };
    drill.swap("staging").await;

    let journal = drill.azure.journal();
    let calls: Vec<_> = journal.iter().filter(|entry| entry.role == Role::ResourceManager).collect();
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[0].method.as_str(), calls[0].identity.as_deref(), calls[0].status), ("GET", Some("system"), Some(200)));
    assert_eq!((calls[1].method.as_str(), calls[1].identity.as_deref(), calls[1].status), ("POST", Some("actor"), Some(202)));
    assert_eq!((calls[0].effects, calls[1].effects), (0, 1));
    assert_eq!(calls[1].header("content-type"), Some("application/json"));
    assert_eq!(&calls[1].body[..], br#"{"preserveVnet":true,"targetSlot":"production"}"#);
    assert_eq!(calls[1].path_and_query, format!("{}/slots/staging/slotsswap?api-version=2025-05-01", super::SITE));
    let written = format!("{journal:?}");
    for secret in [&drill.arm_token, &drill.bus_token, &drill.azure.identity_header()] {
        assert!(!written.contains(secret.as_str()));
    }
}
