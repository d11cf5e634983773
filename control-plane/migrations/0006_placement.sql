-- Cells, where tenants are and why, and where their telemetry says that production runs.
CREATE TABLE cells (
  id TEXT PRIMARY KEY,
  -- Such as aws:eu-west-1.
  region TEXT NOT NULL,
  -- Regions and providers that it needs besides, separated by spaces.
  depends_on TEXT NOT NULL,
  -- Samples a second.
  capacity BIGINT NOT NULL,
  -- Percent of the reference cell's cost.
  cost_index BIGINT NOT NULL,
  -- From when on it takes no more tenants.
  closed_at_ms BIGINT
);

-- One row, whose change orders placements: what is free in a cell stays free until the one that looked has taken it.
CREATE TABLE placement_turn (
  name TEXT PRIMARY KEY,
  revision BIGINT NOT NULL
);
INSERT INTO placement_turn (name, revision) VALUES ('turn', 0);

CREATE TABLE placements (
  tenant_id TEXT PRIMARY KEY REFERENCES tenants (id),
  -- What the tenant declared, as JSON.
  declaration TEXT NOT NULL,
  home_cell TEXT NOT NULL REFERENCES cells (id),
  standby_cell TEXT REFERENCES cells (id),
  -- What both cells keep free for it, in samples a second.
  capacity BIGINT NOT NULL,
  -- Why there, as JSON.
  decision TEXT NOT NULL,
  decided_at_ms BIGINT NOT NULL
);
CREATE INDEX placements_by_home ON placements (home_cell);
CREATE INDEX placements_by_standby ON placements (standby_cell);

-- Samples that named the same place, since the first of them.
CREATE TABLE footprints (
  tenant_id TEXT NOT NULL REFERENCES tenants (id),
  provider TEXT NOT NULL,
  region TEXT NOT NULL,
  zone TEXT NOT NULL,
  samples BIGINT NOT NULL,
  first_seen_ms BIGINT NOT NULL,
  last_seen_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, provider, region, zone)
);

-- That production was seen where one of a tenant's cells is. Kept when it is over.
CREATE TABLE placement_conflicts (
  tenant_id TEXT NOT NULL REFERENCES tenants (id),
  role TEXT NOT NULL,
  cell TEXT NOT NULL,
  region TEXT NOT NULL,
  -- 1 where the cell only depends on the region.
  hidden BIGINT NOT NULL,
  raised_at_ms BIGINT NOT NULL,
  resolved_at_ms BIGINT,
  PRIMARY KEY (tenant_id, role, cell, region, raised_at_ms)
);

-- Of which limits of a tenant, nearly reached, its organisation was told when.
CREATE TABLE limit_notices (
  tenant_id TEXT NOT NULL REFERENCES tenants (id),
  name TEXT NOT NULL,
  told_at_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, name)
);
