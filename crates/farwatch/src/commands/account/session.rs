//! Who is logged in: a file that only its owner may read, with the tokens of one session.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder};
use segment_store::Clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::AccountError;
use super::client::ControlPlane;
use crate::secret_file;

/// Variable that names the file.
const FILE_VARIABLE: &str = "FARWATCH_SESSION_FILE";
/// An access token that ends sooner is exchanged before it is used, in milliseconds.
const RENEW_BEFORE_MS: i64 = 30_000;

/// What the file holds.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    url: String,
    email: String,
    access_token: String,
    /// Milliseconds since the Unix epoch.
    expires_at_ms: i64,
    refresh_token: String,
}

/// The tokens, as the control plane gives them.
#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    expires_in_s: i64,
    refresh_token: String,
}

/// The place of the session.
#[derive(Clone, Debug)]
pub struct SessionFile(PathBuf);

impl SessionFile {
    /// Where the environment says, or in the user's configuration.
    ///
    /// # Errors
    /// [`AccountError::NoHome`] when there is no such place.
    pub fn find(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, AccountError> {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        if let Some(path) = variable(FILE_VARIABLE) {
            return Ok(Self(path.into()));
        }
        let configuration = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let configuration = configuration.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")));
        Ok(Self(configuration.ok_or(AccountError::NoHome)?.join("farwatch").join("session.json")))
    }

    /// Whether somebody is logged in, as far as the file tells.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.0.exists()
    }

    fn error(&self, source: io::Error) -> AccountError {
        AccountError::SessionFile { path: self.0.clone(), source }
    }

    fn read(&self) -> Result<Stored, AccountError> {
        let text = std::fs::read_to_string(&self.0).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => AccountError::NotLoggedIn,
            _ => self.error(source),
        })?;
        serde_json::from_str(&text)
            .map_err(|source| AccountError::NotASession { path: self.0.clone(), source })
    }

    fn write(&self, stored: &Stored) -> Result<(), AccountError> {
        let text = serde_json::to_vec(stored).map_err(|error| self.error(error.into()))?;
        secret_file::write(&self.0, &text).map_err(|source| self.error(source))
    }

    /// Held while tokens are exchanged: a refresh token is good once, and a second use would end the session.
    fn lock(&self) -> Result<File, AccountError> {
        let path = self.0.with_extension("lock");
        let open = || {
            std::fs::create_dir_all(secret_file::directory_of(&path))?;
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|source| self.error(source))
    }

    /// Forgets who is logged in.
    pub(super) fn forget(&self) -> Result<(), AccountError> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error(error)),
            _ => Ok(()),
        }
    }
}

/// Somebody who is logged in.
pub struct Session {
    control_plane: ControlPlane,
    file: SessionFile,
    clock: Arc<dyn Clock>,
    stored: Mutex<Stored>,
}

impl Session {
    /// Goes on with the session that `farwatch login` left. `wanted` is the server that the environment names, if it names one.
    ///
    /// # Errors
    /// [`AccountError::NotLoggedIn`] when there is none; [`AccountError::OtherServer`] when it is one of another server.
    pub fn open(
        file: &SessionFile,
        wanted: Option<&str>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AccountError> {
        let stored = file.read()?;
        let control_plane = ControlPlane::at(&stored.url)?;
        if let Some(wanted) = wanted {
            let same = ControlPlane::at(wanted)?.url().as_str().trim_end_matches('/')
                == control_plane.url().as_str().trim_end_matches('/');
            if !same {
                return Err(AccountError::OtherServer { wanted: wanted.to_owned(), url: stored.url });
            }
        }
        Ok(Self { control_plane, file: file.clone(), clock, stored: Mutex::new(stored) })
    }

    /// Begins one with the answer to a login, and keeps it.
    pub(super) fn begin(
        file: &SessionFile,
        clock: Arc<dyn Clock>,
        url: &str,
        email: &str,
        answer: &Value,
    ) -> Result<Self, AccountError> {
        let control_plane = ControlPlane::at(url)?;
        let tokens: Tokens = control_plane.read(answer)?;
        let stored = Stored {
            url: url.to_owned(),
            email: email.to_owned(),
            expires_at_ms: clock.now_ms().saturating_add(tokens.expires_in_s.saturating_mul(1_000)),
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
        };
        let _lock = file.lock()?;
        file.write(&stored)?;
        Ok(Self { control_plane, file: file.clone(), clock, stored: Mutex::new(stored) })
    }

    /// The server that it is with.
    pub(super) fn url(&self) -> String {
        self.stored.lock().url.clone()
    }

    /// Whose session it is.
    pub(super) fn email(&self) -> String {
        self.stored.lock().email.clone()
    }

    /// An answer as a type.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, answer: &Value) -> Result<T, AccountError> {
        self.control_plane.read(answer)
    }

