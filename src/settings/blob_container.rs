//! A container in blob storage, and what opens it: three forms of one setting, one type.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::SecretString;
use url::Url;

use super::endpoint;

/// A container, and what opens it.
#[derive(Debug, Clone)]
pub struct BlobContainer {
    /// Without query and fragment, and without a `/` at its end.
    pub url: Url,
    pub access: BlobAccess,
}

#[derive(Debug, Clone)]
pub enum BlobAccess {
    /// Tokens of the managed identity; over https only.
    Identity,
    /// A shared access signature: a URL's query, without the `?`.
    Signature(SecretString),
    /// The account key of an emulator on this machine, in base64.
    EmulatorKey { account: String, key: SecretString },
}

/// Why a text names no container that can be used. Shows nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    pub says: String,
    pub hint: &'static str,
}

const SIGNATURE_FORM: &str = "write `BlobEndpoint=https://ACCOUNT.blob.core.windows.net;SharedAccessSignature=SIGNATURE;container=NAME`; `az storage container generate-sas --account-name ACCOUNT --name NAME --permissions racwdl --expiry TIME` makes a signature";

/// Well-known, the same in every emulator. Source: Azurite's documentation, section "Default storage account".
const EMULATOR_ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1";
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

impl Unusable {
    fn new(says: &str, hint: &'static str) -> Self {
        Self { says: says.to_owned(), hint }
    }
}

impl BlobContainer {
    /// Whether `text` is meant as a connection string. A signature in one may hold a URL, so this is asked first.
    pub fn is_connection(text: &str) -> bool {
        let keys = ["accountname=", "blobendpoint=", "usedevelopmentstorage=", "sharedaccesssignature="];
        let text = text.to_ascii_lowercase();
        keys.iter().any(|key| text.contains(key))
    }

    /// The URL of a container: with a shared access signature as its query, else for the managed identity.
    pub fn from_url(text: &str) -> Result<Self, Unusable> {
        let mut url = endpoint::parse(text).map_err(not_callable)?;
        let signature = url.query().map(str::to_owned);
        url.set_query(None);
        url.set_fragment(None);
        let access = match signature {
            Some(signature) => signed(&signature)?,
            None if url.scheme() == "http" => {
                return Err(Unusable::new(
                    "is a plain http URL without a signature, and a token is sent over https only",
                    "append a shared access signature (`?sv=...&sig=...`), or write `UseDevelopmentStorage=true;container=NAME` for Azurite",
                ));
            }
            None => BlobAccess::Identity,
        };
        // Behind an emulator's address the account stands before the container.
        let segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
        if !matches!(segments.len(), 1 | 2) || !segments.last().is_some_and(|name| is_container_name(name)) {
            return Err(Unusable::new(
                "is a URL without the name of a container",
                "write `https://ACCOUNT.blob.core.windows.net/CONTAINER`",
            ));
        }
        let path = segments.join("/");
        url.set_path(&path);
        Ok(Self { url, access })
    }

    /// A storage connection string with a part `container=NAME`.
    pub fn from_connection(text: &str) -> Result<Self, Unusable> {
        let part = |key: &str| {
            text.split(';').find_map(|part| {
                let (name, value) = part.split_once('=')?;
                (name.trim().eq_ignore_ascii_case(key) && !value.trim().is_empty()).then(|| value.trim().to_owned())
            })
        };
        let Some(container) = part("container") else {
            return Err(Unusable::new("is a storage connection string without a container", "append `;container=NAME`"));
        };
        if !is_container_name(&container) {
            return Err(Unusable::new(
                "names a container that cannot exist",
                "write 3 to 63 lower-case letters, digits and single hyphens after `;container=`",
            ));
        }
        if part("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            let key = SecretString::from(EMULATOR_KEY);
            return Self::inside(
                EMULATOR_ENDPOINT,
                &container,
                BlobAccess::EmulatorKey { account: EMULATOR_ACCOUNT.to_owned(), key },
            );
        }
        match (part("BlobEndpoint"), part("SharedAccessSignature"), part("AccountKey")) {
            (Some(endpoint), Some(signature), _) => Self::inside(&endpoint, &container, signed(&signature)?),
            (Some(endpoint), None, Some(key)) => Self::with_key(&endpoint, &container, part("AccountName"), key),
            (None, None, Some(_)) => Err(key_of_azure()),
            (None, Some(_), _) => Err(Unusable::new("names no `BlobEndpoint`", SIGNATURE_FORM)),
            (Some(_) | None, None, None) => {
                Err(Unusable::new("is a storage connection string without a signature", SIGNATURE_FORM))
            }
        }
    }

    fn with_key(endpoint: &str, container: &str, account: Option<String>, key: String) -> Result<Self, Unusable> {
        let Some(account) = account else {
            return Err(Unusable::new("holds an account key without its `AccountName`", SIGNATURE_FORM));
        };
        if STANDARD.decode(&key).is_err() {
            return Err(Unusable::new("holds an `AccountKey` that is no base64", "copy the whole key, with the `=` at its end"));
        }
        let found = Self::inside(endpoint, container, BlobAccess::EmulatorKey { account, key: SecretString::from(key) })?;
        if endpoint::is_loopback(&found.url) { Ok(found) } else { Err(key_of_azure()) }
    }

    fn inside(endpoint: &str, container: &str, access: BlobAccess) -> Result<Self, Unusable> {
        let mut url = endpoint::parse(endpoint).map_err(not_callable)?;
        url.set_query(None);
        url.set_fragment(None);
        let path = format!("{}/{container}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self { url, access })
    }

    pub fn name(&self) -> &str {
        self.url.path().rsplit('/').next().unwrap_or_default()
    }
}

/// Whoever has the key of an account may do anything to it, for ever: nothing that a handler in Azure should hold.
fn key_of_azure() -> Unusable {
    Unusable::new("holds an account key, which is taken for an emulator on this machine only", SIGNATURE_FORM)
}

fn signed(signature: &str) -> Result<BlobAccess, Unusable> {
    let signature = signature.trim_start_matches('?');
    let has_signature = url::form_urlencoded::parse(signature.as_bytes()).any(|(name, value)| name == "sig" && !value.is_empty());
    if !has_signature {
        return Err(Unusable::new(
            "has a query that is no shared access signature (it has no `sig`)",
            "copy the whole signature, or write the URL without a query to use the managed identity",
        ));
    }
    Ok(BlobAccess::Signature(SecretString::from(signature)))
}

fn not_callable(problem: endpoint::EndpointProblem) -> Unusable {
    let hint = "write the https URL of a blob container, such as `https://ACCOUNT.blob.core.windows.net/CONTAINER`; plain http is allowed on loopback only";
    Unusable { says: problem.to_string(), hint }
}

/// Source: naming rules of blob containers.
fn is_container_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
