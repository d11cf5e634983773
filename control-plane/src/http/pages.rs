//! Pages behind the links in mails, for who has no shell at hand: plain HTML that needs no script and nothing from elsewhere.
//!
//! The token stands behind `#` in a link. Browsers do not send that, so it is in no server's log. A page has a field for the link; a
//! script of a few words fills it in, and who runs no scripts pastes it. Nothing is done before a button is pressed: programs that
//! look at the links in mails change nothing.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::extract::Peer;
use super::reference::escaped;
use crate::app::App;
use crate::error::AppError;
use crate::secret::Secret;

/// Where the pages are; the last one is where payment services send people back to.
pub const PAGES: [&str; 4] = ["/verify", "/reset", "/join", "/organisations/{organisation}/invoices/{month}"];

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#1b1f24;\
background:#fff}label{display:block;margin-top:1rem;font-weight:600}input,button{font:inherit;padding:.5rem;box-sizing:border-box}\
input{width:100%;border:1px solid #57606a;border-radius:.25rem}button{margin-top:1.5rem;padding:.5rem 1.5rem;color:#fff;\
background:#0550ae;border:0;border-radius:.25rem}[role=alert]{border-left:.25rem solid #cf222e;padding-left:.75rem}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}input{background:#161b22;color:inherit}}";

const SCRIPT: &str = "const t=/^#token=(.+)$/.exec(location.hash),f=document.getElementById('link');\
if(t&&f){f.value=t[1];history.replaceState(null,'',location.pathname)}";

/// What a page is for.
struct Page {
    title: &'static str,
    /// What to do.
    lead: &'static str,
    /// Whether it asks for the account's address, and the code of its second factor.
    asks_who: bool,
    /// The label of the password, and what a password manager is to put there.
    password: (&'static str, &'static str),
    button: &'static str,
    /// What is said when it is done.
    done: &'static str,
}

const VERIFY: Page = Page {
    title: "Confirm your address",
    lead: "Give the password that you chose when you signed up. Then your account is made.",
    asks_who: false,
    password: ("Password", "current-password"),
    button: "Confirm",
    done: "Your account is there. Log in at a shell: <code>farwatch login</code>",
};

const RESET: Page = Page {
    title: "Choose a new password",
    lead: "All sessions of your account end; a second factor stays on.",
    asks_who: false,
    password: ("New password, 10 characters or more", "new-password"),
    button: "Set the password",
    done: "The new password is in force. Log in at a shell: <code>farwatch login</code>",
};

const JOIN: Page = Page {
    title: "Join an organisation",
    lead: "Give the password of your account with the address that was invited. If there is none yet, make it first: \
           <code>farwatch signup</code>",
    asks_who: true,
    password: ("Password", "current-password"),
    button: "Join",
    done: "You are a member now. See its tenants at a shell: <code>farwatch tenant list</code>",
};

/// What was typed into a page.
#[derive(Deserialize)]
struct Typed {
    link: Secret,
    password: Secret,
    #[serde(default)]
    email: String,
    code: Option<Secret>,
}

impl Typed {
    /// What stands behind `#token=` in the link, or all of it.
    fn token(&self) -> Secret {
        let link = self.link.expose();
        let token = link.rsplit_once("#token=").map_or(link, |(_, token)| token);
        Secret::new(token.trim().to_owned())
    }
}

/// What is posted, or why it cannot be read.
type Posted = Result<Form<Typed>, FormRejection>;

pub(super) fn router() -> Router<Arc<App>> {
    let shown = |page: &'static Page| get(move || async move { html(form(page, None, "", "")) });
    let pages: [MethodRouter<Arc<App>>; PAGES.len()] =
        [shown(&VERIFY).post(verify), shown(&RESET).post(reset), shown(&JOIN).post(join), get(invoice)];
    PAGES.into_iter().zip(pages).fold(Router::new(), |router, (path, page)| router.route(path, page))
}

async fn verify(State(app): State<Arc<App>>, Peer(peer): Peer, typed: Posted) -> Response {
    answer(&VERIFY, typed, async |typed| {
        app.verify_signup(&typed.token(), typed.password.clone(), peer).await
    })
    .await
}

async fn reset(State(app): State<Arc<App>>, Peer(peer): Peer, typed: Posted) -> Response {
    answer(&RESET, typed, async |typed| app.finish_reset(&typed.token(), typed.password.clone(), peer).await)
        .await
}

/// Logs in for as long as it takes to join.
async fn join(State(app): State<Arc<App>>, Peer(peer): Peer, typed: Posted) -> Response {
    answer(&JOIN, typed, async |typed| {
        let code = typed.code.as_ref().filter(|code| !code.expose().is_empty());
        let tokens = app.log_in(&typed.email, typed.password.clone(), code, peer).await?;
        let bearer = Secret::new(format!("Bearer {}", tokens.access.expose()));
        let actor = app.authenticate(Some(bearer.expose().as_bytes()), peer).await?;
        let joined = app.accept_invitation(&actor, &typed.token()).await;
        app.log_out(&actor).await?;
        joined.map(|_| ())
    })
    .await
}

async fn invoice() -> Response {
    html(document(
        "Your invoice",
        "<p>See it at a shell: <code>farwatch invoice show MONTH</code>, or with <code>--html</code> to print it. \
         <code>farwatch invoice list</code> says which are paid.</p>",
    ))
}

/// Does what was asked, and says what came of it; what was typed stays, but for the password.
async fn answer(
    page: &Page,
    typed: Posted,
    act: impl AsyncFnOnce(&Typed) -> Result<(), AppError>,
) -> Response {
    let (email, link, error) = match typed {
        Ok(Form(typed)) => match act(&typed).await {
            Ok(()) => return html(document(page.title, &format!("<p>{}</p>", page.done))),
            Err(error) => (typed.email, typed.link, error),
        },
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            (String::new(), Secret::new(String::new()), AppError::TooLarge)
        }
        Err(_) => {
            let error = AppError::Body("fill in all fields".to_owned());
            (String::new(), Secret::new(String::new()), error)
        }
    };
    let text = form(page, Some(&error), &email, link.expose());
    let mut response = error.into_response();
    *response.body_mut() = text.into();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().extend(headers());
    response
}