    /// Asks for something.
    pub(super) async fn get(&self, path: &[&str]) -> Result<Value, AccountError> {
        self.call(Method::GET, path, &[], None).await
    }

    /// Sends something.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, AccountError> {
        self.call(method, path, &[], body).await
    }

    /// Asks for something with parameters behind the question mark.
    pub(super) async fn ask(
        &self,
        path: &[&str],
        parameters: &[(&str, String)],
    ) -> Result<Value, AccountError> {
        self.call(Method::GET, path, parameters, None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        parameters: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, AccountError> {
        let mut request = self.authorised(method, path).await?.query(parameters);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.control_plane.send(request).await.map_err(over)
    }

    /// An answer that is no JSON.
    pub(super) async fn text(&self, path: &[&str]) -> Result<String, AccountError> {
        let request = self.authorised(Method::GET, path).await?;
        self.control_plane.text(request).await.map_err(over)
    }

    async fn authorised(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, AccountError> {
        let token = self.access_token().await?;
        Ok(self.control_plane.request(method, path).bearer_auth(token))
    }

    /// A token that is good for a while yet.
    async fn access_token(&self) -> Result<String, AccountError> {
        let renew = |stored: &Stored| stored.expires_at_ms - self.clock.now_ms() < RENEW_BEFORE_MS;
        let known = self.stored.lock().clone();
        if !renew(&known) {
            return Ok(known.access_token);
        }
        let file = self.file.clone();
        let _lock = file.lock()?;
        // Another command may have exchanged them meanwhile.
        let mut stored = file.read()?;
        if renew(&stored) {
            let body = json!({ "refresh_token": stored.refresh_token });
            let request = self.control_plane.request(Method::POST, &["sessions", "refresh"]).json(&body);
            let answer = self.control_plane.send(request).await.map_err(over)?;
            let tokens: Tokens = self.control_plane.read(&answer)?;
            stored.expires_at_ms =
                self.clock.now_ms().saturating_add(tokens.expires_in_s.saturating_mul(1_000));
            stored.access_token = tokens.access_token;
            stored.refresh_token = tokens.refresh_token;
            file.write(&stored)?;
        }
        let token = stored.access_token.clone();
        *self.stored.lock() = stored;
        Ok(token)
    }
}

/// Who has a session and is not known any more has to log in again.
fn over(error: AccountError) -> AccountError {
    match error {
        AccountError::Refused { status: 401, .. } => AccountError::SessionOver,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_where_the_environment_says() {
        let found = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
            };
            SessionFile::find(&variable).map(|file| file.0.display().to_string()).ok()
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("HOME", "/h")]).unwrap(), "/h/.config/farwatch/session.json");
        let configured = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")];
        assert_eq!(found(&configured).unwrap(), "/c/farwatch/session.json");
        let named = [("HOME", "/h"), ("FARWATCH_SESSION_FILE", "/s")];
        assert_eq!(found(&named).unwrap(), "/s");
        assert_eq!(
            found(&[("HOME", "/h"), ("FARWATCH_SESSION_FILE", "")]).unwrap(),
            "/h/.config/farwatch/session.json"
        );
    }

    #[test]
    fn without_a_file_nobody_is_logged_in() {
        let directory = tempfile::tempdir().unwrap();
        let file = SessionFile(directory.path().join("session.json"));
        let clock = || Arc::new(segment_store::SystemClock::new());
        let open = || Session::open(&file, None, clock()).err().unwrap();
        assert!(matches!(open(), AccountError::NotLoggedIn));
        std::fs::write(&file.0, "{}").unwrap();
        assert!(matches!(open(), AccountError::NotASession { .. }));
        let stored = Stored {
            url: "http://here:1".to_owned(),
            email: String::new(),
            access_token: String::new(),
            expires_at_ms: 0,
            refresh_token: String::new(),
        };
        file.write(&stored).unwrap();
        for (wanted, same) in [(None, true), (Some("http://here:1/"), true), (Some("http://there:1"), false)]
        {
            let opened = Session::open(&file, wanted, clock());
            match opened {
                Ok(_) => assert!(same, "{wanted:?}"),
                Err(error) => {
                    assert!(!same && error.to_string().contains("login --url http://there:1"), "{error}")
                }
            }
        }
        file.forget().unwrap();
        file.forget().unwrap();
        assert!(!file.exists());
    }
}
