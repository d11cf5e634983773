-- What was used, what it costs, who was billed for it, and who has paid.

-- The ledger's hours as they were last folded: whole values, never increments, so that folding twice changes nothing. A tenant
-- need not be in `tenants`: the first start's is in the ledger only.
CREATE TABLE usage_hours (
  tenant_id TEXT NOT NULL,
  signal TEXT NOT NULL,
  -- Hours since the Unix epoch.
  hour BIGINT NOT NULL,
  samples BIGINT NOT NULL,
  spans BIGINT NOT NULL,
  stored_bytes BIGINT NOT NULL,
  active_series BIGINT NOT NULL,
  -- When these values were first seen: what came after an invoice was final shows here.
  changed_at_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, signal, hour)
);

-- Which version of a ledger `usage_hours` has. An older one is never folded after a newer one.
CREATE TABLE usage_ledgers (
  tenant_id TEXT NOT NULL,
  signal TEXT NOT NULL,
  generation BIGINT NOT NULL,
  -- Names this version to who reads it again.
  tag TEXT NOT NULL,
  -- What the tenant's objects take in the bucket, and until when that is in `resource_uses`.
  at_rest_bytes BIGINT NOT NULL,
  measured_at_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, signal)
);

-- What ingest processes counted by metric name and API key: a statistic that divides a month's exact usage.
CREATE TABLE attributed_samples (
  tenant_id TEXT NOT NULL,
  signal TEXT NOT NULL,
  -- Such as 2026-11, by when it was written.
  month TEXT NOT NULL,
  -- metric or api_key.
  dimension TEXT NOT NULL,
  -- Empty for all beyond the most names that are kept.
  name TEXT NOT NULL,
  samples BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, month, signal, dimension, name)
);

-- What the operator pays for.
CREATE TABLE resource_uses (
  month TEXT NOT NULL,
  -- Empty for what many tenants used together.
  tenant_id TEXT NOT NULL,
  resource TEXT NOT NULL,
  quantity BIGINT NOT NULL,
  PRIMARY KEY (month, tenant_id, resource)
);

-- Reports of processes that are counted in the two tables above: each once.
CREATE TABLE activity_reports (
  id TEXT PRIMARY KEY,
  counted_at_ms BIGINT NOT NULL
);
CREATE INDEX activity_reports_by_age ON activity_reports (counted_at_ms);

-- Versions of price plans. Never changed, only followed by others.
CREATE TABLE price_plans (
  plan TEXT NOT NULL,
  version BIGINT NOT NULL,
  effective_from_s BIGINT NOT NULL,
  -- JSON.
  document TEXT NOT NULL,
  PRIMARY KEY (plan, version)
);

-- When an organisation was on which plan. The last one goes on.
CREATE TABLE plan_terms (
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  from_s BIGINT NOT NULL,
  until_s BIGINT,
  plan TEXT NOT NULL,
  PRIMARY KEY (organisation_id, from_s)
);
INSERT INTO plan_terms (organisation_id, from_s, plan)
  SELECT id, created_at_ms / 1000, plan FROM organisations;

CREATE TABLE credits (
  id TEXT PRIMARY KEY,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  kind TEXT NOT NULL,
  currency TEXT NOT NULL,
  granted_micros BIGINT NOT NULL,
  left_micros BIGINT NOT NULL CHECK (left_micros >= 0 AND left_micros <= granted_micros),
  granted_s BIGINT NOT NULL,
  expires_s BIGINT,
  -- For its owner.
  reason TEXT NOT NULL
);
CREATE INDEX credits_by_organisation ON credits (organisation_id);

-- The last number given to an invoice. It goes up in the transaction that makes the invoice, so there is no gap.
CREATE TABLE invoice_numbers (
  name TEXT PRIMARY KEY,
  last BIGINT NOT NULL
);
INSERT INTO invoice_numbers (name, last) VALUES ('invoices', 0);

-- Final invoices. Only `paid_at_ms` ever changes.
CREATE TABLE invoices (
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  month TEXT NOT NULL,
  number BIGINT NOT NULL UNIQUE,
  currency TEXT NOT NULL,
  total_micros BIGINT NOT NULL,
  finalised_at_ms BIGINT NOT NULL,
  -- Also where nothing was to be paid.
  paid_at_ms BIGINT,
  -- The invoice, and all that it is a function of, as JSON.
  document TEXT NOT NULL,
  input TEXT NOT NULL,
  PRIMARY KEY (organisation_id, month)
);

-- Attempts to have an invoice paid.
CREATE TABLE payments (
  id TEXT PRIMARY KEY,
  organisation_id TEXT NOT NULL REFERENCES organisations (id),
  month TEXT NOT NULL,
  provider TEXT NOT NULL,
  -- What the provider calls it, and where the customer pays; null until the provider has answered.
  reference TEXT,
  url TEXT,
  amount_micros BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  -- The provider takes no money for it from then on.
  expires_at_ms BIGINT,
  paid_at_ms BIGINT
);
CREATE INDEX payments_by_invoice ON payments (organisation_id, month, created_at_ms);

-- What providers told, each once.
CREATE TABLE payment_events (
  provider TEXT NOT NULL,
  id TEXT NOT NULL,
  received_at_ms BIGINT NOT NULL,
  PRIMARY KEY (provider, id)
);

-- How far an organisation has come towards its spend limit, and of what it was told.
CREATE TABLE spend_states (
  organisation_id TEXT PRIMARY KEY REFERENCES organisations (id),
  month TEXT NOT NULL,
  -- 0, 50, 80 or 100.
  warned_percent BIGINT NOT NULL,
  -- 1 while its tenants' writes are refused.
  stopped BIGINT NOT NULL
);
