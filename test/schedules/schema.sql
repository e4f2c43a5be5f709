-- Rows that each site makes for itself, and that only their maker deletes.
CREATE TABLE entry (id text PRIMARY KEY, token text NOT NULL, payload text);
-- Rows that everybody writes, deletes and makes anew.
CREATE TABLE hot (id int PRIMARY KEY, token text NOT NULL, n int NOT NULL DEFAULT 0);
-- A key that several want.
CREATE TABLE account (id text PRIMARY KEY, token text NOT NULL, mail text UNIQUE);
-- A parent that goes while children come.
CREATE TABLE team (id int PRIMARY KEY, token text NOT NULL);
CREATE TABLE player (id text PRIMARY KEY, token text NOT NULL, team int REFERENCES team ON DELETE CASCADE);