/// The page with its fields.
fn form(page: &Page, error: Option<&AppError>, email: &str, link: &str) -> String {
    let mut body = format!("<p>{}</p>", page.lead);
    if let Some(error) = error {
        let _ = write!(body, "<p role=\"alert\">Not done: {}.</p>", escaped(&error.to_string()));
    }
    let _ = write!(
        body,
        "<form method=\"post\"><label for=\"link\">The link in the mail</label>\
         <input id=\"link\" name=\"link\" required autocomplete=\"off\" spellcheck=\"false\" value=\"{}\">",
        escaped(link)
    );
    if page.asks_who {
        let _ = write!(
            body,
            "<label for=\"email\">E-mail address</label><input id=\"email\" name=\"email\" type=\"email\" required \
             autocomplete=\"username\" value=\"{}\">",
            escaped(email)
        );
    }
    let (label, manager) = page.password;
    let _ = write!(
        body,
        "<label for=\"password\">{label}</label><input id=\"password\" name=\"password\" type=\"password\" required \
         autocomplete=\"{manager}\">"
    );
    if page.asks_who {
        body.push_str(
            "<label for=\"code\">Code of the second factor, if one is on</label><input id=\"code\" name=\"code\" \
             autocomplete=\"one-time-code\">",
        );
    }
    let _ = write!(body, "<button>{}</button></form><script>{SCRIPT}</script>", page.button);
    document(page.title, &body)
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}: Farwatch</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )
}

fn html(text: String) -> Response {
    (headers(), text).into_response()
}

/// Nothing from elsewhere, no frame around it, and no word of where one comes from.
fn headers() -> HeaderMap {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    });
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_shown_as_text() {
        let error = AppError::Body("<b>".to_owned());
        let page = form(&JOIN, Some(&error), "\"><script>1</script>", "\"><script>2</script>");
        assert!(
            !page.contains("<script>1") && !page.contains("<script>2") && !page.contains("<b>"),
            "{page}"
        );
    }

    #[test]
    fn a_link_or_its_token_is_taken() {
        let token = |link: &str| {
            let [link, password] = [link, ""].map(|text| Secret::new(text.to_owned()));
            Typed { link, password, email: String::new(), code: None }.token().expose().to_owned()
        };
        assert_eq!(token(" http://h/verify#token=a-b_c\n"), "a-b_c");
        assert_eq!(token("a-b_c"), "a-b_c");
    }
}
