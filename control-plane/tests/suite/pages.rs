//! The pages behind the links in mails, as a browser without scripts uses them.

use http::{Method, Request};

use crate::database::{Database, on_both_databases};
use crate::world::{Answer, PASSWORD, World};

on_both_databases!(
    an_address_is_confirmed_on_a_page,
    a_password_is_replaced_on_a_page,
    an_invitation_is_accepted_on_a_page
);

const EMAIL: &str = "ada@example.com";

async fn get(world: &World, path: &str) -> Answer {
    let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
    world.send_request("192.0.2.1".parse().unwrap(), request).await
}

async fn post(world: &World, path: &str, fields: &[(&str, &str)]) -> Answer {
    let escaped =
        |text: &str| text.replace('%', "%25").replace('#', "%23").replace('&', "%26").replace('+', "%2B");
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let request = Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(axum::body::Body::from(body.join("&").replace(' ', "+")))
        .unwrap();
    world.send_request("192.0.2.2".parse().unwrap(), request).await
}

async fn an_address_is_confirmed_on_a_page(database: &Database) {
    let world = World::new(database).await;
    world.ask("/accounts", serde_json::json!({ "email": EMAIL, "password": PASSWORD })).await.expect(202);
    let mail = world.mailbox.next(EMAIL).await;
    let link = mail.text.split_whitespace().find(|word| word.contains("#token=")).unwrap();
    let token = link.split_once('#').unwrap().1;
    let page = get(&world, "/verify").await.expect(200);
    assert!(page.text.contains("<form") && page.headers["content-type"].to_str().unwrap().contains("html"));
    // Who looks at the link changes nothing.
    world.log_in(EMAIL, PASSWORD).await.problem(401);

    let wrong =
        post(&world, "/verify", &[("link", link), ("password", "another password")]).await.expect(401);
    assert!(wrong.text.contains("role=\"alert\"") && wrong.text.contains(token), "the link stays: {wrong:?}");
    assert!(!wrong.text.contains("another password"));
    let done = post(&world, "/verify", &[("link", link), ("password", PASSWORD)]).await.expect(200);
    assert!(!done.text.contains("<form") && done.text.contains("farwatch login"), "{done:?}");
    world.log_in(EMAIL, PASSWORD).await.expect(201);
    post(&world, "/verify", &[("link", link), ("password", PASSWORD)]).await.expect(401);
}

async fn a_password_is_replaced_on_a_page(database: &Database) {
    let world = World::new(database).await;
    world.person("ada").await;
    world.ask("/accounts/password-reset", serde_json::json!({ "email": EMAIL })).await.expect(202);
    let token = world.mailbox.next_token(EMAIL).await;
    get(&world, "/reset").await.expect(200);
    let weak = post(&world, "/reset", &[("link", &token), ("password", "short")]).await.expect(422);
    assert!(weak.text.contains("role=\"alert\""), "{weak:?}");
    post(&world, "/reset", &[("link", &token), ("password", "a new password")]).await.expect(200);
    world.log_in(EMAIL, PASSWORD).await.problem(401);
    world.log_in(EMAIL, "a new password").await.expect(201);
}

async fn an_invitation_is_accepted_on_a_page(database: &Database) {
    let world = World::new(database).await;
    let (owner, ada) = (world.person("owner").await, world.person("ada").await);
    let organisation = world.organisation(&owner).await;
    let invitations = format!("/organisations/{organisation}/invitations");
    let wanted = serde_json::json!({ "email": EMAIL, "role": "viewer" });
    world.post(&invitations, &owner, wanted).await.expect(201);
    let token = world.mailbox.next_token(EMAIL).await;
    get(&world, "/join").await.expect(200);
    let join = async |email: &str, password: &str| {
        post(&world, "/join", &[("link", &token), ("email", email), ("password", password), ("code", "")])
            .await
    };
    join(EMAIL, "another password").await.expect(401);
    join(&owner.email, PASSWORD).await.expect(404);
    world.get(&format!("/organisations/{organisation}"), &ada).await.problem(404);
    join(EMAIL, PASSWORD).await.expect(200);
    world.get(&format!("/organisations/{organisation}"), &ada).await.expect(200);
}

/// Nothing from elsewhere is loaded, nobody can put a frame around them, and no other place learns where one was.
#[tokio::test]
async fn every_page_says_what_a_browser_may_do_with_it() {
    let database = Database::sqlite();
    let world = World::new(&database).await;
    for page in control_plane::PAGES {
        let path = page.replace(['{', '}'], "");
        let shown = get(&world, &path).await.expect(200);
        assert_eq!(shown.headers["referrer-policy"], "no-referrer");
        assert_eq!(shown.headers["cache-control"], "no-store");
        assert_eq!(shown.headers["x-content-type-options"], "nosniff");
        let policy = shown.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        for field in shown.text.split("<input ").skip(1) {
            let id = field.split_once("id=\"").unwrap().1.split_once('"').unwrap().0;
            assert!(shown.text.contains(&format!("<label for=\"{id}\">")), "{id} has no label");
        }
        // Whoever has no token gets nothing, and learns nothing.
        if shown.text.contains("<form") {
            let fields = [("link", "nonsense"), ("email", EMAIL), ("password", "correct horse battery")];
            post(&world, &path, &fields).await.expect(401);
            post(&world, &path, &[]).await.expect(400);
            post(&world, &path, &[("link", &"x".repeat(100_000)), ("password", "")]).await.expect(413);
        }
        let request =
            Request::builder().method(Method::DELETE).uri(&path).body(axum::body::Body::empty()).unwrap();
        world.send_request("192.0.2.3".parse().unwrap(), request).await.expect(405);
    }
}
