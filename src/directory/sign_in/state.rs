//! States, answers and facts of a sign-in.

use crate::base::Secret;
use crate::model::{AppClientSettings, Factor, FirstFactor, MfaMode, MfaSettings, PoolSettings, UserStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The kind of a sign-in, chosen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// User name and password in the first message.
    UserPassword,
    /// The same, sent by an application's server with an administrator's key.
    AdminUserPassword,
    /// Secure Remote Password: the password never leaves the client.
    UserSrp,
    /// The user chooses among the challenges that the pool and the user have.
    UserAuth,
    /// Functions of the pool make the challenges.
    Custom,
    /// The pool's own sign-in page.
    Page,
    /// A second factor in a session that exists.
    StepUp,
}

/// Each flow with its name in `AuthFlow`, and the entry of `ExplicitAuthFlows` that allows it. A
/// page belongs to the pool, and needs none.
const FLOWS: [(Flow, &str, &str); 7] = [
    (Flow::UserPassword, "USER_PASSWORD_AUTH", "ALLOW_USER_PASSWORD_AUTH"),
    (Flow::AdminUserPassword, "ADMIN_USER_PASSWORD_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH"),
    (Flow::UserSrp, "USER_SRP_AUTH", "ALLOW_USER_SRP_AUTH"),
    (Flow::UserAuth, "USER_AUTH", "ALLOW_USER_AUTH"),
    (Flow::Custom, "CUSTOM_AUTH", "ALLOW_CUSTOM_AUTH"),
    (Flow::Page, "", ""),
    (Flow::StepUp, "", ""),
];

impl Flow {
    /// Returns every flow.
    pub fn all() -> impl Iterator<Item = Self> {
        FLOWS.iter().map(|(flow, ..)| *flow)
    }

    /// Returns the flow of this name in `AuthFlow`; `None` for a name without a flow.
    pub fn parse(name: &str) -> Option<Self> {
        FLOWS.iter().find(|(_, known, _)| !known.is_empty() && *known == name).map(|(flow, ..)| *flow)
    }

    /// Returns whether the sign-in is on the pool's own pages.
    pub fn is_on_page(self) -> bool {
        matches!(self, Self::Page | Self::StepUp)
    }

    /// Returns the name in `AuthFlow`; empty for the page.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the entry of a client's `ExplicitAuthFlows` that allows the flow; empty for the
    /// page.
    pub fn setting(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        FLOWS.iter().find(|(flow, ..)| *flow == self).expect("invariant: the table has every flow")
    }
}

/// The challenge that a sign-in waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// `SELECT_CHALLENGE`: which challenge to begin with.
    SelectChallenge,
    /// `EMAIL_OTP`, `SMS_OTP`: the code that replaces a password.
    FirstFactor(Factor),
    /// A confirmed sign-up, whose code replaces a password.
    SignUpConfirmed {
        /// The factor to whose address the code was sent.
        verified: Factor,
        /// When the password was set, in milliseconds; 0 without one.
        password_set_at: i64,
    },
    /// `PASSWORD_VERIFIER`: the proof of a Secure Remote Password exchange.
    PasswordVerifier {
        /// The server's state of the exchange.
        exchange: ExchangeState,
        /// When the password was set that the exchange is about, in milliseconds; 0 without one.
        password_set_at: i64,
    },
    /// `NEW_PASSWORD_REQUIRED`: a password in place of the temporary one, and the required
    /// attributes.
    NewPasswordRequired {
        /// When the temporary password was set that was right, in milliseconds.
        password_set_at: i64,
    },
    /// The code of an unconfirmed user's sign-up; on the page alone.
    ConfirmSignUp {
        /// When the password was set that was right, in milliseconds: the code then completes the
        /// sign-in. `None` after a wrong password.
        password_set_at: Option<i64>,
    },
    /// `SELECT_MFA_TYPE`: which second factor to answer with.
    SelectFactor,
    /// `SOFTWARE_TOKEN_MFA`, `EMAIL_OTP`, `SMS_MFA`: the code of a second factor.
    Factor(Factor),
    /// `CUSTOM_CHALLENGE`: one that a function of the pool made.
    Custom {
        /// What the function keeps with it.
        private: PrivateParameters,
        /// What the function calls it.
        metadata: Option<String>,
    },
    /// `DEVICE_SRP_AUTH`: the start of the exchange of a remembered device.
    Device {
        /// The key of the device.
        key: String,
    },
    /// `DEVICE_PASSWORD_VERIFIER`: the proof of that exchange.
    DeviceVerifier {
        /// The key of the device.
        key: String,
        /// The server's state of the exchange.
        exchange: ExchangeState,
    },
    /// `MFA_SETUP`: a software token, for a user without a second factor.
    SetUpFactor {
        /// Whether the first code of the new token was right.
        is_verified: bool,
        /// The secret of the new token, if there is one.
        #[serde(default)]
        secret: Option<TokenSecret>,
    },
}

