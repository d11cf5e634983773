-- API keys, quotas, and what tells the publisher that the tenant directory has to be published anew.
CREATE TABLE api_keys (
  -- The key's public part.
  id TEXT PRIMARY KEY,
  tenant_id TEXT NOT NULL REFERENCES tenants (id),
  name TEXT NOT NULL,
  -- SHA-256 of the whole key in hexadecimal digits.
  sha256 TEXT NOT NULL,
  -- Separated by spaces.
  scopes TEXT NOT NULL,
  priority TEXT NOT NULL,
  -- Networks (CIDR) separated by spaces; every address when empty.
  networks TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT,
  revoked_at_ms BIGINT,
  last_used_at_ms BIGINT
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, created_at_ms);

-- What a tenant's limits are instead of what its plan says.
CREATE TABLE quota_overrides (
  tenant_id TEXT NOT NULL REFERENCES tenants (id),
  name TEXT NOT NULL,
  value BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, name)
);

-- One row for each change that the published directory has to show. Written with the change, deleted when published.
CREATE TABLE directory_outbox (
  id TEXT PRIMARY KEY,
  created_at_ms BIGINT NOT NULL
);
