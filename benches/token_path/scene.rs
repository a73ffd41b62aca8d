//! The measured parts: proxies, requests, and text of the results.

use super::apache;
use super::bare::{bare, bare_that_signs, bare_with_both};
use super::load::{Load, Way};
use super::measure::{
    self, FEW, LONG, Measured, SHORT_TURNS, Spread, TURNS, in_turn, in_turn_with, instructions,
};
use super::proxies::{Proxy, ROLES, ROUTES, Told, envoy, haproxy, narthex, nginx, people, user_pool};
use super::report::{microseconds, ratio, ratios, table};
use super::tls::Over;
use super::tokens::{self, Issuer, for_a_token, for_the_keys};
use narthex::jose::{Algorithm, JwkSet, Jws};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Number of tokens and sessions.
const TOKENS: usize = 10_000;
const SESSIONS: usize = 2_000;
/// Numbers of tokens and sessions: in a large deployment, and as many as the processor's caches
/// hold.
const MANY: usize = 100_000;
const FEW_LIVE: usize = 100;
/// Number of rounds.
pub const ROUNDS: usize = 7;
const REQUESTS_A_ROUND: usize = 24_000;
/// Requests per round if no token may be repeated: each costs a signature beforehand.
const NEW_A_ROUND: usize = 4_000;
/// Requests per round if each is a handshake.
const HANDSHAKES_A_ROUND: usize = 4_000;
/// Requests per round if each costs a signature.
const ISSUED_A_ROUND: usize = 4_000;

const UNDER_POLICY: &str = "access = \"policy\"\nbearer = true";

/// The issuer, the load and the upstream.
pub struct Scene {
    issuer: Arc<Issuer>,
    load: Load,
    rounds: usize,
}

impl Scene {
    /// Creates a scene with this many rounds.
    pub fn new(rounds: usize) -> Self {
        Self { issuer: Arc::new(Issuer::new()), load: Load::new(), rounds }
    }

    /// Describes the measurement.
    pub fn description(&self) -> String {
        format!(
            "One worker on one core, load and upstream on the other; {TOKENS} tokens (RS256) or {SESSIONS} sessions, in \
             turn over {ROUTES} routes of ten statements each; {} rounds in turn, over 8 connections, by a load that never \
             sleeps; each round is a process of its own. HAProxy and Envoy assert nothing to the app.",
            self.rounds
        )
    }

    fn narthex(&self, name: &'static str, requests: impl FnOnce(&str, &Path) -> Vec<Vec<u8>>) -> Proxy {
        self.narthex_of(None, name, requests)
    }

    /// Returns a Narthex of another build.
    fn narthex_of(
        &self,
        program: Option<String>,
        name: &'static str,
        requests: impl FnOnce(&str, &Path) -> Vec<Vec<u8>>,
    ) -> Proxy {
        let told = Told { name, route: UNDER_POLICY, tables: ROLES.to_owned(), program };
        narthex(&told, self.load.upstream(), &self.issuer, requests)
    }

    /// Returns requests with this many tokens, beginning with `first`.
    fn tokens(&self, first: usize, count: usize) -> Vec<Vec<u8>> {
        let tokens: Vec<String> = (first..first + count).map(|person| self.issuer.token(person)).collect();
        tokens::with_tokens(&tokens)
    }

