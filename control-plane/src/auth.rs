//! Proofs of who somebody is. Pure: time and randomness are arguments.
//!
//! | module | what |
//! |---|---|
//! | [`root`] | the one secret of a control plane, and what is derived from it |
//! | [`password`] | passwords at rest |
//! | [`totp`] | the second factor |
//! | [`access_token`] | signed, short-lived proofs of a session |

pub(crate) mod access_token;
pub(crate) mod password;
pub(crate) mod root;
pub(crate) mod totp;
