//! Accounts: signing up, passwords, the second factor.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Caller, Peer};
use super::problem::Problems;
use crate::app::App;
use crate::error::AppError;
use crate::secret::Secret;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(verify))
        .routes(routes!(request_reset))
        .routes(routes!(finish_reset))
        .routes(routes!(account))
        .routes(routes!(change_password))
        .routes(routes!(propose_second_factor, disable_second_factor))
        .routes(routes!(enable_second_factor))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignUp {
    #[schema(example = "ada@example.com")]
    email: String,
    /// 10 to 256 bytes.
    password: Secret,
}

/// Sign up
///
/// Sends a mail with a link to confirm the address. The answer is the same whether there is an account with this address or not.
#[utoipa::path(post, path = "/accounts", tag = "accounts", request_body = SignUp,
    responses((status = 202, description = "A mail is on its way."), Problems))]
async fn sign_up(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Body(body): Body<SignUp>,
) -> Result<StatusCode, AppError> {
    app.sign_up(&body.email, body.password, peer).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Verify {
    /// What stands behind `#token=` in the link.
    token: Secret,
    /// The one that was chosen when signing up.
    password: Secret,
}

/// Confirm the address
///
/// Makes the account. Log in afterwards.
#[utoipa::path(post, path = "/accounts/verify", tag = "accounts", request_body = Verify,
    responses((status = 204, description = "The account is there."), Problems))]
async fn verify(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Body(body): Body<Verify>,
) -> Result<StatusCode, AppError> {
    app.verify_signup(&body.token, body.password, peer).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RequestReset {
    #[schema(example = "ada@example.com")]
    email: String,
}

/// Ask for a new password
///
/// Sends a mail with a link, if there is an account with this address; the answer does not say whether there is.
#[utoipa::path(post, path = "/accounts/password-reset", tag = "accounts", request_body = RequestReset,
    responses((status = 202, description = "If there is an account, a mail is on its way."), Problems))]
async fn request_reset(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Body(body): Body<RequestReset>,
) -> Result<StatusCode, AppError> {
    app.request_reset(&body.email, peer)?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FinishReset {
    /// What stands behind `#token=` in the link.
    token: Secret,
    /// The new one; 10 to 256 bytes.
    password: Secret,
}

/// Choose a new password
///
/// Ends all sessions. A second factor stays on.
#[utoipa::path(post, path = "/accounts/password-reset/confirm", tag = "accounts", request_body = FinishReset,
    responses((status = 204, description = "The new password is in force."), Problems))]
async fn finish_reset(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Body(body): Body<FinishReset>,
) -> Result<StatusCode, AppError> {
    app.finish_reset(&body.token, body.password, peer).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct Account {
    id: String,
    email: String,
    /// Whether logging in takes a code.
    second_factor: bool,
    /// Milliseconds since the Unix epoch.
    created_at_ms: i64,
}

/// The own account
#[utoipa::path(get, path = "/account", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, body = Account), Problems))]
async fn account(State(app): State<Arc<App>>, Caller(actor): Caller) -> Result<Json<Account>, AppError> {
    let user = app.own_account(&actor).await?;
    Ok(Json(Account {
        id: user.id,
        email: user.email,
        second_factor: user.totp_enabled_at_ms.is_some(),
        created_at_ms: user.created_at_ms,
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangePassword {
    current_password: Secret,
    /// 10 to 256 bytes.
    new_password: Secret,
}

/// Change the password
///
/// Ends all other sessions.
#[utoipa::path(put, path = "/account/password", tag = "accounts", security(("bearer" = [])),
    request_body = ChangePassword, responses((status = 204, description = "The new password is in force."), Problems))]
async fn change_password(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Body(body): Body<ChangePassword>,
) -> Result<StatusCode, AppError> {
    app.change_password(&actor, body.current_password, body.new_password).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProposeSecondFactor {
    password: Secret,
}

#[derive(Serialize, ToSchema)]
struct SecondFactor {
    /// In Base32, for typing it into an app. Shown once.
    secret: Secret,
    /// The same for a QR code.
    uri: Secret,
}

/// Ask for a second factor
///
/// It is in force once a code of it has been confirmed.
#[utoipa::path(post, path = "/account/second-factor", tag = "accounts", security(("bearer" = [])),
    request_body = ProposeSecondFactor, responses((status = 200, body = SecondFactor), Problems))]
async fn propose_second_factor(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Body(body): Body<ProposeSecondFactor>,
) -> Result<Json<SecondFactor>, AppError> {
    let proposed = app.propose_second_factor(&actor, body.password).await?;
    Ok(Json(SecondFactor { secret: proposed.secret, uri: proposed.uri }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EnableSecondFactor {
    /// Six digits.
    code: Secret,
}

/// Turn the second factor on
///
/// Logging in takes a code from now on.
#[utoipa::path(post, path = "/account/second-factor/confirm", tag = "accounts", security(("bearer" = [])),
    request_body = EnableSecondFactor, responses((status = 200, body = RecoveryCodes), Problems))]
async fn enable_second_factor(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Body(body): Body<EnableSecondFactor>,
) -> Result<Json<RecoveryCodes>, AppError> {
    let recovery_codes = app.enable_second_factor(&actor, &body.code).await?;
    Ok(Json(RecoveryCodes { recovery_codes }))
}

#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    /// Each is good once in the place of a code, for when the app is lost. Shown once.
    recovery_codes: Vec<Secret>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DisableSecondFactor {
    password: Secret,
    /// Six digits, or a recovery code.
    code: Secret,
}

/// Turn the second factor off
#[utoipa::path(delete, path = "/account/second-factor", tag = "accounts", security(("bearer" = [])),
    request_body = DisableSecondFactor, responses((status = 204, description = "Logging in takes no code any more."), Problems))]
async fn disable_second_factor(
    State(app): State<Arc<App>>,
    Caller(actor): Caller,
    Body(body): Body<DisableSecondFactor>,
) -> Result<StatusCode, AppError> {
    app.disable_second_factor(&actor, body.password, &body.code).await?;
    Ok(StatusCode::NO_CONTENT)
}
