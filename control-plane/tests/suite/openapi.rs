//! The OpenAPI document is the one that was agreed on.

use std::path::Path;

use http::Method;

use crate::database::Database;
use crate::world::World;

/// What clients are made from. After a wanted change, `UPDATE_SNAPSHOTS=1 cargo test -p control-plane openapi` writes it anew.
#[test]
fn the_document_is_the_snapshot() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = control_plane::openapi_document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let snapshot = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        document == snapshot,
        "openapi.json differs from what the routes say; if that is wanted, run this test with UPDATE_SNAPSHOTS=1 and look at \
         the difference"
    );
}

#[tokio::test]
async fn the_document_and_the_page_are_served() {
    let database = Database::sqlite();
    let world = World::new(&database).await;
    let served = world.send(Method::GET, "/openapi.json", None, None).await.expect(200).json();
    assert_eq!(served, serde_json::to_value(control_plane::openapi_document()).unwrap());
    let page = world.send(Method::GET, "/reference", None, None).await.expect(200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    for (path, _) in served["paths"].as_object().unwrap() {
        assert!(page.text.contains(&format!("{path}</code>")), "{path} is not on the page");
    }
    for (name, _) in served["components"]["schemas"].as_object().unwrap() {
        assert!(page.text.contains(&format!("id=\"{name}\"")), "{name} is not on the page");
    }
}
