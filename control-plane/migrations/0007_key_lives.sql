-- How long a key was to be good when it was made. Rotation ends a key early, so its times do not say it for ever.
ALTER TABLE api_keys ADD COLUMN life_ms BIGINT;