    pub fn instructions(&self, report: &mut String) {
        let told = Told { name: "narthex, a session", route: "", tables: String::new(), program: None };
        let signed_in = narthex(&told, self.load.upstream(), &self.issuer, people(SESSIONS));
        let log = "[log]\naccess = \"json\"\naccess_file = \"access.log\"\n".to_owned();
        let told = Told { name: "narthex, a session, with the access log", tables: log, ..told };
        let logged = narthex(&told, self.load.upstream(), &self.issuer, people(SESSIONS));
        let session = self.narthex("narthex, a session, under policy", people(SESSIONS));
        let with_tokens = self.tokens(0, TOKENS);
        let token = self.narthex("narthex, a token, under policy", |_, _| with_tokens.clone());
        let beside_session = bare(self.load.upstream(), session.requests.clone());
        let beside_token = bare(self.load.upstream(), with_tokens);
        let new = self.tokens(TOKENS, FEW + LONG);
        let with_both = bare_with_both(self.load.upstream(), &self.issuer, new.clone());
        let unseen = self.narthex("narthex, a token never seen, under policy", |_, _| new);
        let (plain, http1, http2) = (Way::Plain, Way::Tls(Over::Http1), Way::Tls(Over::Http2));
        // Each with the variant of bare pingora that it is compared with.
        let rows = [
            ("bare pingora, a session", 0, &beside_session, plain),
            ("narthex, a session", 0, &signed_in, plain),
            ("narthex, a session, under policy", 0, &session, plain),
            ("bare pingora, a token", 3, &beside_token, plain),
            ("narthex, a token, under policy", 3, &token, plain),
            ("narthex, a token never seen, under policy", 3, &unseen, plain),
            ("bare pingora, which verifies and signs", 3, &with_both, plain),
            ("bare pingora, a token, over TLS", 7, &beside_token, http1),
            ("narthex, a token, under policy, over TLS", 7, &token, http1),
            ("bare pingora, a token, by HTTP/2", 9, &beside_token, http2),
            ("narthex, a token, under policy, by HTTP/2", 9, &token, http2),
            ("narthex, a session, with the access log", 0, &logged, plain),
        ];
        writeln!(report, "\nCounted by callgrind, in user space.\n").unwrap();
        writeln!(report, "| | instructions | to bare pingora with the same requests |\n|---|---|---|")
            .unwrap();
        let mut counted = Vec::new();
        for (name, beside, proxy, way) in rows {
            let new = std::ptr::eq(proxy, &unseen) || std::ptr::eq(proxy, &with_both);
            counted.push(instructions(&self.load, proxy, way, new));
            let (count, beside) = (counted[counted.len() - 1], counted[beside]);
            writeln!(report, "| {name} | {count} | {:.3} |", count as f64 / beside as f64).unwrap();
        }
        // The second row is the baseline.
        let cost = counted[counted.len() - 1] as f64 / counted[1] as f64 - 1.0;
        writeln!(
            report,
            "\nThe access log costs {:.1} % of the instructions of a session's request.",
            100.0 * cost
        )
        .unwrap();
    }

    /// A quick comparison after a change: a cached token and a session against bare pingora, with
    /// and without TLS, or as `words` select. `NARTHEX_BENCH_OTHER` adds another build by its path.
    /// With `NARTHEX_BENCH_PROFILE` each runs under callgrind, for `callgrind_annotate`.
    pub fn beside(&self, words: &[String], report: &mut String) {
        let with_tokens = self.tokens(0, TOKENS);
        let mut all = vec![
            bare(self.load.upstream(), with_tokens.clone()),
            self.narthex("narthex, a token, under policy", |_, _| with_tokens.clone()),
            self.narthex("narthex, a session, under policy", people(SESSIONS)),
        ];
        if let Ok(other) = std::env::var("NARTHEX_BENCH_OTHER") {
            let other = Some(other);
            all.push(self.narthex_of(other.clone(), "the other build, a token", |_, _| with_tokens));
            all.push(self.narthex_of(other, "the other build, a session", people(SESSIONS)));
        }
        let all: Vec<&Proxy> = all.iter().collect();
        let ways = [
            ("plain", "A request", Way::Plain),
            ("http1", "A request over TLS, HTTP/1.1", Way::Tls(Over::Http1)),
            ("http2", "A request over TLS, HTTP/2", Way::Tls(Over::Http2)),
        ];
        let asked = |word: &str| words.iter().any(|asked| asked == word);
        let some = ways.iter().any(|(word, ..)| asked(word));
        for (_, title, way) in ways.into_iter().filter(|(word, ..)| !some || asked(word)) {
            if measure::profile().is_some() {
                println!("{title}");
                self.count(&all, way);
                continue;
            }
            let measured = in_turn(&self.load, &all, way, (self.rounds, REQUESTS_A_ROUND), false);
            table(report, title, &all, &measured);
            ratios(report, &all, &measured, [1, 2], &[0]);
            if all.len() > 3 {
                ratios(report, &all, &measured, [1, 2], &[3, 4]);
            }
        }
    }

