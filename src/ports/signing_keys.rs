//! The keys by which a tenant's tokens are checked.

use super::PortError;

/// One public RSA key; numbers in base64url, as in a JSON Web Key (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// `kid` in the header of the tokens that it signed.
    pub id: String,
    pub modulus: String,
    pub exponent: String,
}

#[async_trait::async_trait]
pub trait SigningKeySource: Send + Sync {
    /// Every key that signs now or will soon. Asked every time; called twice: nothing changes.
    async fn signing_keys(&self) -> Result<Vec<SigningKey>, PortError>;
}
