//! A kubeconfig: where the cluster is, whom to trust, and who we are. Read from a file, or from AKS's own answer.
//!
//! Programs that a kubeconfig names (`exec`, `auth-provider`) are never run.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{azure::answer::clean, settings::endpoint};

/// A context of a kubeconfig, in the form in which a connection is made from it.
#[derive(Debug)]
pub struct Access {
    pub server: Url,
    /// PEM; `None` trusts the system's certificates.
    pub certificate_authority: Option<Vec<u8>>,
    pub user: User,
}

/// How a caller proves who it is.
#[derive(Debug)]
pub enum User {
    Token(SecretString),
    /// Read again for every request: whoever issues such tokens replaces them.
    TokenFile(PathBuf),
    /// Certificate and key in one PEM.
    ClientCertificate(SecretString),
    /// A program would have to be run.
    Exec,
    /// Nothing that is understood here; says what there is.
    Other(&'static str),
}

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "current-context")]
    current_context: Option<String>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: UserEntry,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UserEntry {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    username: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

/// Reads `text`; relative paths in it are meant from `folder`. The error is a sentence for a person, without any secret.
pub fn read(text: &str, context: Option<&str>, folder: Option<&Path>) -> Result<Access, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|_| "the kubeconfig is not the YAML that kubectl writes".to_owned())?;
    let Some(name) = context.or(file.current_context.as_deref()).filter(|name| !name.is_empty()) else {
        return Err("the kubeconfig has no `current-context`; name one with `context:`".to_owned());
    };
    let context = file.contexts.iter().find(|it| it.name == name).map(|it| &it.context);
    let context = context.ok_or_else(|| format!("the kubeconfig has no context `{}`", clean(name)))?;
    let cluster = file.clusters.iter().find(|it| it.name == context.cluster).map(|it| &it.cluster);
    let cluster = cluster.ok_or_else(|| format!("the kubeconfig has no cluster `{}`", clean(&context.cluster)))?;
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err("the kubeconfig says `insecure-skip-tls-verify`, with which anybody could take our token; give the \
                    cluster's certificate instead"
            .to_owned());
    }
    for (key, value) in [("tls-server-name", &cluster.tls_server_name), ("proxy-url", &cluster.proxy_url)] {
        if value.is_some() {
            return Err(format!(
                "the kubeconfig says `{key}`, which is not supported; use an address that is reached without it"
            ));
        }
    }
    let server = endpoint::parse(&cluster.server).map_err(|problem| format!("`server` of the kubeconfig {problem}"))?;
    let certificate_authority = pem(
        "certificate-authority",
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
        folder,
    )?;
    let user = match &context.user {
        None => User::Other("no user"),
        Some(wanted) => match file.users.into_iter().find(|it| it.name == *wanted) {
            None => return Err(format!("the kubeconfig has no user `{}`", clean(wanted))),
            Some(found) => user(found.user, folder)?,
        },
    };
    Ok(Access { server, certificate_authority, user })
}

/// Precedence as in client-go: a token file before a token; a certificate may stand beside either, and is used alone here.
fn user(entry: UserEntry, folder: Option<&Path>) -> Result<User, String> {
    if let Some(path) = entry.token_file.filter(|path| !path.is_empty()) {
        return Ok(User::TokenFile(below(folder, &path)));
    }
    if let Some(token) = entry.token.filter(|token| !token.is_empty()) {
        return Ok(User::Token(SecretString::from(token)));
    }
    let certificate =
        pem("client-certificate", entry.client_certificate_data.as_deref(), entry.client_certificate.as_deref(), folder)?;
    let key = pem("client-key", entry.client_key_data.as_deref(), entry.client_key.as_deref(), folder)?;
    match (certificate, key) {
        (Some(mut certificate), Some(key)) => {
            certificate.push(b'\n');
            certificate.extend(key);
            let text = String::from_utf8(certificate).map_err(|_| "the kubeconfig's client certificate is no PEM".to_owned())?;
            return Ok(User::ClientCertificate(SecretString::from(text)));
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err("the kubeconfig has a client certificate without its key, or the other way round".to_owned());
        }
        (None, None) => {}
    }
    Ok(if entry.exec.is_some() {
        User::Exec
    } else if entry.auth_provider.is_some() {
        User::Other("an `auth-provider`")
    } else if entry.username.is_some() {
        User::Other("a user name and a password")
    } else {
        User::Other("no credentials")
    })
}

fn pem(key: &str, data: Option<&str>, path: Option<&str>, folder: Option<&Path>) -> Result<Option<Vec<u8>>, String> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        let compact: String = data.split_whitespace().collect();
        return STANDARD.decode(compact).map(Some).map_err(|_| format!("`{key}-data` of the kubeconfig is no base64"));
    }
    match path.filter(|path| !path.is_empty()) {
        None => Ok(None),
        Some(path) => std::fs::read(below(folder, path))
            .map(Some)
            .map_err(|error| format!("the file that the kubeconfig names as `{key}` cannot be read ({})", error.kind())),
    }
}

fn below(folder: Option<&Path>, path: &str) -> PathBuf {
    folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  context: {{ cluster: c, user: u, namespace: n \
             }}\nclusters:\n- name: c\n  cluster: {{ {cluster} }}\nusers:\n- name: u\n  user: {{ {user} }}\n"
        )
    }

    #[test]
    fn every_kind_of_user_is_told_apart() {
        let user = |text: &str| read(&config("server: https://k.test:6443", text), None, None).map(|access| access.user);
        assert!(matches!(user("token: abc"), Ok(User::Token(_))));
        assert!(matches!(user("token: abc, tokenFile: /t"), Ok(User::TokenFile(path)) if path == Path::new("/t")));
        assert!(matches!(user("client-certificate-data: QQ==, client-key-data: Qg=="), Ok(User::ClientCertificate(_))));
        assert!(matches!(user("exec: { command: kubelogin }"), Ok(User::Exec)));
        assert!(matches!(user("auth-provider: { name: azure }"), Ok(User::Other(_))));
        assert!(matches!(user("username: a, password: b"), Ok(User::Other(_))));
        assert!(matches!(user(""), Ok(User::Other(_))));
        assert!(user("client-certificate-data: QQ==").unwrap_err().contains("without its key"));
        assert!(user("client-certificate-data: '!', client-key-data: Qg==").unwrap_err().contains("no base64"));
        assert!(user("client-certificate: /not/there, client-key: /n").unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn what_would_weaken_the_connection_is_refused() {
        let says = |cluster: &str| read(&config(cluster, "token: abc"), None, None).map(|_| ()).unwrap_err();
        assert!(says("server: http://k.test").contains("plain http"));
        assert!(says("server: 'https://me:pw@k.test'").contains("password"));
        assert!(says("server: https://k.test, insecure-skip-tls-verify: true").contains("insecure-skip-tls-verify"));
        assert!(says("server: https://k.test, proxy-url: http://p").contains("proxy-url"));
        assert!(says("server: https://k.test, tls-server-name: x").contains("tls-server-name"));
        let good = config("server: http://127.0.0.1:81/c", "token: abc");
        assert_eq!(read(&good, None, None).unwrap().server.as_str(), "http://127.0.0.1:81/c");
        assert!(read(&good, Some("b"), None).unwrap_err().contains("no context `b`"));
        assert!(read("a: [", None, None).is_err() && read("{}", None, None).is_err());
    }
}
