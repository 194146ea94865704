//! Lookups over HTTPS: which servers are believed.

use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate_lookup::{LookupConfig, Lookups};
use tidegate_types::decision::LookupError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_by_the_authority_that_was_named_and_by_its_name() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("it goes with its key");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await;
            let _ = stream.shutdown().await;
        }
    });
    let file = std::env::temp_dir().join(format!("tidegate-lookup-ca-{}.pem", std::process::id()));
    std::fs::write(&file, made.cert.pem()).expect("written");
    let believed =
        |name: &str| json!({ "kind": "http", "url": format!("https://{name}:{port}/{{key}}"), "ca": file });
    assert_eq!(ask(&believed("localhost")).await, Ok("hello".into()));
    assert_eq!(ask(&believed("127.0.0.1")).await, Err(LookupError::Unreachable), "another name");
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&file, stranger.cert.pem()).expect("written");
    assert_eq!(ask(&believed("localhost")).await, Err(LookupError::Unreachable), "another authority");
    std::fs::write(&file, "no certificate").expect("written");
    let config = LookupConfig::read("people", &believed("localhost")).expect("it is sound");
    let told = Lookups::start(vec![config]).expect_err("nobody could be believed").to_string();
    assert!(told.contains("people") && told.contains("ca ") && told.contains("PEM"), "{told}");
    std::fs::remove_file(&file).expect("it is there");
}

async fn ask(config: &serde_json::Value) -> Result<String, LookupError> {
    let config = LookupConfig::read("people", config).expect("it is sound");
    let lookups = Lookups::start(vec![config]).expect("it starts");
    let (tell, told) = tokio::sync::oneshot::channel();
    let until = Instant::now() + Duration::from_secs(20);
    lookups.ask("people", "ada", until, |found| tell.send(found).expect("the test waits"));
    told.await.expect("every question is answered")
}
