-- When it was asked to delete the data of a deleted tenant, and when that was done. Null for tenants that were deleted before these
-- columns were there: their data stays until the operator deletes it, as was said then.
ALTER TABLE tenants ADD COLUMN erasure_asked_at_ms BIGINT;
ALTER TABLE tenants ADD COLUMN erased_at_ms BIGINT;
