//! Azurite, Microsoft's emulator of blob storage: one over http for signatures and one over https for tokens, shared by all tests.
//!
//! Where there is none, the tests that need it say so aloud and are no proof; with `CI` set they fail.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, OnceLock},
};

use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    http::HttpClient,
    time::OffsetDateTime,
};
use backout::{
    azure::blob_store::BlobStore,
    ports::StateStore,
    settings::blob_container::{BlobAccess, BlobContainer},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use sha2::Sha256;
use tempfile::TempDir;
use uuid::Uuid;

/// Of every Azurite. Source: its documentation, section "Default storage account".
pub const ACCOUNT: &str = "devstoreaccount1";
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const INSTALL: &str = "npm install --prefix target/azurite azurite@3.37.0";

/// One running Azurite. It ends when this is dropped, and when this process dies.
pub struct Azurite {
    /// With the account, such as `http://127.0.0.1:41234/devstoreaccount1`.
    pub endpoint: String,
    /// The shell around Azurite, which ends both when this closes.
    lifeline: Option<ChildStdin>,
    shell: Child,
}

/// Azurite over http, for signatures.
pub fn over_http() -> Option<&'static Azurite> {
    static SHARED: OnceLock<Option<Azurite>> = OnceLock::new();
    there(SHARED.get_or_init(|| Azurite::start(&["--inMemoryPersistence", "--blobPort", "0"], None)).as_ref())
}

/// Azurite over https, for tokens.
pub fn over_https() -> Option<&'static SecureAzurite> {
    static SHARED: OnceLock<Option<SecureAzurite>> = OnceLock::new();
    there(SHARED.get_or_init(SecureAzurite::start).as_ref())
}

/// An Azurite of one's own at `port` (0: any), with its state in `folder`.
pub fn of_ones_own(folder: &Path, port: u16) -> Option<Azurite> {
    there(Azurite::start(&["--blobPort", &port.to_string()], Some(folder)))
}

fn there<T>(azurite: Option<T>) -> Option<T> {
    if azurite.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Past the test harness, which keeps what a passing test prints.
        let _ = writeln!(std::io::stderr(), "NOT TESTED against Azurite: {test} ({INSTALL})");
        assert!(!in_ci(), "Azurite is not there; {INSTALL}");
    }
    azurite
}

#[expect(clippy::disallowed_methods, reason = "whether a missing emulator is a failure is no setting of the product")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// `azurite-blob`, which comes with `azurite`: named by `AZURITE`, below `target`, or on the PATH.
fn program() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where the emulator is, is no setting of the product")]
    let named = std::env::var("AZURITE").ok().map(|path| PathBuf::from(path).with_file_name("azurite-blob"));
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/azurite/node_modules/.bin/azurite-blob");
    let runs = |program: &PathBuf| {
        let mut version = Command::new(program);
        version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    };
    [named, Some(installed), Some(PathBuf::from("azurite-blob"))].into_iter().flatten().find(runs)
}

