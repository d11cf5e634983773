//! What a server tells its operator without being asked.

use std::time::Duration;

use crate::harness::eventually;
use crate::harness::farwatch::{Farwatch, Options};

/// Looks like a key, and is none.
const GUESS: &str = "fw_0123456789abcdef_guess";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_credentials_and_variables_that_are_no_settings_are_warned_of() {
    let variables = vec![("FARWATCH_LOG_FROMAT", "json".to_owned())];
    let server = Farwatch::start_with(Options { variables, ..Options::default() }).await;
    let told = "variable=\"FARWATCH_LOG_FROMAT\" did_you_mean=\"FARWATCH_LOG_FORMAT\"";
    assert!(server.said().contains(told), "{}", server.said());

    for path in ["/api/v1/query?query=up", "/api/v1/labels"] {
        let asked = server.client.get(format!("{}{path}", server.url)).bearer_auth(GUESS);
        assert_eq!(asked.send().await.unwrap().status(), 401);
    }
    let write = server.client.post(format!("{}/api/v1/write", server.url));
    assert_eq!(write.send().await.unwrap().status(), 401);
    let told = "turned away for their credentials requests=1 without credentials, 2 with something that is no API key";
    eventually("the warning", Duration::from_secs(20), async || match server.said().contains(told) {
        true => Ok(()),
        false => Err(server.said()),
    })
    .await;
    assert!(!server.said().contains(GUESS));
}
