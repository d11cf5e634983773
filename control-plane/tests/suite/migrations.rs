//! Making the tables is safe to do twice, and by several processes at once.

use serde_json::json;

use crate::database::{Database, on_both_databases};
use crate::world::{PASSWORD, World};

on_both_databases!(starting_again_keeps_what_is_there, processes_that_start_at_once_make_the_tables_once);

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
