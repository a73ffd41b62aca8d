//! The operations of Cognito user pools: each reads its request, calls the directory, and writes
//! its response.

mod account;
mod admin_users;
mod client_request;
mod client_secrets;
mod clients;
mod devices;
mod domains;
mod factors;
mod groups;
mod identity_providers;
mod lambda_config;
mod list_users;
mod mfa_config;
mod pool_request;
mod pool_shape;
mod pools;
mod provider_links;
mod resource_servers;
mod schema;
mod shapes;
mod sign_in;
mod sign_up;
mod tags;
mod tokens;
mod ui_customization;

use super::operation::{Handler, Operation, OperationSummary};

/// The operations of each family.
const FAMILIES: [&[Operation]; 19] = [
    sign_up::OPERATIONS,
    sign_in::OPERATIONS,
    account::OPERATIONS,
    tokens::OPERATIONS,
    admin_users::OPERATIONS,
    list_users::OPERATIONS,
    groups::OPERATIONS,
    pools::OPERATIONS,
    clients::OPERATIONS,
    client_secrets::OPERATIONS,
    domains::OPERATIONS,
    resource_servers::OPERATIONS,
    identity_providers::OPERATIONS,
    provider_links::OPERATIONS,
    tags::OPERATIONS,
    mfa_config::OPERATIONS,
    factors::OPERATIONS,
    devices::OPERATIONS,
    ui_customization::OPERATIONS,
];

/// Returns the operation of this name.
pub fn find_operation(name: &str) -> Option<&'static Operation> {
    all_operations().find(|operation| operation.name == name)
}

/// Returns the operations that are implemented.
pub fn operations() -> impl Iterator<Item = OperationSummary> {
    all_operations().map(|operation| OperationSummary {
        name: operation.name,
        is_signed: matches!(operation.handler, Handler::Admin(_)),
    })
}

fn all_operations() -> impl Iterator<Item = &'static Operation> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

#[cfg(test)]
mod tests {
    use super::super::model::COGNITO_IDP;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn operations_are_signed_as_the_model_says() {
        let mut names = HashSet::new();
        for operation in operations() {
            let model = COGNITO_IDP.operation(operation.name).expect(operation.name);
            assert_eq!(model.unsigned, !operation.is_signed, "{}", operation.name);
            assert!(names.insert(operation.name), "{} occurs twice", operation.name);
        }
    }
}
