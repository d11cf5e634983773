//! `/readyz` says 200 when reads and writes are served, and 503 before.

use std::process::Stdio;
use std::time::Duration;

use crate::harness::eventually;
use crate::harness::farwatch::{BINARY, client};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn not_ready_before_it_is_known_what_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let segments = directory.path().join("bucket/fresh/0");
    std::fs::create_dir_all(&segments).unwrap();
    // A name that leads to itself cannot be looked at, so no listing comes to an end.
    let obstacle = segments.join("obstacle");
    std::os::unix::fs::symlink(&obstacle, &obstacle).unwrap();
    let said = directory.path().join("said");
    let _child = tokio::process::Command::new(BINARY)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&said).unwrap())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let address = eventually("the port", LONG, async || {
        let said = std::fs::read_to_string(&said).unwrap();
        let address = said.split_once("listening on http://").and_then(|(_, rest)| rest.split_once('\n'));
        address.map(|(address, _)| address.trim().to_owned()).ok_or(said)
    })
    .await;
    let ask = async |path: &str| {
        let answer = client().get(format!("http://{address}{path}")).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        Ok::<_, String>((answer.status().as_u16(), answer.text().await.unwrap()))
    };
    // The port is bound before it is served.
    let alive = eventually("an answer", LONG, async || ask("/healthz").await).await;
    assert_eq!(alive.0, 200, "{alive:?}");
    let (status, text) = ask("/readyz").await.unwrap();
    assert!(status == 503 && text.starts_with("not ready"), "{status} {text}");

    std::fs::remove_file(&obstacle).unwrap();
    eventually("readiness", LONG, async || match ask("/readyz").await? {
        (200, _) => Ok(()),
        (status, text) => Err(format!("{status} {text}")),
    })
    .await;
}
