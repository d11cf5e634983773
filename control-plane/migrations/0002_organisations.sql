-- Organisations, who is in them, their tenants, and the log of all changes.
CREATE TABLE organisations (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  -- Name of a quota plan.
  plan TEXT NOT NULL,
  -- Millionths of the currency, a month; no limit when null.
  spend_limit_micros BIGINT,
  created_at_ms BIGINT NOT NULL,
  -- Grows with every change of the organisation and all that belongs to it; numbers its audit log.
  revision BIGINT NOT NULL
);

CREATE TABLE memberships (
  organisation_id TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (organisation_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id);

CREATE TABLE invitations (
  id TEXT PRIMARY KEY,
  organisation_id TEXT NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
  -- Lower case. Only an account with this address can accept.
  email TEXT NOT NULL,
  role TEXT NOT NULL,
  token_sha256 TEXT NOT NULL UNIQUE,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL
);
CREATE INDEX invitations_by_organisation ON invitations (organisation_id, created_at_ms);
CREATE INDEX invitations_by_expiry ON invitations (expires_at_ms);

CREATE TABLE tenants (
  id TEXT PRIMARY KEY,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  name TEXT NOT NULL,
  shard BIGINT NOT NULL,
  retention_days BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  -- Deleted tenants stay, so that their ids are never given out again and bills can name them.
  deleted_at_ms BIGINT
);
CREATE INDEX tenants_by_organisation ON tenants (organisation_id, created_at_ms);

CREATE TABLE audit_log (
  -- An organisation's or an account's id, and its revision: no gap, no two changes at once.
  scope TEXT NOT NULL,
  revision BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  -- JSON.
  details TEXT NOT NULL,
  PRIMARY KEY (scope, revision)
);
