//! The repository keeps its own promises: which crate knows which, that documents name what exists, and that nothing names
//! the machine it was made on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Which of the project's crates each crate may know. An arrow that is not here is not allowed.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("telemetry", &[]),
    ("wire", &["telemetry"]),
    ("tenancy", &["telemetry"]),
    ("storage-format", &["telemetry"]),
    ("promql", &["telemetry"]),
    // For tests only, as no other row has it.
    ("promqltest", &["promql", "telemetry"]),
    ("segment-store", &["storage-format", "telemetry"]),
    ("ingest-service", &["wire", "tenancy", "segment-store", "telemetry"]),
    ("query-service", &["promql", "tenancy", "segment-store", "storage-format", "telemetry"]),
    ("control-plane", &["tenancy"]),
    (
        "farwatch",
        &[
            "control-plane",
            "ingest-service",
            "query-service",
            "promql",
            "segment-store",
            "storage-format",
            "telemetry",
            "tenancy",
            "wire",
        ],
    ),
    // Public interfaces only, so that it can be pointed at any server.
    ("loadtest", &[]),
];

/// Crates that only compute: no runtime, no server, no database, no bucket, however far down.
const PURE: &[&str] = &["telemetry", "wire", "tenancy", "storage-format", "promql"];
const IMPURE: &[&str] = &["tokio", "axum", "hyper", "tonic", "reqwest", "sqlx", "aws-sdk-s3", "mio"];

/// Who alone may name a crate directly.
const ONLY: &[(&str, &[&str])] = &[("aws-sdk-s3", &["segment-store"]), ("sqlx", &["control-plane"])];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked".to_owned(), "--offline".to_owned()])
        .exec()
        .unwrap()
}

#[test]
fn crates_know_only_what_they_may() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_KNOW.iter().map(|(name, known)| (*name, known.iter().copied().collect())).collect();
    let members = metadata.workspace_packages();
    let names: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(
        names,
        allowed.keys().copied().collect(),
        "the table above lists every crate of the workspace"
    );
    for package in members {
        let knows = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.as_str());
        for known in knows.clone().filter(|known| names.contains(known)) {
            assert!(allowed[package.name.as_str()].contains(known), "{} must not know {known}", package.name);
        }
        for (dependency, owners) in ONLY {
            let named = knows.clone().any(|known| known == *dependency);
            assert!(
                !named || owners.contains(&package.name.as_str()),
                "only {owners:?} may name {dependency}, {} does",
                package.name
            );
        }
    }
}

#[test]
fn crates_that_compute_have_no_runtime_below_them() {
    let metadata = metadata();
    let resolved = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<&PackageId, _> = resolved.nodes.iter().map(|node| (&node.id, node)).collect();
    for package in
        metadata.workspace_packages().iter().filter(|package| PURE.contains(&package.name.as_str()))
    {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![&package.id];
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let name = metadata[id].name.as_str();
            assert!(!IMPURE.contains(&name), "{} reaches {name}", package.name);
            let normal = nodes[id].deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            });
            waiting.extend(normal.map(|dependency| &dependency.pkg));
        }
        assert!(seen.len() > 1 || package.dependencies.is_empty());
    }
}

#[test]
fn every_path_that_a_document_names_exists() {
    for document in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let mut named = 0;
        for path in paths_in(&text) {
            named += 1;
            assert!(root().join(path).exists(), "{document} names {path}, which does not exist");
        }
        assert!(document != "ARCHITECTURE.md" || named >= 20, "{document} names {named} paths only");
    }
}

/// What stands in backquotes, or behind a link, and looks like a path of this repository.
fn paths_in(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: &[&str] = &[
        "crates/",
        "control-plane/",
        "storage-format/",
        "loadtest/",
        "docs/",
        ".ci/",
        "functions/",
        "infra/",
    ];
    const FILES: &[&str] = &[".md", ".toml", ".rs", ".py"];
    let quoted = text.split('`').skip(1).step_by(2);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    quoted.chain(linked).map(|path| path.trim_start_matches("./")).filter(|path| {
        let one_word = !path.contains([' ', '*', '<', '{', '$', '…', '#']) && !path.contains("://");
        let in_folder = FOLDERS.iter().any(|folder| path.starts_with(folder));
        let file = FILES.iter().any(|ending| path.ends_with(ending))
            && path.chars().next().is_some_and(char::is_uppercase);
        one_word && (in_folder || file)
    })
}

#[test]
fn nothing_names_the_machine_it_was_made_on() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let homes: Vec<String> =
        ["work", "root", "home/runner", "Users"].map(|name| format!("/{name}/")).to_vec();
    let mut looked_at = 0;
    for name in listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name).unwrap();
        // Somebody may have deleted it and not committed that yet; what is not text names nothing.
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        looked_at += 1;
        for (number, line) in text.lines().enumerate() {
            for home in &homes {
                let found = line.match_indices(home.as_str()).any(|(at, _)| {
                    // `a/work/b` is a path below something else.
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-}$".contains(before))
                });
                assert!(!found, "{name}:{} names a path of a machine: {line}", number + 1);
            }
        }
    }
    assert!(looked_at > 50, "only {looked_at} files");
}
