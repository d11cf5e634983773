//! Every route, asked by everybody who may not: refused, with nothing said and nothing done.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::database::{Database, on_both_databases};
use crate::world::{Answer, BASE, OPERATOR, PASSWORD, Person, World};

on_both_databases!(every_route_refuses_who_may_not, what_is_no_route_is_a_problem_too);

const ROLES: [&str; 5] = ["owner", "admin", "member", "billing", "viewer"];

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Whoever signs what it says with a secret that both sides have.
    Signed,
    /// Anybody: it asks for other proofs than credentials, or says nothing that is anybody's.
    Anybody,
    /// Whoever logged in, for themselves.
    Account,
    /// The processes of a cell, with a token of their own kind.
    Services,
    /// Members of the organisation with one of these roles.
    Members(&'static [&'static str]),
    /// The same for the organisation of the tenant, and API keys of the tenant with the scope `admin`.
    MembersAndKeys(&'static [&'static str]),
    /// Who runs the control plane.
    Operator,
}

/// Every route there is. `{organisation}`, `{user}`, `{invitation}`, `{tenant}` and `{key}` stand for what the victim has.
const ROUTES: &[(&str, &str, Who, &str)] = &[
    ("POST", "/accounts", Who::Anybody, ""),
    ("POST", "/accounts/verify", Who::Anybody, ""),
    ("POST", "/accounts/password-reset", Who::Anybody, ""),
    ("POST", "/accounts/password-reset/confirm", Who::Anybody, ""),
    ("POST", "/sessions", Who::Anybody, ""),
    ("POST", "/sessions/refresh", Who::Anybody, ""),
    ("GET", "/openapi.json", Who::Anybody, ""),
    ("GET", "/reference", Who::Anybody, ""),
    ("GET", "/account", Who::Account, ""),
    ("GET", "/account/audit", Who::Account, ""),
    (
        "PUT",
        "/account/password",
        Who::Account,
        r#"{"current_password":"correct horse battery","new_password":"something else"}"#,
    ),
    ("POST", "/account/second-factor", Who::Account, r#"{"password":"correct horse battery"}"#),
    (
        "DELETE",
        "/account/second-factor",
        Who::Account,
        r#"{"password":"correct horse battery","code":"000000"}"#,
    ),
    ("POST", "/account/second-factor/confirm", Who::Account, r#"{"code":"000000"}"#),
    ("DELETE", "/sessions/current", Who::Account, ""),
    ("POST", "/invitations/accept", Who::Account, r#"{"token":"nonsense"}"#),
    ("POST", "/organisations", Who::Account, r#"{"name":"Another"}"#),
    ("GET", "/organisations", Who::Account, ""),
    ("GET", "/organisations/{organisation}", Who::Members(&ROLES), ""),
    ("PATCH", "/organisations/{organisation}", Who::Members(&["owner", "admin"]), r#"{"name":"Another"}"#),
    ("GET", "/organisations/{organisation}/spend-limit", Who::Members(&["owner", "admin", "billing"]), ""),
    (
        "PUT",
        "/organisations/{organisation}/spend-limit",
        Who::Members(&["owner", "billing"]),
        r#"{"limit_micros":1}"#,
    ),
    ("GET", "/organisations/{organisation}/usage", Who::Members(&ROLES), ""),
    ("GET", "/tenants/{tenant}/usage", Who::MembersAndKeys(&ROLES), ""),
    ("GET", "/plans", Who::Anybody, ""),
    ("GET", "/organisations/{organisation}/plan", Who::Members(&["owner", "admin", "billing"]), ""),
    ("GET", "/organisations/{organisation}/credits", Who::Members(&["owner", "admin", "billing"]), ""),
    ("GET", "/organisations/{organisation}/invoices", Who::Members(&["owner", "admin", "billing"]), ""),
    (
        "GET",
        "/organisations/{organisation}/invoices/{month}",
        Who::Members(&["owner", "admin", "billing"]),
        "",
    ),
    (
        "GET",
        "/organisations/{organisation}/invoices/{month}/page",
        Who::Members(&["owner", "admin", "billing"]),
        "",
    ),
    (
        "GET",
        "/organisations/{organisation}/invoices/{month}/csv",
        Who::Members(&["owner", "admin", "billing"]),
        "",
    ),
    (
        "GET",
        "/organisations/{organisation}/invoices/{month}/inputs",
        Who::Members(&["owner", "admin", "billing"]),
        "",
    ),
    (
        "POST",
        "/organisations/{organisation}/invoices/{month}/payment",
        Who::Members(&["owner", "billing"]),
        "",
    ),
    // Its signature is asked for, not who sends it.
    ("POST", "/payments/webhook", Who::Signed, ""),
    ("GET", "/operator/organisations", Who::Operator, ""),
    ("GET", "/operator/audit", Who::Operator, ""),
    ("PUT", "/operator/cells/{cell}", Who::Operator, r#"{"region":"aws:eu-west-1","capacity":1}"#),
    ("GET", "/operator/margins", Who::Operator, ""),
    (
        "POST",
        "/operator/plans",
        Who::Operator,
        r#"{"plan":"free","version":9,"currency":"USD","effective_from_s":1,"base_fee_micros":0,"minimum_micros":0,"prices":[]}"#,
    ),
    ("PUT", "/operator/organisations/{organisation}/plan", Who::Operator, r#"{"plan":"free"}"#),
    (
        "POST",
        "/operator/organisations/{organisation}/credits",
        Who::Operator,
        r#"{"kind":"sla","currency":"USD","micros":1,"reason":"an hour without queries"}"#,
    ),
    ("PUT", "/operator/invoices/{number}/paid", Who::Operator, r#"{"reference":"4711"}"#),
    ("GET", "/organisations/{organisation}/members", Who::Members(&ROLES), ""),
    (
        "PUT",
        "/organisations/{organisation}/members/{user}",
        Who::Members(&["owner", "admin"]),
        r#"{"role":"viewer"}"#,
    ),
    ("DELETE", "/organisations/{organisation}/members/{user}", Who::Members(&["owner", "admin"]), ""),
    (
        "POST",
        "/organisations/{organisation}/invitations",
        Who::Members(&["owner", "admin"]),
        r#"{"email":"x@example.com","role":"viewer"}"#,
    ),
    ("GET", "/organisations/{organisation}/invitations", Who::Members(&["owner", "admin"]), ""),
    (
        "DELETE",
        "/organisations/{organisation}/invitations/{invitation}",
        Who::Members(&["owner", "admin"]),
        "",
    ),
    ("GET", "/organisations/{organisation}/audit", Who::Members(&["owner", "admin"]), ""),
    (
        "POST",
        "/organisations/{organisation}/tenants",
        Who::Members(&["owner", "admin"]),
        r#"{"name":"another"}"#,
    ),
    ("GET", "/organisations/{organisation}/tenants", Who::Members(&ROLES), ""),
    ("GET", "/tenants/{tenant}", Who::Members(&ROLES), ""),
    ("PATCH", "/tenants/{tenant}", Who::Members(&["owner", "admin"]), r#"{"name":"another"}"#),
    ("DELETE", "/tenants/{tenant}", Who::Members(&["owner", "admin"]), ""),
    (
        "POST",
        "/tenants/{tenant}/keys",
        Who::MembersAndKeys(&["owner", "admin", "member"]),
        r#"{"name":"another","scopes":["metrics:write"]}"#,
    ),
    ("GET", "/tenants/{tenant}/keys", Who::MembersAndKeys(&["owner", "admin", "member", "viewer"]), ""),
    ("GET", "/tenants/{tenant}/keys/{key}", Who::MembersAndKeys(&["owner", "admin", "member", "viewer"]), ""),
    ("DELETE", "/tenants/{tenant}/keys/{key}", Who::MembersAndKeys(&["owner", "admin", "member"]), ""),
    (
        "POST",
        "/tenants/{tenant}/keys/{key}/rotate",
        Who::MembersAndKeys(&["owner", "admin", "member"]),
        r#"{"overlap_s":0}"#,
    ),
    ("POST", "/data-plane/leases", Who::Services, r#"{"process":"x","tenants":[]}"#),
    ("GET", "/regions", Who::Anybody, ""),
    ("GET", "/cells", Who::Account, ""),
    ("GET", "/tenants/{tenant}/placement", Who::Members(&ROLES), ""),
    (
        "PUT",
        "/tenants/{tenant}/placement",
        Who::Members(&["owner", "admin"]),
        r#"{"production":["aws:eu-west-1"]}"#,
    ),
    ("POST", "/tenants/{tenant}/placement/propose", Who::Members(&ROLES), "{}"),
    ("GET", "/tenants/{tenant}/placement/conflicts", Who::Members(&ROLES), ""),
    ("GET", "/tenants/{tenant}/quotas", Who::MembersAndKeys(&ROLES), ""),
    (
        "PUT",
        "/tenants/{tenant}/quotas",
        Who::MembersAndKeys(&["owner", "admin"]),
        r#"{"samples_per_second":0}"#,
    ),
];

/// All routes that the router has, from the document that is made of it.
fn routes_of_the_router() -> BTreeSet<(String, String)> {
    let document = serde_json::to_value(control_plane::openapi_document()).unwrap();
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let path = path.strip_prefix(BASE).unwrap().to_owned();
            let listed = ROUTES.iter().find(|route| route.0 == method.to_uppercase() && route.1 == path);
            if let Some((.., who, _)) = listed {
                let asks = operation.get("security").is_some();
                assert_eq!(
                    asks,
                    !matches!(who, Who::Anybody | Who::Signed),
                    "{method} {path}: the document says otherwise"
                );
            }
            routes.insert((method.to_uppercase(), path));
        }
    }
    routes
}

#[test]
fn no_route_escapes_the_walk() {
    let listed: BTreeSet<_> =
        ROUTES.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(listed.len(), ROUTES.len(), "a route is listed twice");
    assert_eq!(listed, routes_of_the_router());
    // Only what the document is made of adds routes, but for what answers to unknown paths.
    let mut found = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.join("http"), source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            if is_rust {
                let text = std::fs::read_to_string(&path).unwrap();
                let count = [".route(", ".route_service(", ".nest_service(", ".fallback("]
                    .map(|call| text.matches(call).count());
                if count.iter().sum::<usize>() > 0 {
                    found.push((path.file_name().unwrap().to_owned(), count.iter().sum::<usize>()));
                }
            }
        }
    }
    // Those of the pages are walked in `pages`.
    let known = [("http.rs".into(), 1), ("pages.rs".into(), 1)];
    assert_eq!(found, known, "routes that the document does not know");
}

/// What a victim has.
struct Victim {
    organisation: String,
    user: String,
    invitation: String,
    tenant: String,
    key: String,
}

impl Victim {
    fn path(&self, path: &str) -> String {
        path.replace("{organisation}", &self.organisation)
            .replace("{user}", &self.user)
            .replace("{invitation}", &self.invitation)
            .replace("{tenant}", &self.tenant)
            .replace("{key}", &self.key)
            .replace("{month}", "2026-09")
            .replace("{number}", "1")
            .replace("{cell}", "eu-dublin")
    }
}

async fn send(
    world: &World,
    route: &(&str, &str, Who, &str),
    victim: &Victim,
    token: Option<&str>,
) -> Answer {
    let body: Option<Value> = (!route.3.is_empty()).then(|| serde_json::from_str(route.3).unwrap());
    let method: Method = route.0.parse().unwrap();
    world.send(method, &victim.path(route.1), token, body).await
}

async fn every_route_refuses_who_may_not(database: &Database) {
    let world = World::new(database).await;
    let owner = world.person("owner").await;
    let organisation = world.organisation(&owner).await;
    let mut members: Vec<(&str, Person)> = Vec::new();
    for role in &ROLES[1..] {
        members.push((role, world.member(&owner, &organisation, role, role).await));
    }
    let tenant = world.tenant(&owner, &organisation).await;
    let (key, data_key) = world.key(&owner, &tenant, &["metrics:write", "metrics:read"]).await;
    let invitations = format!("/organisations/{organisation}/invitations");
    let wanted = json!({ "email": "invited@example.com", "role": "viewer" });
    let invitation = world.post(&invitations, &owner, wanted).await.expect(201).field("id");
    let real = Victim { organisation, user: owner.id.clone(), invitation, tenant, key };
    let nobody = Victim {
        organisation: "org_00000000000000000000".to_owned(),
        user: "usr_00000000000000000000".to_owned(),
        invitation: "inv_00000000000000000000".to_owned(),
        tenant: "ten_00000000000000000000".to_owned(),
        key: "000000000000".to_owned(),
    };

    // Strangers: the owner of another organisation, and a key of another tenant.
    let stranger = world.person("stranger").await;
    let elsewhere = world.organisation(&stranger).await;
    let their_tenant = world.tenant(&stranger, &elsewhere).await;
    let (_, their_key) = world.key(&stranger, &their_tenant, &["admin"]).await;
    // Credentials that were good once.
    let keys = format!("/tenants/{}/keys", real.tenant);
    let (revoked, revoked_key) = world.key(&owner, &real.tenant, &["admin"]).await;
    world.delete(&format!("{keys}/{revoked}"), &owner).await.expect(204);
    let short = json!({ "name": "short", "scopes": ["admin"], "expires_at_ms": 1_790_000_000_000_i64 + 1 });
    let expired_key = world.post(&keys, &owner, short).await.expect(201).field("secret");
    world.clock.advance(Duration::from_millis(1));
    let ended = world.log_in(&owner.email, PASSWORD).await.expect(201).field("access_token");
    world.send(Method::DELETE, "/sessions/current", Some(&ended), None).await.expect(204);
    let late = world.log_in(&owner.email, PASSWORD).await.expect(201).field("access_token");

    let log = format!("/organisations/{}/audit", real.organisation);
    let before = world.get(&log, &owner).await.expect(200).text;
    let own_before = world.get("/account/audit", &owner).await.expect(200).text;

    for route in ROUTES {
        let name = format!("{} {}", route.0, route.1);
        if route.2 == Who::Anybody {
            let answer = world.send(route.0.parse().unwrap(), route.1, None, None).await;
            assert!(answer.status != 401 && !answer.status.is_server_error(), "{name}: {answer:?}");
            continue;
        }
        if route.2 == Who::Signed {
            let refused = send(&world, route, &real, Some(&owner.token)).await;
            assert_eq!(refused.problem(401), "unauthenticated", "{name}");
            continue;
        }
        for bad in [None, Some("garbage"), Some(&*revoked_key), Some(&*expired_key), Some(&*ended)] {
            let refused = send(&world, route, &real, bad).await;
            assert_eq!(refused.problem(401), "unauthenticated", "{name} with {bad:?}");
            assert_eq!(
                refused.text,
                send(&world, route, &nobody, bad).await.text,
                "{name} tells what there is"
            );
        }
        if route.2 == Who::Services {
            for token in [&owner.token, &stranger.token, &data_key, &their_key] {
                let refused = send(&world, route, &real, Some(token)).await;
                assert_eq!(refused.problem(401), "unauthenticated", "{name}");
            }
            continue;
        }
        // A key that is for data only manages nothing, not even its own tenant.
        assert_eq!(send(&world, route, &real, Some(&data_key)).await.problem(403), "forbidden", "{name}");
        if route.2 == Who::Operator {
            let anybody = members.iter().map(|(_, member)| &member.token).chain([&owner.token, &their_key]);
            for somebody in anybody {
                let refused = send(&world, route, &real, Some(somebody)).await;
                assert_eq!(refused.problem(403), "forbidden", "{name}");
                assert_eq!(
                    refused.text,
                    send(&world, route, &nobody, Some(somebody)).await.text,
                    "{name} tells what there is"
                );
            }
            continue;
        }
        let (Who::Members(roles) | Who::MembersAndKeys(roles)) = route.2 else {
            assert_eq!(
                send(&world, route, &real, Some(&their_key)).await.problem(403),
                "forbidden",
                "{name}"
            );
            continue;
        };
        for stranger in [&stranger.token, &their_key] {
            let refused = send(&world, route, &real, Some(stranger)).await;
            let unknown = send(&world, route, &nobody, Some(stranger)).await;
            assert!(matches!(refused.status.as_u16(), 403 | 404), "{name}: {refused:?}");
            assert!(stranger == &their_key || refused.status == 404, "{name}: {refused:?}");
            assert_eq!(
                (refused.status, &refused.text),
                (unknown.status, &unknown.text),
                "{name} tells what there is"
            );
        }
        for (role, member) in &members {
            if !roles.contains(role) {
                let refused = send(&world, route, &real, Some(&member.token)).await;
                assert_eq!(refused.problem(403), "forbidden", "{name} as {role}");
                // It says what would be needed, and that is what this list says.
                let needed = roles.join(", ");
                assert!(refused.field("detail").ends_with(&needed), "{name} as {role}: {refused:?}");
            }
        }
    }
    assert_eq!(world.get(&log, &owner).await.expect(200).text, before, "something was changed");
    assert_eq!(
        world.get("/account/audit", &owner).await.expect(200).text,
        own_before,
        "something was changed"
    );

    world.clock.advance(Duration::from_secs(600));
    // The operator's token is for the operator's routes only.
    for route in ROUTES
        .iter()
        .filter(|route| matches!(route.2, Who::Account | Who::Members(_) | Who::MembersAndKeys(_)))
    {
        let refused = send(&world, route, &real, Some(OPERATOR)).await;
        assert!(matches!(refused.status.as_u16(), 403 | 404), "{route:?} by the operator: {refused:?}");
    }
    for route in ROUTES.iter().filter(|route| !matches!(route.2, Who::Anybody | Who::Signed)) {
        let refused = send(&world, route, &real, Some(&late)).await;
        assert_eq!(refused.problem(401), "unauthenticated", "{route:?} with an expired token");
    }
}

async fn what_is_no_route_is_a_problem_too(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    assert_eq!(world.get("/nowhere", &ada).await.problem(404), "not_found");
    assert_eq!(world.get("", &ada).await.problem(404), "not_found");
    assert_eq!(world.get("/", &ada).await.problem(404), "not_found");
    assert_eq!(world.put("/accounts", &ada, json!({})).await.problem(405), "no_such_method");
    // PostgreSQL takes no zero bytes.
    for path in ["/tenants/%00", "/organisations/org%00", "/tenants/a/keys?before=%00"] {
        assert_eq!(world.get(path, &ada).await.problem(404), "not_found", "{path}");
    }
    assert!(matches!(world.get("/tenants/%ff", &ada).await.status.as_u16(), 400 | 404));

    let send = |content_type: &'static str, body: String| {
        let request = http::Request::post(format!("{BASE}/sessions"))
            .header("content-type", content_type)
            .body(axum::body::Body::from(body))
            .unwrap();
        world.send_request("192.0.2.1".parse().unwrap(), request)
    };
    assert_eq!(send("text/plain", "{}".to_owned()).await.problem(415), "not_json");
    assert_eq!(send("application/json", "{".to_owned()).await.problem(400), "invalid_body");
    assert_eq!(send("application/json", "[".repeat(60_000)).await.problem(400), "invalid_body");
    let large = format!(r#"{{"email":"{}","password":"x"}}"#, "x".repeat(70_000));
    assert_eq!(send("application/json", large).await.problem(413), "too_large");
    let answer = world.get("/account", &ada).await.expect(200);
    assert_eq!(answer.headers["cache-control"], "no-store");
}