    /// Reports the instructions of each, and the port in the name of its profile.
    fn count(&self, proxies: &[&Proxy], way: Way) {
        for proxy in proxies {
            let counted = instructions(&self.load, proxy, way, false);
            println!("{}: port {}, {counted} instructions", proxy.name, proxy.port);
        }
    }

    pub fn known(&self, report: &mut String) {
        let (upstream, issuer, with_tokens) = (self.load.upstream(), &self.issuer, self.tokens(0, TOKENS));
        let session = self.narthex("narthex, a session, under policy", people(SESSIONS));
        let token = self.narthex("narthex, a token, under policy", |_, _| with_tokens.clone());
        let bare = bare(upstream, with_tokens.clone());
        let nginx = nginx(upstream, with_tokens.clone());
        let haproxy = haproxy(upstream, issuer, with_tokens.clone());
        let cached =
            envoy("Envoy, jwt_authn cached, rbac", 2 * TOKENS, upstream, issuer, with_tokens.clone());
        let uncached = envoy("Envoy, jwt_authn, rbac", 0, upstream, issuer, with_tokens);
        let apache = apache::apache(upstream, self.issuer.clone(), SESSIONS);
        let all = [&bare, &nginx, &token, &session, &haproxy, &cached, &uncached, &apache];
        let measured = in_turn(&self.load, &all, Way::Plain, (self.rounds, REQUESTS_A_ROUND), false);
        table(report, "CPU a request, known tokens and sessions", &all, &measured);
        ratios(report, &all, &measured, [2, 3], &[0, 5, 4, 7]);
    }

