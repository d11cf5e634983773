//! A customer, who types commands.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::farwatch::BINARY;
use super::{Farwatch, signup_token};

/// What they choose as their password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Somebody at a shell.
pub(crate) struct Customer {
    /// Where the control plane is.
    pub(crate) url: String,
    home: TempDir,
}

impl Customer {
    /// One who has no account yet.
    pub(crate) fn of(url: &str) -> Self {
        Self { url: url.to_owned(), home: tempfile::tempdir().unwrap() }
    }

    /// One who has an account with the organisation "default", and is logged in.
    pub(crate) async fn with_account(server: &Farwatch, email: &str) -> Self {
        let customer = Self::of(&server.url);
        let signup = ["signup", "--email", email];
        customer.done_with(&signup, PASSWORD);
        let token = signup_token(&server.output).await;
        customer.done_with(&[&signup[..], &["--confirm", &token]].concat(), PASSWORD);
        customer
    }

    /// Runs a command with `input` as what is typed.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FARWATCH_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(arguments)
            .env("FARWATCH_URL", &self.url)
            .env("FARWATCH_SESSION_FILE", self.session_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    pub(crate) fn session_file(&self) -> PathBuf {
        self.home.path().join("session.json")
    }

    /// What a command prints that is done.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        self.done_with(arguments, "")
    }

    pub(crate) fn done_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Why a command is not done.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, "");
        assert!(!output.status.success(), "{arguments:?} is done");
        String::from_utf8(output.stderr).unwrap()
    }
}
