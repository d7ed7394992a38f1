//! TLS and SCRAM: by OpenSSL, so only where the feature `kafka-tls` is built.

use std::sync::Arc;

use eventyard_connectors::sink::Sink;

use super::cluster::{Disk, Running, own_secured, source, unique, until};
use super::writing::{json, request, sink};

/// What reaches the cluster with this password, trusting that certificate, or what the machine trusts.
fn login(mechanism: &str, password: &str, ca: Option<&str>) -> String {
    let tls = ca.map(|ca| format!("ca = \"{ca}\"")).unwrap_or_default();
    format!(
        "tls = {{ {tls} }}\nsasl = {{ mechanism = \"{mechanism}\", username = \"eventyard\", password = \"{password}\" }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_over_tls_writes_and_reads_and_says_what_is_wrong() {
    let Some(kafka) = own_secured(9692, "kafka-secured") else { return };
    let (brokers, ca) = kafka.secured.clone().unwrap();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let topic = unique(&mechanism.to_lowercase());
        kafka.create_topic(&topic, 1, &[]).await;
        let keys =
            |login: &str| format!("brokers = [\"{brokers}\"]\ntopics = [\"{topic}\"]\ngroup = \"{topic}\"\n{login}");
        let right = login(mechanism, "right", Some(&ca));
        let written = sink(&brokers, &topic, &right);
        for number in 0..3 {
            written.send(request(json(format!("{{\"n\":{number}}}")))).await.unwrap();
        }
        let disk = Arc::<Disk>::default();
        let running = Running::start(source(&keys(&right)).unwrap(), &disk);
        until("all are read", || disk.count() >= 3).await;
        running.stop().await;
        assert_eq!(disk.numbers(), [0, 1, 2]);

        let wrong_ones = [
            ("auth", login(mechanism, "hunter2-is-wrong", Some(&ca))),
            ("tls", login(mechanism, "hunter2-is-right", None)),
        ];
        for (code, wrong) in wrong_ones {
            let disk = Arc::<Disk>::default();
            let running = Running::start(source(&keys(&wrong)).unwrap(), &disk);
            until("it fails", || running.control.status().failure_count >= 1).await;
            let error = running.control.status().last_error.unwrap();
            assert_eq!(error.code, code, "{}", error.message);
            assert!(!error.message.contains("hunter2"), "{}", error.message);
            running.stop().await;
            let error = sink(&brokers, &topic, &format!("{wrong}\noptions = {{ \"message.timeout.ms\" = \"5000\" }}"))
                .send(request(json("{}".to_owned())))
                .await
                .unwrap_err();
            assert_eq!((error.code.as_str(), error.retryable), (code, true), "{}", error.message);
            assert!(!error.message.contains("hunter2"), "{}", error.message);
        }
    }
    kafka.wipe();
}