/// What a function keeps with its challenge, perhaps the right answer: sealed wherever it leaves
/// the process.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivateParameters(pub BTreeMap<String, String>);

impl std::fmt::Debug for PrivateParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateParameters(…)")
    }
}

/// What follows the challenges so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// A challenge of a function.
    Custom,
    /// A password, by Secure Remote Password.
    Password,
    /// The user is authenticated.
    IssueTokens,
    /// The sign-in has failed.
    Fail,
}

/// The secret of a software token that is set up: sealed wherever it leaves the process.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenSecret(pub Vec<u8>);

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// The server's state of an exchange: secret, and sealed wherever it leaves the process.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExchangeState(pub Vec<u8>);

impl std::fmt::Debug for ExchangeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExchangeState(…)")
    }
}

impl Challenge {
    /// Returns the name in `ChallengeName`; empty for a challenge of the page alone.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SelectChallenge => "SELECT_CHALLENGE",
            Self::FirstFactor(factor) => FirstFactor::of_code(*factor).map_or("", FirstFactor::name),
            Self::PasswordVerifier { .. } => "PASSWORD_VERIFIER",
            Self::NewPasswordRequired { .. } => "NEW_PASSWORD_REQUIRED",
            Self::ConfirmSignUp { .. } | Self::SignUpConfirmed { .. } => "",
            Self::SelectFactor => "SELECT_MFA_TYPE",
            Self::Factor(factor) => factor.name(),
            Self::Custom { .. } => "CUSTOM_CHALLENGE",
            Self::Device { .. } => "DEVICE_SRP_AUTH",
            Self::DeviceVerifier { .. } => "DEVICE_PASSWORD_VERIFIER",
            Self::SetUpFactor { .. } => "MFA_SETUP",
        }
    }
}

impl Challenge {
    /// Returns whether the challenge is of a user who proved a first factor.
    pub fn follows_first_factor(&self) -> bool {
        match self {
            Self::SelectFactor | Self::Factor(_) | Self::SetUpFactor { .. } => true,
            Self::Device { .. } | Self::DeviceVerifier { .. } => true,
            Self::SelectChallenge
            | Self::FirstFactor(_)
            | Self::Custom { .. }
            | Self::SignUpConfirmed { .. }
            | Self::PasswordVerifier { .. }
            | Self::NewPasswordRequired { .. }
            | Self::ConfirmSignUp { .. } => false,
        }
    }

    /// Returns whether the challenge is an exchange, which its secret block identifies.
    pub fn is_exchange(&self) -> bool {
        matches!(self, Self::PasswordVerifier { .. } | Self::DeviceVerifier { .. })
    }

    /// Returns the device of the challenge.
    pub fn device_key(&self) -> Option<&str> {
        match self {
            Self::Device { key } | Self::DeviceVerifier { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// Where a sign-in is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The first message of a flow.
    Begin(Flow),
    /// A challenge was sent.
    Challenged(Challenge),
}

impl State {
    /// Returns the second factor that a right answer to the state proves.
    pub fn factor(&self) -> Option<Factor> {
        match self {
            Self::Challenged(Challenge::Factor(factor)) => Some(*factor),
            Self::Challenged(Challenge::SetUpFactor { .. }) => Some(Factor::SoftwareToken),
            _ => None,
        }
    }
}

/// A client's message: the first one, or the answer to a challenge.
#[derive(Clone, Debug)]
pub enum Answer {
    /// No credential yet: the start of [`Flow::UserAuth`] without a preferred challenge.
    Nothing,
    /// The first factor that the user chose, whose code is sent.
    FirstFactor(Factor),
    /// A password.
    Password(Secret),
    /// The client's public value of Secure Remote Password, in hexadecimal digits.
    SrpA(String),
    /// The client's proof of Secure Remote Password.
    SrpProof {
        /// `TIMESTAMP`.
        timestamp: String,
        /// `PASSWORD_CLAIM_SIGNATURE`, in base64.
        signature: String,
    },
    /// A new password.
    NewPassword {
        /// The password.
        password: Secret,
        /// `userAttributes.*`.
        attributes: BTreeMap<String, String>,
    },
    /// The answer to a challenge of a function.
    Custom(Secret),
    /// A code that was sent in a message, or that an authenticator app shows.
    Code(Secret),
    /// The second factor that the user chose.
    Factor(Factor),
    /// The software token was set up.
    FactorSetUp,
}

/// The settings of the pool and the app client that decide about a sign-in.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The flows that the client may use.
    pub flows: Vec<Flow>,
    /// Whether an unknown user gets the answers of a wrong password (`PreventUserExistenceErrors`).
    pub hide_unknown_users: bool,
    /// Whether the user is on the pool's own page, and fills in missing attributes alone.
    pub on_page: bool,
    /// The first factors of the pool.
    pub first_factors: Vec<FirstFactor>,
    /// The second factors of the pool.
    pub mfa: MfaSettings,
    /// Whether a remembered device replaces the second factor.
    pub device_replaces_factor: bool,
}

impl Rules {
    /// Returns the rules of a client in a pool. An entry of `ExplicitAuthFlows` that this version
    /// does not know allows nothing.
    pub fn of(client: &AppClientSettings, pool: &PoolSettings) -> Self {
        let flows = Flow::all().filter(|flow| client.allows_auth_flow(flow.setting())).collect();
        Self {
            flows,
            hide_unknown_users: client.hide_unknown_users,
            on_page: false,
            first_factors: pool.first_factors.clone(),
            mfa: pool.mfa.clone(),
            device_replaces_factor: pool.devices.replaces_factor,
        }
    }

    /// Returns whether the pool's users can sign in with this first factor.
    pub fn has_first_factor(&self, of: FirstFactor) -> bool {
        self.first_factors.contains(&of)
    }

    /// Returns whether a second factor is required.
    pub fn requires_factor(&self) -> bool {
        self.mfa.mode == MfaMode::Required
    }

    /// Returns whether a user without a second factor can set one up while signing in.
    pub fn can_set_up_factor(&self) -> bool {
        self.mfa.factors.contains(&Factor::SoftwareToken)
    }
}

/// What is known of the user, read for this step.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The user; `None` if no user has the name.
    pub user: Option<UserFacts>,
    /// Whether the name is locked after wrong passwords.
    pub locked: bool,
    /// The challenges that were answered, in a sign-in with custom challenges; `None` in another
    /// one.
    pub rounds: Option<usize>,
    /// The first factors with which the name can sign in; simulated ones if no user has it.
    pub first_factors: Vec<FirstFactor>,
    /// Whether the session of a step-up has just begun.
    pub session_is_new: bool,
    /// The result of the [`Work`](super::Work) that the last call asked for.
    pub result: Option<WorkResult>,
}

/// A device that the client names at a sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NamedDevice {
    /// None, or the pool remembers no devices.
    #[default]
    None,
    /// One that the user does not have.
    Unknown,
    /// One of the user that is not remembered.
    Known,
    /// A remembered one, with its key.
    Remembered(String),
}

