-- Which of the codes that stand in for a lost second factor were used: a bit for each.
ALTER TABLE users ADD COLUMN recovery_used BIGINT NOT NULL DEFAULT 0;
