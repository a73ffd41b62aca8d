//! Certificates that an administrator would have got from somewhere.

use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a self-signed certificate for `host`, good for `days`, and its key.
pub fn make(cert: &Path, key: &Path, organization: &str, host: &str, days: u32) {
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", &days.to_string(), "-subj", &format!("/O={organization}/CN=x")])
        .args([
            "-addext",
            &format!("subjectAltName=DNS:{host}"),
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(cert)
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("openssl is installed").success());
}
