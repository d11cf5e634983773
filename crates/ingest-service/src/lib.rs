//! Authenticate, decode, check, limit, columnise, commit, ack.
