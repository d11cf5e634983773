-- Why a conflict is over. Null for those that ended before this column was there.
ALTER TABLE placement_conflicts ADD COLUMN resolution TEXT;
