//! HMAC-SHA256 over the bytes of the body, with a secret that only the sender and we know.

use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Why a signature does not hold. Says nothing about the secret or about the signature that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    #[error("is missing, or was sent more than once")]
    Missing,
    #[error("is not `sha256=` and 64 hexadecimal digits")]
    NotInThatForm,
    #[error("does not fit the body; is the secret the same on both sides, and was the body sent as it was signed?")]
    DoesNotFit,
}

/// Checks a header of the form `sha256=` and the hexadecimal HMAC of `body`: GitHub's `X-Hub-Signature-256`, Flux's `X-Signature`.
///
/// The comparison takes the same time wherever the first difference is.
pub fn check(header: Option<&str>, body: &[u8], secret: &SecretString) -> Result<(), SignatureProblem> {
    let header = header.ok_or(SignatureProblem::Missing)?;
    let digits = header.trim().strip_prefix("sha256=").ok_or(SignatureProblem::NotInThatForm)?;
    let claimed = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| SignatureProblem::NotInThatForm)?;
    if claimed.len() != SHA256_BYTES {
        return Err(SignatureProblem::NotInThatForm);
    }
    // A key of any length will do for HMAC.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| SignatureProblem::DoesNotFit)?;
    mac.update(body);
    mac.verify_slice(&claimed).map_err(|_| SignatureProblem::DoesNotFit)
}

const SHA256_BYTES: usize = 32;
