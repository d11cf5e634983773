-- Accounts, and what proves that somebody owns one. Only hashes of secrets are here.
CREATE TABLE users (
  id TEXT PRIMARY KEY,
  -- Lower case.
  email TEXT NOT NULL UNIQUE,
  -- Argon2id in PHC format.
  password_hash TEXT NOT NULL,
  -- The second factor's secret is derived from this and a key outside the database.
  totp_nonce TEXT,
  totp_enabled_at_ms BIGINT,
  -- The last time step whose code was used: none is good twice.
  totp_last_step BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  -- Grows with every change of the account; numbers its audit log.
  revision BIGINT NOT NULL
);

-- Somebody wants an account. There is none until they follow the link in the mail and know the password of this very signup.
CREATE TABLE signups (
  token_sha256 TEXT PRIMARY KEY,
  email TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL
);
CREATE INDEX signups_by_expiry ON signups (expires_at_ms);

CREATE TABLE password_resets (
  token_sha256 TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL
);
CREATE INDEX password_resets_by_user ON password_resets (user_id);
CREATE INDEX password_resets_by_expiry ON password_resets (expires_at_ms);

CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at_ms BIGINT NOT NULL,
  -- Whatever is refreshed, the session ends here.
  expires_at_ms BIGINT NOT NULL,
  ended_at_ms BIGINT
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at_ms);

CREATE TABLE refresh_tokens (
  token_sha256 TEXT PRIMARY KEY,
  session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  issued_at_ms BIGINT NOT NULL,
  -- Used ones are kept while the session lives: a second use shows that somebody has stolen one.
  used_at_ms BIGINT
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
