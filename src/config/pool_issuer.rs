//! The form of the `iss` claim of user pools' tokens.

use super::Config;

/// The form of the `iss` claim of user pools' tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolIssuer {
    /// The pool's id below `public_url`: the form of every configuration file.
    #[default]
    PublicUrl,
    /// AWS's, as in `https://cognito-idp.us-east-1.amazonaws.com/us-east-1_abcdefghi`. The region
    /// is that of the pool's id.
    Aws,
}

impl Config {
    /// Returns the `iss` claim of the tokens of the pool with this id.
    pub fn issuer_of(&self, pool_id: &str) -> String {
        match self.pool_issuer {
            PoolIssuer::PublicUrl => self.pool_url(pool_id),
            PoolIssuer::Aws => {
                let region = pool_id.split_once('_').map_or("", |(region, _)| region);
                format!("https://cognito-idp.{region}.amazonaws.com/{pool_id}")
            }
        }
    }

    /// Returns the URL below which the keys and the metadata of the pool with this id are.
    pub fn pool_url(&self, pool_id: &str) -> String {
        self.public_url.join(&format!("/{pool_id}"))
    }
}
