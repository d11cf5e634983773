//! A real S3 server that can be killed, and comes back with its data.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::cell::S3_BUCKET;
use crate::commands::CommandError;

/// How long the program may take for a start, or to answer.
const ANSWER_TIME: Duration = Duration::from_secs(90);

/// A program that runs an S3 server, such as those in `crates/segment-store/tests/support`. It is given a bucket's name, prints
/// `listening PORT`, and takes commands on its standard input: `kill`, which it answers with `killed`, and `start`, answered
/// with `listening PORT` again. `list` is answered with `listed` and the keys of all objects. It ends when its standard input does.
#[derive(Debug)]
pub(in crate::commands) struct S3Server {
    command: String,
    _process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// The port on the loopback that it serves on.
    pub(in crate::commands) port: u16,
}

impl S3Server {
    /// Starts `command`, a program and its arguments with spaces between.
    pub(in crate::commands) async fn start(command: &str) -> Result<Self, CommandError> {
        let failed =
            |reason: &str| CommandError::Tool { words: command.to_owned(), reason: reason.to_owned() };
        let mut words = command.split_whitespace();
        let program = words.next().ok_or_else(|| failed("names no program"))?;
        let mut process = Command::new(program)
            .args(words)
            .arg(S3_BUCKET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error.to_string()))?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (commands, answers) = pipes.ok_or_else(|| failed("has no pipes"))?;
        let answers = BufReader::new(answers).lines();
        let mut server = Self { command: command.to_owned(), _process: process, commands, answers, port: 0 };
        server.port = server.listening().await?;
        Ok(server)
    }

    /// Kills the server with -9; its data stays.
    pub(super) async fn kill(&mut self) -> Result<(), CommandError> {
        self.tell("kill").await?;
        match self.answer().await?.as_str() {
            "killed" => Ok(()),
            other => Err(self.failed(format!("answered {other:?} to kill"))),
        }
    }

    /// Starts it again on the same port and returns when it serves.
    pub(super) async fn revive(&mut self) -> Result<(), CommandError> {
        self.tell("start").await?;
        let port = self.listening().await?;
        if port == self.port { Ok(()) } else { Err(self.failed(format!("came back on port {port}"))) }
    }

    /// The keys of all objects in the bucket.
    pub(super) async fn keys(&mut self) -> Result<Vec<String>, CommandError> {
        self.tell("list").await?;
        let answer = self.answer().await?;
        let mut words = answer.split(' ').map(str::to_owned);
        match words.next().as_deref() {
            Some("listed") => Ok(words.collect()),
            _ => Err(self.failed(format!("answered {answer:?} to list"))),
        }
    }

    async fn listening(&mut self) -> Result<u16, CommandError> {
        let answer = self.answer().await?;
        let port = answer.strip_prefix("listening ").and_then(|port| port.parse().ok());
        port.ok_or_else(|| self.failed(format!("said {answer:?} instead of where it listens")))
    }

    async fn tell(&mut self, command: &str) -> Result<(), CommandError> {
        let told = self.commands.write_all(format!("{command}\n").as_bytes()).await;
        told.map_err(|error| self.failed(error.to_string()))
    }

    async fn answer(&mut self) -> Result<String, CommandError> {
        match tokio::time::timeout(ANSWER_TIME, self.answers.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(self.failed("has ended".to_owned())),
            Ok(Err(error)) => Err(self.failed(error.to_string())),
            Err(_) => Err(self.failed("does not answer".to_owned())),
        }
    }

    fn failed(&self, reason: String) -> CommandError {
        CommandError::Tool { words: self.command.clone(), reason }
    }
}