impl Azurite {
    fn start(arguments: &[&str], location: Option<&Path>) -> Option<Self> {
        let program = program()?;
        let mut command = Command::new("sh");
        command
            .args(["-c", r#""$@" & pid=$!; cat >/dev/null; kill $pid; wait $pid"#, "sh"])
            .arg(program)
            .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(folder) = location {
            command.arg("--location").arg(folder);
        }
        let mut shell = command.spawn().expect("there is a shell");
        let lifeline = shell.stdin.take();
        let mut lines = BufReader::new(shell.stdout.take().expect("the output is a pipe")).lines();
        let mut said = Vec::new();
        let address = loop {
            let line = lines.next().and_then(Result::ok).unwrap_or_else(|| panic!("Azurite did not start: {said:#?}"));
            if let Some((_, address)) = line.split_once("successfully listens on ") {
                break address.trim().to_owned();
            }
            said.push(line);
        };
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { endpoint: format!("{address}/{ACCOUNT}"), lifeline, shell })
    }

    pub fn port(&self) -> u16 {
        url::Url::parse(&self.endpoint).unwrap().port().unwrap()
    }

    /// A container that nobody else uses, by the account's key; it is not there yet.
    pub fn container_by_key(&self) -> BlobContainer {
        self.setting_by_key().1
    }

    /// The same, and what `BACKOUT_STORE` is for it.
    pub fn setting_by_key(&self) -> (String, BlobContainer) {
        let name = format!("c-{}", Uuid::new_v4());
        let text = format!("BlobEndpoint={};AccountName={ACCOUNT};AccountKey={KEY};container={name}", self.endpoint);
        let container = BlobContainer::from_connection(&text).unwrap();
        (text, container)
    }

    /// The same container, which is there by now, by a signature for what is in it.
    pub async fn by_signature(&self, container: &BlobContainer) -> BlobContainer {
        assert_eq!(store(container).list("", None, 1).await.unwrap(), [], "a listing makes the container");
        let (name, endpoint) = (container.name(), &self.endpoint);
        let signature = container_signature(name, "racwdl", "2099-12-31T00:00:00Z");
        BlobContainer::from_connection(&format!("BlobEndpoint={endpoint};SharedAccessSignature={signature};container={name}"))
            .unwrap()
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.shell.wait();
    }
}

/// A container signature for the permissions `may`. Source: "Create a service SAS".
pub fn container_signature(container: &str, may: &str, expiry: &str) -> String {
    let version = "2020-12-06";
    let to_sign = format!("{may}\n\n{expiry}\n/blob/{ACCOUNT}/{container}\n\n\n\n{version}\nc\n\n\n\n\n\n\n");
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(KEY).unwrap()).unwrap();
    mac.update(to_sign.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let parts = BTreeMap::from([("sv", version), ("sr", "c"), ("sp", may), ("se", expiry), ("sig", &signature)]);
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish()
}

/// A store of a container that needs no token.
pub fn store(container: &BlobContainer) -> BlobStore {
    assert!(!matches!(container.access, BlobAccess::Identity));
    BlobStore::new(container.clone(), Arc::new(EmulatorToken))
}

/// [`store`] over another HTTP client.
pub fn store_over(container: &BlobContainer, http: Arc<dyn HttpClient>) -> BlobStore {
    store(container).with_http(http)
}

/// A fresh container in Azurite over http, by a signature.
pub async fn signed_store() -> Option<BlobStore> {
    let azurite = over_http()?;
    Some(store(&azurite.by_signature(&azurite.container_by_key()).await))
}

/// A fresh container in Azurite over https, by a token.
pub fn token_store() -> Option<BlobStore> {
    let secure = over_https()?;
    Some(token_store_of(secure, &secure.container()))
}

pub fn token_store_of(secure: &SecureAzurite, container: &BlobContainer) -> BlobStore {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([secure.authority.clone()]).build().unwrap();
    BlobStore::new(container.clone(), Arc::new(EmulatorToken)).with_http(Arc::new(http))
}

pub struct SecureAzurite {
    pub azurite: Azurite,
    /// What signed the server's certificate, and the file with it.
    pub authority: reqwest::Certificate,
    pub authority_file: PathBuf,
    _folder: TempDir,
}

impl SecureAzurite {
    fn start() -> Option<Self> {
        program()?;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, pem: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "test authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        let certificate = file("leaf.pem", leaf.signed_by(&key, &issuer).unwrap().pem());
        let key = file("key.pem", key.serialize_pem());
        let authority_file = file("authority.pem", authority_pem.clone());
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let arguments = ["--inMemoryPersistence", "--blobPort", "0", "--oauth", "basic", "--cert", &certificate, "--key", &key];
        Some(Self {
            azurite: Azurite::start(&arguments, None)?,
            authority: reqwest::Certificate::from_pem(authority_pem.as_bytes()).unwrap(),
            authority_file,
            _folder: folder,
        })
    }

    /// A container that nobody else uses, for the identity; it is not there yet.
    pub fn container(&self) -> BlobContainer {
        BlobContainer::from_url(&format!("{}/c-{}", self.azurite.endpoint, Uuid::new_v4())).unwrap()
    }
}

/// An identity whose tokens Azurite takes: it reads them, and does not check who signed them.
#[derive(Debug)]
pub struct EmulatorToken;

#[async_trait::async_trait]
impl TokenCredential for EmulatorToken {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["https://storage.azure.com/.default"]);
        Ok(AccessToken::new(emulator_token(), OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap()))
    }
}

/// Composed after what Azurite checks: audience, issuer and times.
pub fn emulator_token() -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "alg": "RS256", "typ": "JWT" }));
    let tenant = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let claims = part(json!({
        "aud": "https://storage.azure.com",
        "iss": format!("https://sts.windows.net/{tenant}/"),
        "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 4_000_000_000_u64,
        "oid": tenant, "tid": tenant, "ver": "1.0"
    }));
    format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode("no signature"))
}
