//! API keys, scopes, the tenant directory and limits.
