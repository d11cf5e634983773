//! Making the tables is safe to do twice, and by several processes at once.

use http::Method;
use serde_json::json;
use sqlx::{AnyConnection, Connection as _, Executor as _};

use crate::database::{Database, on_both_databases};
use crate::world::{PASSWORD, World};

on_both_databases!(
    starting_again_keeps_what_is_there,
    processes_that_start_at_once_make_the_tables_once,
    tenants_that_had_the_same_name_keep_it_until_they_are_renamed,
);

#[tokio::test]
async fn a_database_file_is_for_its_owner_only_whatever_its_name() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = tempfile::TempDir::new().unwrap();
    let folder = files.path().join("100 %");
    std::fs::create_dir(&folder).unwrap();
    let escaped = folder.display().to_string().replace('%', "%25");
    let database = Database::sqlite_in(std::path::Path::new(&escaped));
    let world = World::new(&database).await;
    world.person("ada").await;
    let mut seen = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        seen += 1;
    }
    assert!(seen >= 2);
}

async fn starting_again_keeps_what_is_there(database: &Database) {
    let mut world = World::new(database).await;
    let ada = world.person("ada").await;
    for _ in 0..2 {
        world.restart().await;
    }
    world.get("/account", &ada).await.expect(200);
    world.log_in(&ada.email, PASSWORD).await.expect(201);
    world.ask("/sessions/refresh", json!({ "refresh_token": ada.refresh })).await.expect(200);
}

async fn processes_that_start_at_once_make_the_tables_once(database: &Database) {
    let (one, two, three) = tokio::join!(World::new(database), World::new(database), World::new(database));
    let ada = one.person("ada").await;
    two.get("/account", &ada).await.expect(200);
    three.get("/account", &ada).await.expect(200);
}

async fn tenants_that_had_the_same_name_keep_it_until_they_are_renamed(database: &Database) {
    let mut world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let (one, two) = (world.tenant(&ada, &organisation).await, world.tenant(&ada, &organisation).await);
    // As it was before the rule.
    world.control_plane.shut_down().await;
    let mut old = AnyConnection::connect(&database.url).await.unwrap();
    for sql in [
        "DROP INDEX tenants_by_unique_name",
        "ALTER TABLE tenants DROP COLUMN unique_name",
        "DELETE FROM _sqlx_migrations WHERE version = 8",
        "UPDATE tenants SET name = 'production'",
    ] {
        old.execute(sql).await.unwrap();
    }
    old.close().await.unwrap();
    world.restart().await;
    let path = format!("/organisations/{organisation}/tenants");
    let listed = world.get(&path, &ada).await.expect(200).json();
    let named = listed["tenants"].as_array().unwrap().iter().filter(|tenant| tenant["name"] == "production");
    assert_eq!(named.count(), 2);
    let create = || world.post(&path, &ada, json!({ "name": "production" }));
    let rename = async |tenant: &str, name: &str| {
        let body = Some(json!({ "name": name }));
        world.send(Method::PATCH, &format!("/tenants/{tenant}"), Some(&ada.token), body).await
    };
    for tenant in [&one, &two] {
        assert_eq!(create().await.problem(409), "conflict");
        rename(tenant, &format!("production of {tenant}")).await.expect(204);
    }
    create().await.expect(201);
    assert_eq!(rename(&one, "production").await.problem(409), "conflict");

    // The release before goes on beside this one: it takes a name away without saying so.
    let mut old = AnyConnection::connect(&database.url).await.unwrap();
    old.execute("UPDATE tenants SET deleted_at_ms = 1 WHERE name = 'production'").await.unwrap();
    create().await.expect(201);
    old.execute("UPDATE tenants SET name = 'live' WHERE name = 'production'").await.unwrap();
    old.close().await.unwrap();
    rename(&one, "production").await.expect(204);
}
