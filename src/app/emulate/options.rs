//! The options of `narthex run --emulate`.

use super::code::FixedCode;
use clap::{Args, ValueEnum};
use std::net::IpAddr;

/// The options of the emulator.
#[derive(Args, Clone)]
#[group(skip)]
pub struct Options {
    /// The emulator's loopback address, such as 127.0.0.1 or ::1
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", requires = "emulate",
          value_parser = LoopbackAddress::parse)]
    pub(super) listen: LoopbackAddress,
    /// The emulator's port
    #[arg(long, value_name = "PORT", default_value_t = 9229, requires = "emulate")]
    pub(super) port: u16,
    /// The account in the emulator's ARNs: twelve digits
    #[arg(long, value_name = "ID", default_value = "123456789012", requires = "emulate",
          value_parser = account_id)]
    pub(super) account_id: String,
    /// One code of six digits for each message of the emulator, instead of random ones
    #[arg(long, value_name = "CODE", requires = "emulate", value_parser = FixedCode::parse)]
    pub(super) code: Option<FixedCode>,
    /// The issuer of the emulator's tokens: AWS's, or the emulator's own address
    #[arg(long, value_enum, default_value_t = IssuerForm::Aws, requires = "emulate")]
    pub(super) issuer: IssuerForm,
}

/// The form of the issuer in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IssuerForm {
    /// `https://cognito-idp.REGION.amazonaws.com/POOL_ID`
    Aws,
    /// `http://localhost:PORT/POOL_ID`
    Local,
}

/// An address that only this machine reaches.
#[derive(Clone, Copy, Debug)]
pub struct LoopbackAddress(IpAddr);

impl LoopbackAddress {
    /// Parses an address. Rejects one that another machine could reach.
    ///
    /// # Errors
    /// Returns a message.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let ip: IpAddr = text.parse().map_err(|_| "write an IP address, such as 127.0.0.1".to_owned())?;
        match ip.is_loopback() {
            true => Ok(Self(ip)),
            false => {
                Err("the emulator accepts any access key, and listens on loopback addresses only, such \
                          as 127.0.0.1"
                    .to_owned())
            }
        }
    }

    /// Returns the address.
    pub(super) fn ip(self) -> IpAddr {
        self.0
    }
}

fn account_id(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("an account id has twelve digits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_accepted() {
        for good in ["127.0.0.1", "127.0.0.2", "::1"] {
            assert!(LoopbackAddress::parse(good).is_ok(), "{good}");
        }
        for bad in ["0.0.0.0", "::", "192.168.0.1", "10.0.0.1", "::ffff:10.0.0.1", "localhost", ""] {
            assert!(LoopbackAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
