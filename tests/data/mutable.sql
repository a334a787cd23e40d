-- One small thing of every kind that a restore must bring back, to be damaged one by one. Load with psql as a
-- superuser into an empty UTF-8 database; PostgreSQL 15 and newer. Roles are shared by the server and made once.
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mut_owner') THEN
        CREATE ROLE mut_owner NOLOGIN;
        CREATE ROLE mut_reader LOGIN CONNECTION LIMIT 5;
        GRANT mut_owner TO mut_reader;
        ALTER ROLE mut_reader SET lock_timeout = '9s';
    END IF;
END $$;

CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE TYPE stage AS ENUM ('open', 'paid', 'late');
CREATE DOMAIN amount AS numeric CHECK (VALUE >= 0);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION rent_of(tenant int) RETURNS numeric LANGUAGE sql STABLE AS $$ SELECT 700.00 + tenant $$;
CREATE FUNCTION ddl_seen() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE PROCEDURE do_nothing() LANGUAGE sql AS '';
CREATE AGGREGATE longest(int) (SFUNC = int4larger, STYPE = int);
CREATE COLLATION plain_order (provider = libc, locale = 'C');
CREATE TEXT SEARCH CONFIGURATION french_plain (COPY = simple);

CREATE TABLE tenants (
    id int PRIMARY KEY, name text NOT NULL DEFAULT 'nobody', mail citext UNIQUE, city text,
    stage stage DEFAULT 'open', note text, code char(4) DEFAULT 'x');
INSERT INTO tenants (id, name, mail, city, note)
    SELECT i, 'Tenant ' || i, i || '@example.org', (ARRAY['Lyon', 'Brest', 'Pau'])[i % 3 + 1],
           CASE WHEN i % 5 = 0 THEN '' WHEN i % 7 = 0 THEN NULL ELSE 'n' || i END
    FROM generate_series(1, 2000) AS i;
CREATE INDEX tenants_city ON tenants (city) WHERE note IS NOT NULL;
COMMENT ON TABLE tenants IS 'who lives there';
CREATE TABLE payments (
    id bigserial PRIMARY KEY, tenant int NOT NULL REFERENCES tenants, due amount, rate float8, period interval,
    paid_on date, doc jsonb, raw bytea, tags text[], CONSTRAINT rate_sane CHECK (rate < 100));
INSERT INTO payments (tenant, due, rate, period, paid_on, doc, raw, tags)
    SELECT i, CASE i WHEN 3 THEN 1.00 ELSE i / 4.0 END, CASE i WHEN 1 THEN 0 ELSE i / 7.0 END, interval '30 days',
           date '2026-01-01' + i % 300, jsonb_build_object('n', 1.00, 'i', i), decode(lpad(to_hex(i), 8, '0'), 'hex'),
           ARRAY['a', NULL, i::text]
    FROM generate_series(1, 500) AS i;
CREATE TABLE without_key (a int, b text);
INSERT INTO without_key SELECT i % 3, 'b' FROM generate_series(1, 9) AS i;
CREATE TABLE empty_one (a int, label varchar(40) COLLATE plain_order);
CREATE TABLE visits (at date NOT NULL, place text) PARTITION BY RANGE (at);
CREATE TABLE visits_2025 PARTITION OF visits FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO visits SELECT date '2025-07-01' + i, 'p' || i FROM generate_series(1, 400) AS i;
CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (7) STORED);
INSERT INTO counted SELECT FROM generate_series(1, 5);
CREATE STATISTICS tenants_stats (dependencies) ON city, stage FROM tenants;

CREATE SEQUENCE receipts INCREMENT 5 START 1000;
SELECT nextval('receipts'), nextval('receipts') \g /dev/null
CREATE VIEW late AS SELECT id, name FROM tenants WHERE stage = 'late';
CREATE MATERIALIZED VIEW per_city AS SELECT city, count(*) AS n FROM tenants GROUP BY city;
CREATE RULE never AS ON DELETE TO without_key WHERE OLD.a > 99 DO INSTEAD NOTHING;
CREATE TRIGGER tenants_touch BEFORE UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION touch();
CREATE EVENT TRIGGER seen ON ddl_command_end WHEN TAG IN ('CREATE OPERATOR') EXECUTE FUNCTION ddl_seen();
ALTER TABLE without_key ENABLE ROW LEVEL SECURITY;
CREATE POLICY only_ones ON without_key USING (a = 1);
CREATE PUBLICATION tenants_out FOR TABLE tenants;
SELECT lo_from_bytea(70001, '\x000102'), lo_from_bytea(70002, '\xff') \g /dev/null
ALTER TABLE payments OWNER TO mut_owner;
GRANT SELECT ON tenants TO mut_reader;
GRANT UPDATE (note) ON tenants TO mut_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO mut_reader;
ALTER DATABASE :"DBNAME" SET work_mem = '5MB';
