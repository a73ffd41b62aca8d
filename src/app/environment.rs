//! What a deployment is built from besides its configuration. `narthex run` with a configuration or
//! the demo uses [`Environment::default`]. The emulator constructs another one in a module of its
//! own; nothing in the configuration or in a request leads to it.

use crate::aws::{self, SignedAccess};
use crate::directory::{CodeSource, Directory, DirectoryDeps, HasherSettings};
use crate::handlers::AppState;
use crate::message::{Delivery, MessageSink};
use axum::Router;
use std::sync::Arc;

/// The parts of a deployment that the emulator replaces; the default is production's.
#[derive(Clone, Default)]
pub struct Environment {
    /// The cost of password hashes.
    pub hashing: HasherSettings,
    /// The parts that the emulator replaces.
    pub emulation: Option<Emulation>,
}

/// The replaced parts.
#[derive(Clone)]
pub struct Emulation {
    /// The authentication of signed requests.
    pub access: Arc<dyn SignedAccess>,
    /// The source of codes; random codes if absent.
    pub codes: Option<Arc<dyn CodeSource>>,
    /// The receiver of messages.
    pub messages: Arc<dyn MessageSink>,
}

impl Environment {
    /// Starts the directory.
    ///
    /// # Errors
    /// Returns an error if a thread cannot be started, or memory is missing.
    pub fn directory(&self, deps: DirectoryDeps) -> std::io::Result<Directory> {
        match self.emulation.as_ref().and_then(|emulation| emulation.codes.clone()) {
            Some(codes) => Directory::start_with_codes(deps, self.hashing, codes),
            None => Directory::start(deps, self.hashing),
        }
    }

    /// Returns the routes of the Cognito API.
    pub fn api(&self, app: Arc<AppState>) -> Router {
        match &self.emulation {
            Some(emulation) => aws::router_with(app, emulation.access.clone()),
            None => aws::router(app),
        }
    }

    /// Returns the delivery of messages to where they go.
    pub fn delivery(&self, delivery: Delivery) -> Delivery {
        match &self.emulation {
            Some(emulation) => delivery.into_sink(emulation.messages.clone()),
            None => delivery,
        }
    }

    /// Returns whether the user pools of the configuration are written to the database. The
    /// emulator begins without any pool.
    pub fn has_file_pools(&self) -> bool {
        self.emulation.is_none()
    }
}