/// A user, as far as a sign-in depends on it.
#[derive(Clone, Debug)]
pub struct UserFacts {
    /// The status.
    pub status: UserStatus,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When the password was set, in milliseconds; 0 without one. A challenge is void once it
    /// differs.
    pub password_set_at: i64,
    /// Whether the password is a temporary one that has expired.
    pub temporary_password_expired: bool,
    /// The required attributes without a value.
    pub missing_attributes: Vec<String>,
    /// The required attributes with a value.
    pub present_attributes: Vec<String>,
    /// The second factors of which the sign-in asks for one. A code that was the first factor is
    /// none.
    pub factors: Vec<Factor>,
    /// Whether the user has turned on a factor, usable or not.
    pub demands_factor: bool,
    /// The one that is asked for without a choice.
    pub preferred_factor: Option<Factor>,
    /// The device that the client names.
    pub device: NamedDevice,
    /// Whether the user proved a first factor in an earlier step of this sign-in, and has the same
    /// password since.
    pub proved_first_factor: bool,
}

/// The result of work outside of the state machine.
#[derive(Clone, Debug)]
pub enum WorkResult {
    /// Of [`Work::CheckPassword`](super::Work::CheckPassword).
    Password(PasswordCheck),
    /// Of [`Work::BeginSrp`](super::Work::BeginSrp) and
    /// [`Work::BeginDeviceSrp`](super::Work::BeginDeviceSrp): the server's state of the exchange;
    /// `None` for a public value that the protocol refuses.
    SrpBegun(Option<ExchangeState>),
    /// Of [`Work::CheckSrpProof`](super::Work::CheckSrpProof) and
    /// [`Work::CheckDeviceProof`](super::Work::CheckDeviceProof): whether it is right.
    SrpProof(bool),
    /// Of [`Work::PrepareNewPassword`](super::Work::PrepareNewPassword).
    NewPassword(Result<(), Box<super::Refusal>>),
    /// Of [`Work::CheckCode`](super::Work::CheckCode) and
    /// [`Work::CheckFirstCode`](super::Work::CheckFirstCode).
    Code(Result<(), Box<super::Refusal>>),
    /// Of [`Work::DefineChallenge`](super::Work::DefineChallenge).
    Defined(Definition),
    /// Of [`Work::CreateChallenge`](super::Work::CreateChallenge).
    Created {
        /// What the function keeps.
        private: PrivateParameters,
        /// What the function calls it.
        metadata: Option<String>,
    },
    /// Of [`Work::VerifyAnswer`](super::Work::VerifyAnswer): the next definition depends on the
    /// result.
    Answered,
    /// Of [`Work::CheckFactor`](super::Work::CheckFactor).
    Factor(Result<(), Box<super::Refusal>>),
}

/// The result of a comparison of passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// Another password, or the user has none.
    Wrong,
    /// The right one.
    Right {
        /// Whether the stored hash has other parameters than new ones have, or no verifier for
        /// Secure Remote Password although a client needs it.
        outdated: bool,
    },
}
