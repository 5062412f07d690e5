//! The account key of an emulator, as a signature that we make ourselves: the crate knows tokens and signatures only.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::refusal::Refusal;

/// The service version whose string to sign this is.
const VERSION: &str = "2020-12-06";

/// Never leaves this machine, and must outlast the process.
const EXPIRY: &str = "9999-12-31T23:59:59Z";

/// A signature for everything in the account's blob service, as a URL's query. Source: "Create an account SAS".
pub(super) fn signature(account: &str, key: &SecretString) -> Result<SecretString, Refusal> {
    const NO_KEY: Refusal = Refusal::MakesNoSense("the `AccountKey` in `BACKOUT_STORE` is no key");
    let key = STANDARD.decode(key.expose_secret()).map_err(|_| NO_KEY)?;
    let (permissions, services, kinds, protocols) = ("rwdlac", "b", "sco", "https,http");
    let to_sign = format!("{account}\n{permissions}\n{services}\n{kinds}\n\n{EXPIRY}\n\n{protocols}\n{VERSION}\n\n");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| NO_KEY)?;
    mac.update(to_sign.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("sv", VERSION)
        .append_pair("ss", services)
        .append_pair("srt", kinds)
        .append_pair("sp", permissions)
        .append_pair("se", EXPIRY)
        .append_pair("spr", protocols)
        .append_pair("sig", &signature)
        .finish();
    Ok(SecretString::from(query))
}
