//! Asks at the terminal. What is secret is not shown while it is typed, and never stands on a command line.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::AccountError;

/// How to give a password without a terminal.
const PASSWORD_HOW: &str = "give it with --password-file, or as the first line of the input";

/// Whether somebody sits there who can be asked.
pub(super) fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A line that is typed in; `missing` is the error where nobody can be asked.
pub(super) fn line(question: &str, missing: AccountError) -> Result<String, AccountError> {
    if !somebody_is_there() {
        return Err(missing);
    }
    ask(question)?;
    let typed = read_line()?;
    if typed.is_empty() { Err(missing) } else { Ok(typed.to_string()) }
}

/// A password: of a file, typed in, or the first line of the input.
pub(super) fn password(question: &str, file: Option<&Path>) -> Result<Zeroizing<String>, AccountError> {
    let password = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| AccountError::PasswordFile { path: path.to_owned(), source })?;
            let text = Zeroizing::new(text);
            Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
        }
        None if somebody_is_there() => hidden(question)?,
        None => read_line()?,
    };
    if password.is_empty() {
        return Err(AccountError::Missing { what: "the password", how: PASSWORD_HOW });
    }
    Ok(password)
}

/// A password that is chosen now: typed in twice, so that it is what was meant.
pub(super) fn new_password(question: &str, file: Option<&Path>) -> Result<Zeroizing<String>, AccountError> {
    let chosen = password(question, file)?;
    if file.is_none() && somebody_is_there() && *hidden("Once more: ")? != *chosen {
        return Err(AccountError::PasswordsDiffer);
    }
    Ok(chosen)
}

fn ask(question: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    write!(out, "{question}")?;
    out.flush()
}

fn read_line() -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A line that is not shown.
fn hidden(question: &str) -> io::Result<Zeroizing<String>> {
    ask(question)?;
    let line = {
        let _quiet = Quiet::begin()?;
        read_line()
    };
    ask("\n")?;
    line
}

/// While this lives, the terminal shows nothing of what is typed.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nobody is left to tell when the terminal went away.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
