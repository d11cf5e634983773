-- Until when ledgers were read: all that they had then is in `usage_hours`.
CREATE TABLE usage_reads (
  -- Empty for when all were read, one after the other.
  tenant_id TEXT PRIMARY KEY,
  read_at_ms BIGINT NOT NULL
);
-- The same of a final invoice. Null for those that are older than this column.
ALTER TABLE invoices ADD COLUMN as_of_ms BIGINT;
