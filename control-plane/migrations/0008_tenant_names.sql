-- Two tenants of an organisation do not have the same name. There may be some that do, and the release before this one, which may still
-- run, neither asks nor fills this in; so the rule is in a column of its own, which is empty where it does not hold yet. (To contract:
-- once no such release runs and nobody has such names, an index over the name itself.)
ALTER TABLE tenants ADD COLUMN unique_name TEXT;
UPDATE tenants SET unique_name = name
  WHERE deleted_at_ms IS NULL AND NOT EXISTS (
    SELECT 1 FROM tenants other
    WHERE other.organisation_id = tenants.organisation_id AND other.name = tenants.name AND other.deleted_at_ms IS NULL
      AND (other.created_at_ms < tenants.created_at_ms
        OR (other.created_at_ms = tenants.created_at_ms AND other.id < tenants.id)));
CREATE UNIQUE INDEX tenants_by_unique_name ON tenants (organisation_id, unique_name);
