-- What the operator's changes that are nobody else's belong to: prices, cells. One row, whose revision numbers its audit log.
CREATE TABLE operators (
  id TEXT PRIMARY KEY,
  revision BIGINT NOT NULL
);
INSERT INTO operators (id, revision) VALUES ('operator', 0);
