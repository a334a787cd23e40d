-- Collations that need ICU. Load with psql after hostile.sql, into a server built with ICU.
\set ON_ERROR_STOP 1
CREATE COLLATION french (provider = icu, locale = 'fr-u-kn-true');
CREATE COLLATION case_blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE people (id int PRIMARY KEY, name text COLLATE french, login text COLLATE case_blind UNIQUE, nick ext.citext);
INSERT INTO people VALUES (1, 'Élodie', 'Elodie', 'Lo'), (2, 'Etienne', 'etienne', 'lo'), (3, 'eve', 'EVE', NULL);
CREATE INDEX people_name ON people (name COLLATE case_blind DESC);
COMMENT ON COLLATION case_blind IS 'upper is lower';
