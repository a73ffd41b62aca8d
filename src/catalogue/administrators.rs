//! Administrators with their compiled policies, by access key.

use super::roles::BadPolicies;
use crate::base::Secret;
use crate::config::Config;
use crate::policy::{Document, Grants, Purpose, Statements};
use std::collections::HashMap;
use std::sync::Arc;

/// An administrator, whose access key signs requests to the AWS APIs.
#[derive(Debug)]
pub struct Administrator {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// The secret of the access key.
    pub secret_access_key: Secret,
    /// The policies.
    pub grants: Grants,
}

/// All administrators of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Administrators(HashMap<String, Arc<Administrator>>);

impl Administrators {
    /// Compiles the policies of `config`.
    ///
    /// # Errors
    /// Returns one line for each invalid policy document, with its location.
    pub fn compile(config: &Config) -> Result<Self, BadPolicies> {
        let (mut wrong, mut all) = (Vec::new(), HashMap::new());
        for administrator in &config.administrators {
            let mut documents = Vec::new();
            for file in &administrator.policies {
                match Document::parse(&file.text, Purpose::Identity) {
                    Ok(document) => documents.push(document.named(&file.name)),
                    Err(mistake) => wrong.push(format!("{}:{mistake}", file.path.display())),
                }
            }
            let compiled = Administrator {
                name: administrator.name.clone(),
                arn: format!("arn:aws:iam::{}:user/{}", config.account_id, administrator.name),
                secret_access_key: administrator.secret_access_key.clone(),
                grants: Grants { policies: Statements::of(&documents), bounds: Vec::new() },
            };
            all.insert(administrator.access_key_id.clone(), Arc::new(compiled));
        }
        if wrong.is_empty() { Ok(Self(all)) } else { Err(BadPolicies::new(wrong)) }
    }

    /// Returns the administrator with this access key.
    pub fn with_access_key(&self, id: &str) -> Option<&Arc<Administrator>> {
        self.0.get(id)
    }
}