    pub fn unseen(&self, report: &mut String) {
        // Each token is used once: signing them beforehand is the most expensive part.
        let new = self.tokens(TOKENS, 1 + 2 * NEW_A_ROUND);
        let unseen = self.narthex("narthex, a token never seen", |_, _| new.clone());
        let beside = bare(self.load.upstream(), new.clone());
        let with_both = bare_with_both(self.load.upstream(), &self.issuer, new.clone());
        let uncached = envoy("Envoy, jwt_authn, rbac", 0, self.load.upstream(), &self.issuer, new);
        let all = [&beside, &unseen, &uncached, &with_both];
        let (verification, signature) = (verification(&self.issuer), signature(Algorithm::Es256));
        let works: [measure::Work<'_>; 2] = [&verification, &signature];
        let much = (self.rounds, TURNS, NEW_A_ROUND);
        let (measured, worked) = in_turn_with(&self.load, (&all, &works), Way::Plain, much, true);
        table(report, "CPU a request, tokens never seen", &all, &measured);
        let [bare, narthex, uncached, with_both] = &measured[..] else { unreachable!("four are measured") };
        let both = |round: usize| bare.rounds[round].cpu + worked[0][round] + worked[1][round];
        let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
        let rounds = 0..self.rounds;
        let beyond = |one: &Measured| {
            microseconds(&Spread::of(rounds.clone().map(|round| one.rounds[round].cpu - both(round))))
        };
        writeln!(
            report,
            "\nA verification takes {:.1} µs, an assertion's signature {:.1} µs, on the same core in the same rounds. Bare \
             pingora with both: {:.1} µs; narthex takes {} µs more, and bare pingora that does both for each request {}. To \
             Envoy: {}.",
            median(&worked[0]),
            median(&worked[1]),
            Spread::of(rounds.clone().map(both)).median,
            beyond(narthex),
            beyond(with_both),
            ratio(&narthex.to(uncached, |round| round.cpu))
        )
        .unwrap();
    }
}

impl Scene {
    /// Measures handshakes, and cached tokens and sessions over TLS.
    pub fn tls(&self, report: &mut String) {
        let (upstream, issuer, with_tokens) = (self.load.upstream(), &self.issuer, self.tokens(0, TOKENS));
        let session = self.narthex("narthex, a session, under policy", people(SESSIONS));
        let token = self.narthex("narthex, a token, under policy", |_, _| with_tokens.clone());
        let bare = bare(upstream, with_tokens.clone());
        let nginx = nginx(upstream, with_tokens.clone());
        let haproxy = haproxy(upstream, issuer, with_tokens.clone());
        let envoy = envoy("Envoy, jwt_authn cached, rbac", 2 * TOKENS, upstream, issuer, with_tokens);
        for (title, over) in [
            ("CPU a connection, full handshakes (TLS 1.3, ECDSA P-256, X25519)", Over::Handshake),
            ("CPU a connection, resumed by ticket", Over::Resumption),
        ] {
            // Envoy sends tickets only with a response.
            let all = [&bare, &nginx, &haproxy, &token];
            let measured =
                in_turn(&self.load, &all, Way::Tls(over), (self.rounds, HANDSHAKES_A_ROUND), false);
            table(report, title, &all, &measured);
            writeln!(report, "\nRatios of CPU in the same round, median (range):\n").unwrap();
            for (beside, other) in all.iter().zip(&measured).take(3) {
                let ratio = ratio(&measured[3].to(other, |round| round.cpu));
                writeln!(report, "- narthex to {}: {ratio}", beside.name).unwrap();
            }
        }
        for (title, over) in [
            ("CPU a request over TLS, HTTP/1.1", Over::Http1),
            ("CPU a request over TLS, HTTP/2, four streams a connection", Over::Http2),
        ] {
            let all = [&bare, &nginx, &token, &session, &haproxy, &envoy];
            let way = Way::Tls(over);
            let measured = in_turn(&self.load, &all, way, (self.rounds, REQUESTS_A_ROUND), false);
            table(report, title, &all, &measured);
            ratios(report, &all, &measured, [2, 3], &[0, 5, 4]);
        }
    }

