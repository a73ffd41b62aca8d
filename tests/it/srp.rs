//! SRP sign-ins of AWS's own client, amazon-cognito-identity-js, and of pycognito.

use crate::support::process::parties;
use narthex::base::{Clock as _, Entropy, SystemClock, SystemEntropy, sha256};
use narthex::directory::srp::{Challenge, Claim, Realm, SALT_LENGTH, SrpError, Verifier};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Range;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The number of passwords, unless NARTHEX_DIFFERENTIAL has another.
const PASSWORDS: u32 = 200;
const POOLS: [&str; 3] = ["eu-central-1_Ab3dEf6hI", "us-east-1_000000000", "ap-south-1_zZzZzZzZz"];
/// Numbers of leading zero digits of B, and the number of a b that gives them; found by search.
const ZEROS_IN_B: [(usize, u32); 2] = [(1, 11), (2, 684)];
const SECRET_BLOCK: &[u8] = b"\x00a sealed block\xff";

/// A reproducible source: the number-th digest of a name.
struct Series(&'static str, u32);

impl Series {
    fn bytes(&self) -> [u8; 32] {
        sha256(format!("{}{}", self.0, self.1))
    }
}

impl Entropy for Series {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.bytes()[..buffer.len()]);
    }
}

/// A process that signs in, order by order.
struct Client {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    fn start(command: &[&str]) -> Self {
        let mut process = Command::new(command[0])
            .args(&command[1..])
            .current_dir(parties())
            .env("PYTHONUTF8", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, orders, answers }
    }

    fn ask(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{order}: {line}"))
    }

    fn sign_in(&mut self, case: &Case, password: &str, entropy: &dyn Entropy) -> Result<(), SrpError> {
        let asked = self.ask(&json!({"pool": case.pool, "user": "alias", "password": password}));
        let public = asked["SRP_A"].as_str().unwrap();
        let challenge = Challenge::begin(&case.verifier(), public, entropy).unwrap();
        if let Some(zeros) = case.zeros_of_b {
            // The digits are padded to whole bytes, with one zero byte where the first bit is set.
            let digits = challenge.server_public.trim_start_matches('0').len();
            assert_eq!(768 - digits, zeros, "leading zero digits of B");
        }
        let answer = self.ask(&json!({
            "USERNAME": case.user,
            "USER_ID_FOR_SRP": case.user,
            "SALT": challenge.salt,
            "SRP_B": challenge.server_public,
            "SECRET_BLOCK": base64(SECRET_BLOCK),
        }));
        assert_eq!(answer["PASSWORD_CLAIM_SECRET_BLOCK"], base64(SECRET_BLOCK));
        Claim {
            realm: Realm::of_pool(case.pool).unwrap(),
            user_id: &case.user,
            secret_block: SECRET_BLOCK,
            timestamp: answer["TIMESTAMP"].as_str().unwrap(),
            signature: answer["PASSWORD_CLAIM_SIGNATURE"].as_str().unwrap(),
        }
        .verify(&challenge.key, SystemClock.now())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A user and its password.
struct Case {
    pool: &'static str,
    user: String,
    password: String,
    salt: [u8; SALT_LENGTH],
    zeros_of_b: Option<usize>,
}

impl Case {
    fn numbered(number: u32) -> Self {
        let mut salt: [u8; SALT_LENGTH] = Series("salt", number).bytes()[..SALT_LENGTH].try_into().unwrap();
        // Zero bytes, with and without a first bit after them, and a zero digit.
        match number % 8 {
            0 => salt[0] = 0,
            1 => salt[..2].copy_from_slice(&[0, 0x80]),
            2 => salt[..3].copy_from_slice(&[0, 0, 0x7f]),
            3 => salt[0] &= 0x0f,
            _ => {}
        }
        let pool = POOLS[number as usize % POOLS.len()];
        let user = if number.is_multiple_of(2) {
            format!("user-{number}")
        } else {
            format!("Jörg {number}@example.com")
        };
        Self { pool, user, password: password(number), salt, zeros_of_b: None }
    }

    /// A user whose B has `zeros` leading zero digits when b is of the series.
    fn with_zeros_in_b(zeros: usize) -> Self {
        let (user, password) = ("alice".to_owned(), "Pässwörd-1".to_owned());
        let salt = Series("salt", 0).bytes()[..SALT_LENGTH].try_into().unwrap();
        Self { pool: POOLS[0], user, password, salt, zeros_of_b: Some(zeros) }
    }

    fn verifier(&self) -> Verifier {
        Verifier::derive(Realm::of_pool(self.pool).unwrap(), &self.user, &self.password, self.salt)
    }
}

/// Returns 1 to 63 characters, none of them white space, as the API's pattern `[\S]+` demands.
fn password(number: u32) -> String {
    let bytes: Vec<u8> = (0..8).flat_map(|part| Series("password", 8 * number + part).bytes()).collect();
    let length = usize::from(bytes[255]) % 63 + 1;
    bytes.chunks(4).take(length).map(|chunk| character(chunk.try_into().unwrap())).collect()
}

/// Returns a character of one to four bytes, each length as likely as the others.
fn character([range, random @ ..]: [u8; 4]) -> char {
    let range = [0x80, 0x800, 0x1_0000, 0x11_0000][usize::from(range) % 4];
    let [high, middle, low] = random;
    char::from_u32(u32::from_be_bytes([0, high, middle, low]) % range)
        .filter(|c| !c.is_whitespace())
        .unwrap_or('x')
}

fn sign_in_all(command: &[&str], numbers: Range<u32>) {
    let mut client = Client::start(command);
    for (zeros, b) in ZEROS_IN_B {
        let case = Case::with_zeros_in_b(zeros);
        assert_eq!(
            client.sign_in(&case, &case.password, &Series("b", b)),
            Ok(()),
            "{command:?}: {zeros} zeros"
        );
    }
    let begun = std::time::Instant::now();
    for number in numbers.clone() {
        let case = Case::numbered(number);
        let context = format!("{command:?}, number {number}: {:?}", case.password);
        assert_eq!(client.sign_in(&case, &case.password, &SystemEntropy), Ok(()), "{context}");
        if number % 20 == 0 {
            let wrong = client.sign_in(&case, &format!("{}x", case.password), &SystemEntropy);
            assert_eq!(wrong, Err(SrpError::WrongSignature), "{context}");
        }
    }
    println!("{command:?}: {} sign-ins in {:.1?}", numbers.len(), begun.elapsed());
}

/// Returns the numbers of the passwords, half for each client.
fn halves() -> [Range<u32>; 2] {
    let number = std::env::var("NARTHEX_DIFFERENTIAL").ok().and_then(|text| text.parse().ok());
    let number = number.unwrap_or(PASSWORDS);
    [0..number / 2, number / 2..number]
}

#[test]
fn amazon_cognito_identity_js_signs_in() {
    sign_in_all(&["node", "srp-client.mjs"], 0..4);
}

#[test]
fn amazon_cognito_identity_js_signs_in_with_many_passwords() {
    let [first, _] = halves();
    sign_in_all(&["node", "srp-client.mjs", "native"], first);
}

#[test]
fn pycognito_signs_in_with_many_passwords() {
    let [_, second] = halves();
    sign_in_all(&["venv/bin/python", "srp-client.py"], second);
}
