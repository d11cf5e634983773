//! More tenants than the first: what the control plane will do, done by hand to the directory in the bucket.

use segment_store::{Bucket as _, GetRange, LocalBucket, PutCondition, Seed};
use tenancy::{ApiKey, DirectoryDocument, DirectorySigner, KeyEntry, Limits, Scope, TenantEntry};

use super::{Farwatch, eventually};

/// Adds a tenant with one key and waits until the server knows it; returns the key.
pub(crate) async fn add_tenant(server: &mut Farwatch, id: &str, scopes: &[Scope]) -> String {
    add_tenant_with(server, id, scopes, Limits::unlimited()).await
}

/// The same with limits.
pub(crate) async fn add_tenant_with(
    server: &mut Farwatch,
    id: &str,
    scopes: &[Scope],
    limits: Limits,
) -> String {
    let key = ApiKey::generate(&mut Seed::from_os().unwrap().rng());
    let entry = KeyEntry::of(&key, scopes.iter().copied());
    change_directory(server, |document| {
        document.tenants.push(TenantEntry {
            id: id.to_owned(),
            shard: 0,
            retention_days: 30,
            home_cell: None,
            limits,
            keys: vec![entry],
        });
    })
    .await;
    key.expose().to_owned()
}

/// Publishes a changed directory and waits until it is in force.
pub(crate) async fn change_directory(server: &Farwatch, change: impl FnOnce(&mut DirectoryDocument)) {
    let bucket = LocalBucket::open(&server.data_dir().join("bucket")).unwrap();
    let seed = std::fs::read_to_string(server.data_dir().join("directory.key")).unwrap();
    let seed: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap()).collect();
    let signer = DirectorySigner::from_seed(&seed.try_into().unwrap());
    let published = bucket.get("directory", GetRange::Full).await.unwrap();
    let mut document = DirectoryDocument::open(&published.body, &signer.verifier()).unwrap();
    document.version += 1;
    change(&mut document);
    let version = document.version;
    let body = document.publish(&signer).unwrap().into();
    bucket.put("directory", body, PutCondition::IfMatch(published.etag), None).await.unwrap();
    let line = format!("farwatch_directory_version {version}\n");
    eventually("the directory", std::time::Duration::from_secs(5), async || {
        let page =
            server.client.get(format!("{}/metrics", server.url)).send().await.map_err(|e| e.to_string())?;
        let text = page.text().await.map_err(|e| e.to_string())?;
        if text.contains(&line) { Ok(()) } else { Err(format!("version {version} is not in force")) }
    })
    .await;
}