    /// Measures the issuing of a user pool token by `client_credentials`.
    pub fn issued(&self, report: &mut String) {
        let upstream = self.load.upstream();
        let with = |name, algorithm: Algorithm, request: Vec<u8>| {
            let told = Told { name, route: "", tables: user_pool(algorithm.name()), program: None };
            narthex(&told, upstream, &self.issuer, |_, _| vec![request])
        };
        let rows = [
            (Algorithm::Rs256, "/oauth2/token, RS256", "bare pingora, which signs RS256"),
            (Algorithm::Es256, "/oauth2/token, ES256", "the same, ES256"),
            (Algorithm::EdDsa, "/oauth2/token, EdDSA", "the same, EdDSA"),
        ];
        let key_set = with("the key set, by the same way", Algorithm::Es256, for_the_keys());
        let issuing = rows.map(|(algorithm, name, _)| with(name, algorithm, for_a_token()));
        let bare = bare(upstream, vec![for_the_keys()]);
        // The share of the signature in a request that does nothing else.
        let signing =
            rows.map(|(algorithm, _, name)| bare_that_signs(name, algorithm, upstream, for_the_keys()));
        if measure::profile().is_some() {
            // All except RS256, whose signatures would take too long.
            return self.count(&[&key_set, &issuing[1], &issuing[2]], Way::Plain);
        }
        let all: Vec<&Proxy> =
            [&key_set].into_iter().chain(&issuing).chain([&bare]).chain(&signing).collect();
        let signatures = rows.map(|(algorithm, ..)| signature(algorithm));
        let works: Vec<measure::Work<'_>> =
            signatures.iter().map(|signature| signature as measure::Work<'_>).collect();
        let much = (self.rounds, SHORT_TURNS, ISSUED_A_ROUND);
        let (measured, worked) = in_turn_with(&self.load, (&all, &works), Way::Plain, much, false);
        table(report, "CPU a request, tokens issued", &all, &measured);
        writeln!(
            report,
            "\nBeside the key set and a signature, on the same core in the same rounds, each token takes:\n"
        )
        .unwrap();
        let [key_set, rs256, es256, ed_dsa, bare, rs256_alone, es256_alone, ed_dsa_alone] = &measured[..]
        else {
            unreachable!("eight are measured")
        };
        let with_bare = [(rs256, rs256_alone), (es256, es256_alone), (ed_dsa, ed_dsa_alone)];
        for (((algorithm, ..), (issued, signed)), worked) in rows.into_iter().zip(with_bare).zip(&worked) {
            let more = |one: &Measured, beside: &Measured| {
                let more =
                    |(at, signature): (usize, &f64)| one.rounds[at].cpu - beside.rounds[at].cpu - signature;
                microseconds(&Spread::of(worked.iter().enumerate().map(more)))
            };
            let signature = microseconds(&Spread::of(worked.iter().copied()));
            writeln!(
                report,
                "- {}: {} µs more; a signature takes {signature} µs, and bare pingora that makes one for each request {} \
                 µs more than that",
                algorithm.name(),
                more(issued, key_set),
                more(signed, bare),
            )
            .unwrap();
        }
    }
}

impl Scene {
    /// Measures the effect of many tokens and sessions on memory and latency.
    pub fn live(&self, report: &mut String) {
        let tokens = self.tokens(0, MANY);
        let token_length = self.issuer.token(0).len() as f64;
        let few_tokens = self.narthex("100 tokens", |_, _| tokens[..FEW_LIVE].to_vec());
        let many_tokens = self.narthex("100,000 tokens", |_, _| tokens);
        let few_sessions = self.narthex("100 sessions", people(FEW_LIVE));
        let many_sessions = self.narthex("100,000 sessions", people(MANY));
        let session_length = many_sessions.store_size() as f64 / MANY as f64;
        let all = [&few_tokens, &many_tokens, &few_sessions, &many_sessions];
        let measured = in_turn(&self.load, &all, Way::Plain, (self.rounds, REQUESTS_A_ROUND), false);
        table(report, "CPU a request, many live tokens and sessions", &all, &measured);
        writeln!(report).unwrap();
        for (what, at, serialised) in [("token", 0, token_length), ("session", 2, session_length)] {
            let assertion = self.load.assertion(all[at]) as f64;
            let grown = (measured[at + 1].memory - measured[at].memory) as f64 / (MANY - FEW_LIVE) as f64;
            let ratio = ratio(&measured[at + 1].to(&measured[at], |round| round.cpu));
            writeln!(
                report,
                "- a {what}: {serialised:.0} bytes as it is {}, {assertion:.0} its assertion; {grown:.0} bytes of memory \
                 each, {:.2} of both together. To the CPU of {FEW_LIVE}: {ratio}",
                if at == 0 { "brought" } else { "in the store" },
                grown / (serialised + assertion),
            )
            .unwrap();
        }
    }
}

/// Returns one verification of a token.
fn verification(issuer: &Issuer) -> impl Fn() + Sync + use<> {
    let keys = JwkSet::read(issuer.jwks().to_string().as_bytes()).unwrap();
    let token = issuer.token(0);
    let jws = Jws::read(&token).unwrap();
    let (kid, message, signature) = (jws.kid.clone(), jws.message.to_vec(), jws.signature.clone());
    let algorithm = jws.algorithm;
    move || assert!(keys.verify(kid.as_deref(), algorithm, &message, &signature))
}

/// Returns one signature of a token.
fn signature(algorithm: Algorithm) -> impl Fn() + Sync {
    let key = tokens::signing_key(algorithm);
    move || drop(tokens::sign_something(&key))
}
