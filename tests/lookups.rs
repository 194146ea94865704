//! A whole host whose stock `auth-token` has its keys looked up in a key set (JWKS) at a server on this machine: people
//! join over WebSocket with tokens that the issuer signed. Knows nothing of media.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidegate::config::{Config, PolicyChoice};
use tidegate::{Node, options::Options};
use tidegate_types::decision::Decision;
use tokio_tungstenite::tungstenite::Message;

/// Nothing here takes long; a test that waits for more has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who signs tokens: with keys of its own, which it shows.
struct Issuer {
    address: SocketAddr,
    shown: Arc<Mutex<Option<Value>>>,
}

impl Issuer {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shown: Arc<Mutex<Option<Value>>> = Arc::default();
        let keys = shown.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let answer = match keys.lock().expect("no panic").as_ref() {
                    Some(set) => format!("HTTP/1.1 200 OK\r\n\r\n{set}"),
                    None => "HTTP/1.1 503 Service Unavailable\r\n\r\n".to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, shown }
    }

    fn show(&self, keys: &[Value]) {
        *self.shown.lock().expect("no panic") = Some(json!({ "keys": keys }));
    }
}

/// One of its keys.
enum Key {
    Es256(EcdsaKeyPair),
    Rs256(Box<RsaKeyPair>),
}

impl Key {
    fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn rs256() -> Self {
        Self::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")))
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Self::Rs256(pair) => {
                // RFC 8017, appendix A.1.1: a sequence of two numbers, of 257 and 3 bytes.
                let key = pair.public_key().as_ref();
                let (modulus, exponent) = (&key[9..265], &key[267..]);
                assert_eq!((key.len(), exponent), (270, &[1, 0, 1][..]));
                json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": text(modulus), "e": text(exponent) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let chance = SystemRandom::new();
        match self {
            Self::Es256(pair) => pair.sign(&chance, message).expect("signed").as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &chance, message, &mut signature).expect("signed");
                signature
            }
        }
    }

    /// A token for a minute.
    fn token(&self, kid: &str) -> String {
        self.token_by(&json!({ "alg": self.algorithm(), "kid": kid }))
    }

    fn token_by(&self, header: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let claims = json!({ "exp": now + 60, "sub": "ada" });
        let signed =
            format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
        format!("{signed}.{}", text(&self.sign(signed.as_bytes())))
    }
}

/// Base64url without padding (RFC 4648, section 5).
fn text(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let word =
            chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| char::from(DIGITS[(word >> (18 - 6 * at)) as usize & 63]))
    });
    digits.collect()
}

/// A host that takes tokens by this issuer's key set, read as from its command line.
async fn host(issuer: &Issuer) -> Node {
    let lookup = json!({ "kind": "jwks", "url": format!("http://{}/jwks", issuer.address), "refetch-s": 1 });
    let arguments = ["tidegate".to_owned(), "--lookup".to_owned(), format!("keys={lookup}")];
    let options = Options::read(arguments.map(Into::into)).expect("sound flags");
    let lookups = Config::resolve(options, None).expect("a sound lookup").lookups;
    let mut config = Config { lookups, ..Config::local() };
    let choice = PolicyChoice {
        configuration: json!({ "key_set": "keys" }),
        ..PolicyChoice::unconfigured("auth-token")
    };
    config.policies.insert(Decision::Authorize, choice);
    Node::start(config).await.expect("it starts")
}

/// Joins; the identity that the grant names, or the refusal's code.
async fn join(node: &Node, token: &str) -> Result<String, String> {
    let joined = tokio::time::timeout(PATIENCE, async {
        let address = node.address();
        let stream = tokio::net::TcpStream::connect(address).await.expect("the host listens");
        let url = format!("ws://{address}/session");
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
        let request = json!({ "type": "join", "id": 1, "room": "hello", "name": "Ada", "token": token });
        socket.send(Message::text(request.to_string())).await.expect("the socket is open");
        loop {
            let message = socket.next().await.expect("an answer").expect("the socket stays open");
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["id"] == 1 {
                return message;
            }
        }
    });
    let message = joined.await.expect("the host answers in time");
    let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match message["type"].as_str() {
        Some("ok") => Ok(said(&message["person"])),
        _ => Err(said(&message["code"])),
    }
}

/// Joins until it comes out so: a new key is fetched a second after the last fetch at the earliest.
async fn join_until(node: &Node, token: &str, wanted: Result<(), &str>) {
    let began = std::time::Instant::now();
    loop {
        let came = join(node, token).await;
        if came.as_ref().map(drop).map_err(String::as_str) == wanted {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{came:?}, not {wanted:?}");
    }
}

fn page(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the host listens");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_taken_by_the_keys_that_their_issuer_shows_now() {
    let issuer = Issuer::new();
    let (spring, autumn, winter) = (Key::es256(), Key::rs256(), Key::es256());
    issuer.show(&[spring.jwk("spring"), autumn.jwk("autumn")]);
    let node = host(&issuer).await;
    assert!(join(&node, &spring.token("spring")).await.is_ok(), "ES256");
    assert!(join(&node, &autumn.token("autumn")).await.is_ok(), "RS256");
    for (token, code) in [
        (winter.token("spring"), "token-signature"),
        (spring.token("autumn"), "algorithm-not-allowed"),
        (spring.token_by(&json!({ "alg": "none", "kid": "spring" })), "algorithm-not-allowed"),
        (spring.token_by(&json!({ "alg": "HS256", "kid": "spring" })), "algorithm-not-allowed"),
        (spring.token_by(&json!({ "alg": "ES256" })), "token-key-unknown"),
        (String::new(), "token-missing"),
    ] {
        assert_eq!(join(&node, &token).await, Err(code.to_owned()), "{token}");
    }
    // The issuer turns to a new key, and takes an old one back.
    join_until(&node, &winter.token("winter"), Err("token-key-unknown")).await;
    issuer.show(&[autumn.jwk("autumn"), winter.jwk("winter")]);
    join_until(&node, &winter.token("winter"), Ok(())).await;
    assert_eq!(join(&node, &spring.token("spring")).await, Err("token-key-unknown".to_owned()));

    let address = node.address();
    let (metrics, decisions) = tokio::task::spawn_blocking(move || {
        (page(address, "/metrics"), page(address, "/api/v1/decisions?limit=20"))
    })
    .await
    .expect("no panic");
    assert!(metrics.contains("tidegate_lookup_asked_total{lookup=\"keys\"}"), "{metrics}");
    assert!(
        metrics.contains("tidegate_lookup_failures_total{lookup=\"keys\",kind=\"not-found\"}"),
        "{metrics}"
    );
    assert!(decisions.contains(r#""lookup":"keys","outcome":"found""#), "{decisions}");
    assert!(!decisions.contains("key_base64"), "no value is shown");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_while_the_keys_cannot_be_had_and_everybody_soon_after() {
    let issuer = Issuer::new();
    let key = Key::es256();
    let node = host(&issuer).await;
    assert_eq!(join(&node, &key.token("spring")).await, Err("keys-unavailable".to_owned()));
    issuer.show(&[key.jwk("spring")]);
    join_until(&node, &key.token("spring"), Ok(())).await;
    node.stop().await;
}
