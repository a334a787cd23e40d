-- A database that gives every dump, restore and comparison a hard time. Load with psql as a superuser, into an
-- empty UTF-8 database; PostgreSQL 14 to 18. Roles are shared by the server and made only once.
\set ON_ERROR_STOP 1
SELECT current_setting('server_version_num')::int >= 150000 AS since15,
       current_setting('server_version_num')::int >= 180000 AS since18 \gset

SET client_min_messages = warning;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hostile owner') THEN
        CREATE ROLE "hostile owner" NOLOGIN CREATEDB CONNECTION LIMIT 7 VALID UNTIL '2099-12-31 23:59:59+00';
        CREATE ROLE hostile_reader LOGIN NOINHERIT;
        CREATE ROLE "Rôle; DROP TABLE x--" NOLOGIN;
        GRANT "hostile owner" TO hostile_reader WITH ADMIN OPTION;
        ALTER ROLE hostile_reader SET work_mem = '5MB';
        COMMENT ON ROLE hostile_reader IS 'reads';
    END IF;
END $$;

-- Extensions, one in a schema of its own
CREATE SCHEMA ext;
CREATE SCHEMA "Gestion Locative é";
CREATE SCHEMA "select" AUTHORIZATION "hostile owner";
CREATE SCHEMA empty_schema;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION hstore;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION ltree;
CREATE EXTENSION btree_gist;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION tablefunc;
COMMENT ON EXTENSION hstore IS 'other words than its own';

-- Types
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'l''été', '');
ALTER TYPE mood ADD VALUE 'in between' BEFORE 'ok';
CREATE TYPE address AS (street text, "Number" int, tags text[], since date);
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE DOMAIN positive AS numeric(12, 2) DEFAULT 1.00 CHECK (VALUE > 0);
CREATE DOMAIN "Code Postal" AS varchar(5) COLLATE "C" NOT NULL CONSTRAINT cinq CHECK (VALUE ~ '^\d{5}$');
CREATE DOMAIN over_domain AS positive CHECK (VALUE < 1e9);
CREATE DOMAIN bits AS bit(3);
CREATE TYPE shell_only;
COMMENT ON TYPE mood IS 'how one feels';
COMMENT ON DOMAIN positive IS 'above nought';

-- Functions
CREATE FUNCTION add_one(i int, OUT plus int) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT i + 1';
CREATE FUNCTION public."Étrange ""nom"""(VARIADIC a int[] DEFAULT '{1,2}') RETURNS int LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, public SET "work_mem" = '4MB' COST 42 AS
    $body$ BEGIN -- a comment; with 'quotes' and $dollars$
        RETURN array_length(a, 1); END $body$;
CREATE FUNCTION standard_body(a int, b text DEFAULT 'x') RETURNS text LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT b || a::text WHERE b::varchar IN ('x', 'y'); END;
CREATE FUNCTION many() RETURNS TABLE (a int, b text) LANGUAGE sql ROWS 12 AS $$ VALUES (1, 'x'), (2, 'y') $$;
CREATE PROCEDURE do_nothing(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := a + 1; COMMIT; END $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION ddl_seen() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE FUNCTION eq_address(address, address) RETURNS bool LANGUAGE sql IMMUTABLE
    AS $$ SELECT ($1).street = ($2).street $$;
CREATE FUNCTION ne_address(address, address) RETURNS bool LANGUAGE sql IMMUTABLE
    AS $$ SELECT NOT ($1).street = ($2).street $$;
CREATE FUNCTION address_text(address) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'always the same' $$;
CREATE FUNCTION int_cmp(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT btint4cmp($2, $1) $$;
CREATE OPERATOR public.=== (LEFTARG = address, RIGHTARG = address, FUNCTION = eq_address, COMMUTATOR = ===,
    NEGATOR = !===, RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR public.!=== (LEFTARG = address, RIGHTARG = address, FUNCTION = ne_address, COMMUTATOR = !===,
    NEGATOR = ===);
CREATE CAST (address AS text) WITH FUNCTION address_text(address) AS ASSIGNMENT;
CREATE OPERATOR FAMILY upside_down USING btree;
CREATE OPERATOR CLASS int4_reverse FOR TYPE int4 USING btree FAMILY upside_down AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 int_cmp(int, int);
CREATE AGGREGATE product(float8) (SFUNC = float8mul, STYPE = float8, INITCOND = '1', PARALLEL = SAFE);
CREATE AGGREGATE my_rank(VARIADIC "any" ORDER BY VARIADIC "any")
    (SFUNC = ordered_set_transition_multi, STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
COMMENT ON FUNCTION add_one(int) IS 'adds one';
COMMENT ON AGGREGATE product(float8) IS 'multiplies';
COMMENT ON OPERATOR public.=== (address, address) IS 'same street';
COMMENT ON CAST (address AS text) IS 'loses everything';

-- Every built-in kind of value, with its extremes
CREATE TABLE everything (
    id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 7 MAXVALUE 100000 CACHE 3 CYCLE),
    b bool, i2 int2, i4 int4, i8 int8, n numeric, n2 numeric(20, 4), f4 float4, f8 float8, m money,
    t text, v varchar(20), c char(10), bp bpchar, ch "char", nm name, by bytea, d date, ti time(3), tz timetz,
    ts timestamp, tstz timestamptz, iv interval, u uuid, j json, jb jsonb, jp jsonpath, x xml,
    pt point, ln line, ls lseg, bx box, pa path, po polygon, ci circle,
    ip inet, net cidr, mac macaddr, mac8 macaddr8, bi bit(4), vb bit varying(9), db bits,
    tv tsvector, tq tsquery, r4 int4range, rn numrange, rt tstzrange, rs span, mr int4multirange,
    ia int[], ta text[], na numeric[], i2d int[][], mo mood, ma mood[], ad address, aa address[],
    po_ positive, od over_domain, cp "Code Postal" DEFAULT '75001', ct ext.citext, h hstore, lt ltree,
    rc regclass, rp regprocedure, rr regrole, o oid, lsn pg_lsn, xd xid8, snap pg_snapshot, "Select" int
);
INSERT INTO everything (b, i2, i4, i8, n, n2, f4, f8, m, t, v, c, bp, ch, nm, by, d, ti, tz, ts, tstz, iv, u, j, jb, jp,
    pt, ln, ls, bx, pa, po, ci, ip, net, mac, mac8, bi, vb, db, tv, tq, r4, rn, rt, rs, mr, ia, ta, na, i2d, mo, ma,
    ad, aa, po_, od, cp, ct, h, lt, rc, rp, rr, o, lsn, xd, snap, "Select")
VALUES
(true, -32768, -2147483648, -9223372036854775808, 'NaN', 1.5000, '-Infinity', 'NaN', '-92233720368547758.08', '',
 'é', 'a  ', 'trail  ', 'x', 'a name', '\x00ff5c27', '-infinity', '24:00', '23:59:59.999999+15:59', 'infinity',
 '4713-01-01 00:00:00+00 BC', '-178000000 years 11 mons', '00000000-0000-0000-0000-000000000000',
 '{"b": 1, "a":   [1, 2], "a": null}', '{"b": 1, "a": [1, 2.50]}', '$.a[*] ? (@ > 1)',
 '(1,-0)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(0,0),1e-300>',
 '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '1010', '101', '110',
 'a:1A fat:2B,4C cat:5', 'fat & (rat | cat)', '[1,10)', '(,1.50]', '[infinity,)', '[-1.5,2.5)', '{[1,3),[5,7)}',
 '[0:2]={1,NULL,3}', '{"","NULL",NULL,"a\"b\\c","{x}"}', '{1.0,1.00,NaN}', '{{1,2},{3,4}}', 'l''été', '{sad,NULL,""}',
 ROW('rue "X", 1', NULL, '{a,NULL}', '2020-02-29'), ARRAY[ROW('', 0, '{}', NULL)::address, NULL], 0.01, 5.00,
 '01000', 'MixedCase', 'a=>1, b=>NULL, "c d"=>"e"', 'Top.Science', 'pg_class', 'lower(text)', 'hostile_reader',
 4294967295, '16/B374D848', '18446744073709551615', '10:20:10,14,15', 0),
(false, 32767, 2147483647, 9223372036854775807, 1.0, 0, 'NaN', '-0', '92233720368547758.07', E'tab\there\nnew\r\\.',
 '', '', '', '', '', '', 'infinity', '00:00', '00:00-15:59', '-infinity', '294276-12-31 23:59:59.999999+00',
 '1 mon -1 day +00:00:00.000001', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', 'null', 'strict $',
 '(NaN,Infinity)', '{0,1,0}', '[(0,0),(0,0)]', '(0,0),(0,0)', '((0,0))', '((0,0))', '<(1,1),0>',
 '255.255.255.255', '::/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00', '0000', '', '000',
 '', '', 'empty', 'empty', '(-infinity,infinity)', 'empty', '{}',
 '{}', '{}', '{}', '{}', '', '{}', NULL, '{}', 99999.99, 999999999.99,
 '99999', '', '', '', '-', '-', 'postgres', 0, '0/0', '0', '1:1:', -1),
(NULL, NULL, NULL, NULL, 1.00, NULL, 1e-45, 5e-324, NULL, '\N', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
 NULL, NULL, '30 days', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
 NULL, '75001', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
DO $$
BEGIN
    UPDATE everything SET x = '<?xml version="1.0"?><a b="c">é&amp;<!-- n --></a>' WHERE b;
EXCEPTION WHEN feature_not_supported THEN NULL;  -- some builds have no libxml
END $$;

-- Names
CREATE TABLE "Gestion Locative é"."Contrat ""du"" mois; DROP TABLE users; --" (
    "Id" serial PRIMARY KEY, "Prénom été" text DEFAULT 'l''été', "user" text, "a.b" int, "%s %(x)s {y}" int,
    "日本語" text, " " int, "🏠" text CHECK ("🏠" <> ''));
INSERT INTO "Gestion Locative é"."Contrat ""du"" mois; DROP TABLE users; --" ("Prénom été", "user", "a.b", "日本語", "🏠")
    VALUES ('Zoé', 'root', 1, '東京', '🏡'), (NULL, E'\u0001', 2, 'é' || chr(769), 'x');
CREATE TABLE "select"."table" ("from" int PRIMARY KEY, "where" text, "order" int GENERATED BY DEFAULT AS IDENTITY);
INSERT INTO "select"."table" ("from", "where") VALUES (1, 'group'), (2, 'by');
CREATE TABLE "a.b" (c int); CREATE SCHEMA a; CREATE TABLE a."b" (c int); CREATE SCHEMA "a.b"; CREATE TABLE "a.b"."c" (d int);
INSERT INTO "a.b" VALUES (1); INSERT INTO a."b" VALUES (2); INSERT INTO "a.b"."c" VALUES (3);

-- Tables without columns or rows
CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE no_rows (a int PRIMARY KEY, b text);
CREATE TABLE all_dropped (a int); ALTER TABLE all_dropped DROP COLUMN a; INSERT INTO all_dropped DEFAULT VALUES;
CREATE TABLE some_dropped (a int, gone text, c text);
INSERT INTO some_dropped VALUES (1, 'x', 'y'); ALTER TABLE some_dropped DROP COLUMN gone;
ALTER TABLE some_dropped ADD COLUMN late numeric DEFAULT 1.10; INSERT INTO some_dropped VALUES (2, 'z', 2.0);

-- Partitions: list of ranges, hash, default, one with other column order, one attached
CREATE TABLE events (region text, at timestamptz NOT NULL, kind varchar(10) CHECK (kind IN ('in', 'out')), n int)
    PARTITION BY LIST (region);
CREATE TABLE events_fr PARTITION OF events FOR VALUES IN ('fr', 'FR') PARTITION BY RANGE (at);
CREATE TABLE events_fr_2025 PARTITION OF events_fr FOR VALUES FROM (MINVALUE) TO ('2026-01-01 00:00:00+00');
CREATE TABLE events_fr_2026 PARTITION OF events_fr FOR VALUES FROM ('2026-01-01 00:00:00+00') TO (MAXVALUE);
CREATE TABLE events_other (n int, kind varchar(10) CONSTRAINT events_kind_check CHECK (kind IN ('in', 'out')), gone int, at timestamptz NOT NULL,
    region text);
ALTER TABLE events_other DROP COLUMN gone;
ALTER TABLE events ATTACH PARTITION events_other DEFAULT;
ALTER TABLE events ADD CONSTRAINT events_key PRIMARY KEY (region, at);
CREATE INDEX events_n ON events (n) WHERE n > 0;
INSERT INTO events SELECT (ARRAY['fr', 'FR', 'de', 'gn'])[i % 4 + 1], '2025-12-01'::timestamptz + i * interval '6 hours',
    CASE i % 2 WHEN 0 THEN 'in' ELSE 'out' END, i FROM generate_series(1, 200) AS i;
CREATE TABLE hashed (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1) WITH (fillfactor = 70);
INSERT INTO hashed SELECT i, 'v' || i FROM generate_series(1, 50) AS i;
CREATE TABLE refers (id int PRIMARY KEY, h int REFERENCES hashed ON DELETE CASCADE) PARTITION BY RANGE (id);
CREATE TABLE refers_1 PARTITION OF refers FOR VALUES FROM (0) TO (1000);
INSERT INTO refers SELECT i, i FROM generate_series(1, 50) AS i;

-- Inheritance: rows in parent and child, a column added later, two parents
CREATE TABLE animal (id int, name text NOT NULL DEFAULT 'nobody', CHECK (id > 0));
CREATE TABLE tagged (tag text, id int);
CREATE TABLE dog (bark text, CHECK (bark <> 'meow') NO INHERIT) INHERITS (animal, tagged);
ALTER TABLE animal ADD COLUMN weight numeric DEFAULT 1.0;
ALTER TABLE ONLY dog ALTER COLUMN name SET DEFAULT 'Rex';
INSERT INTO animal VALUES (1, 'x', 2.0); INSERT INTO tagged VALUES ('t', 1);
INSERT INTO dog (id, name, tag, bark, weight) VALUES (2, 'y', 'u', 'woof', 3.50);

-- Generated columns, storage, options, replica identity, clustering
CREATE TABLE computed (
    a int NOT NULL, b numeric(10, 2), total numeric GENERATED ALWAYS AS (a * b) STORED, label text COLLATE "C",
    big text, CONSTRAINT computed_key UNIQUE (a) INCLUDE (b) DEFERRABLE INITIALLY DEFERRED)
    WITH (fillfactor = 80, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE computed ALTER COLUMN big SET STORAGE EXTERNAL, ALTER COLUMN b SET STATISTICS 500,
    ALTER COLUMN a SET (n_distinct = -0.5), ALTER COLUMN label SET COMPRESSION pglz;
INSERT INTO computed (a, b, label, big)
    SELECT i, i / 3.0, 'L' || i, repeat(chr(65 + i % 26), i * 97) FROM generate_series(1, 120) AS i;
CREATE UNIQUE INDEX computed_full ON computed (a, (lower(label)) COLLATE "C" DESC NULLS LAST);
CREATE UNIQUE INDEX computed_identity ON computed (a);
ALTER INDEX computed_full ALTER COLUMN 2 SET STATISTICS 300;
ALTER TABLE computed REPLICA IDENTITY USING INDEX computed_identity;
ALTER TABLE computed CLUSTER ON computed_identity;
CREATE INDEX computed_reverse ON computed USING btree (a int4_reverse) WITH (fillfactor = 50);
CREATE INDEX computed_trgm ON computed USING gin (label ext.gin_trgm_ops);
CREATE INDEX computed_brin ON computed USING brin (a) WITH (pages_per_range = 4);
CREATE INDEX computed_hash ON computed USING hash (label);
CREATE STATISTICS computed_stats (dependencies, ndistinct, mcv) ON a, b, label FROM computed;
CREATE STATISTICS computed_expression ON (a % 10), (lower(label)) FROM computed;
ALTER STATISTICS computed_stats SET STATISTICS 77;
ALTER TABLE no_rows REPLICA IDENTITY FULL;
CREATE UNLOGGED TABLE unlogged_one (a serial, b text DEFAULT 'x');
INSERT INTO unlogged_one (b) SELECT 'u' || i FROM generate_series(1, 10) AS i;
\if :since15
CREATE UNIQUE INDEX nulls_once ON no_rows (b) NULLS NOT DISTINCT;
\endif
\if :since18
CREATE TABLE computed_late (a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL,
    CONSTRAINT above CHECK (a > 0) NOT ENFORCED, during tsrange,
    CONSTRAINT no_overlap UNIQUE (a, during WITHOUT OVERLAPS));
INSERT INTO computed_late VALUES (1, DEFAULT, '[2026-01-01,2026-02-01)'), (2, DEFAULT, '[2026-01-01,)');
ALTER TABLE computed_late ADD CONSTRAINT known NOT NULL a NOT VALID;
\endif

-- Constraints: circular, deferred, not validated, exclusion, self-referencing
CREATE TABLE hen (id int PRIMARY KEY, egg int, mother int REFERENCES hen DEFERRABLE);
CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL REFERENCES hen ON UPDATE CASCADE ON DELETE SET NULL);
ALTER TABLE hen ADD CONSTRAINT from_egg FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
BEGIN; INSERT INTO hen VALUES (1, 1, 1), (2, NULL, 1); INSERT INTO egg VALUES (1, 1), (2, 2); COMMIT;
CREATE TABLE loose (a int, status varchar(10) DEFAULT 'new'::varchar, kind text);
INSERT INTO loose VALUES (-1, 'new', 'x'), (5, 'old', NULL);
ALTER TABLE loose ADD CONSTRAINT positive_later CHECK (a > 0) NOT VALID;
ALTER TABLE loose ADD CONSTRAINT to_hen FOREIGN KEY (a) REFERENCES hen NOT VALID;
ALTER TABLE loose ADD CONSTRAINT known_status CHECK (status IN ('new', 'old', 'l''ancien, (vieux]'));
ALTER TABLE loose ADD CONSTRAINT any_kind CHECK (kind::varchar = ANY (ARRAY['x', 'y']::varchar[]) OR kind IS NULL);
CREATE TABLE booking (room int, during tstzrange, state mood DEFAULT 'ok',
    EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (state <> 'sad') DEFERRABLE);
INSERT INTO booking VALUES (1, '[2026-01-01,2026-01-02)'), (1, '[2026-01-02,2026-01-03)'), (2, '(,)');

-- Sequences of every kind
CREATE SEQUENCE plain; SELECT nextval('plain'), nextval('plain') \g /dev/null
CREATE SEQUENCE down AS smallint INCREMENT -3 MINVALUE -300 MAXVALUE -1 START -5 CYCLE; SELECT nextval('down') \g /dev/null
CREATE SEQUENCE untouched START 1000 CACHE 20;
CREATE SEQUENCE "Séquence ""x""" OWNED BY loose.a; SELECT setval('"Séquence ""x"""', 42, false) \g /dev/null
CREATE SEQUENCE huge MAXVALUE 9223372036854775807; SELECT setval('huge', 9223372036854775806) \g /dev/null

-- Views, materialized views, rules
CREATE VIEW simple AS SELECT a, status FROM loose WHERE status IN ('new', 'old') WITH CASCADED CHECK OPTION;
CREATE VIEW "Vue é" WITH (security_barrier) AS
    SELECT h.id, e.*, count(*) OVER w AS n FROM hen AS h JOIN egg AS e (num, poule) ON h.id = e.poule
    WINDOW w AS (PARTITION BY h.id ORDER BY e.num);
CREATE RECURSIVE VIEW steps (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM steps WHERE n < 5;
CREATE VIEW over_view AS SELECT * FROM simple;
ALTER VIEW over_view ALTER COLUMN status SET DEFAULT 'new';
CREATE MATERIALIZED VIEW monthly WITH (fillfactor = 90) AS
    SELECT date_trunc('month', at, 'UTC') AS month, count(*) AS n, sum(n)::numeric(12, 2) AS total FROM events GROUP BY 1;
CREATE UNIQUE INDEX monthly_key ON monthly (month);
CREATE MATERIALIZED VIEW never_filled AS SELECT * FROM monthly WITH NO DATA;
CREATE RULE keep AS ON DELETE TO no_rows WHERE OLD.a > 10 DO INSTEAD NOTHING;
CREATE RULE log AS ON UPDATE TO no_rows DO ALSO INSERT INTO no_columns DEFAULT VALUES;
ALTER TABLE no_rows DISABLE RULE log;
CREATE RULE insert_over AS ON INSERT TO over_view DO INSTEAD INSERT INTO loose VALUES (NEW.a, NEW.status);

-- Triggers in every state
CREATE TRIGGER t_normal BEFORE INSERT OR UPDATE OF a, label ON computed FOR EACH ROW
    WHEN (NEW.label IS DISTINCT FROM 'x') EXECUTE FUNCTION touch('arg''s', '2');
CREATE TRIGGER t_off AFTER DELETE ON computed REFERENCING OLD TABLE AS lost FOR EACH STATEMENT EXECUTE FUNCTION touch();
CREATE TRIGGER t_always BEFORE UPDATE ON computed FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER t_replica BEFORE UPDATE ON computed FOR EACH ROW EXECUTE FUNCTION touch();
CREATE CONSTRAINT TRIGGER t_late AFTER INSERT ON computed DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER t_view INSTEAD OF UPDATE ON "Vue é" FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER t_parts BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE computed DISABLE TRIGGER t_off; ALTER TABLE computed ENABLE ALWAYS TRIGGER t_always;
ALTER TABLE computed ENABLE REPLICA TRIGGER t_replica; ALTER TABLE events_other DISABLE TRIGGER t_parts;
CREATE EVENT TRIGGER seen ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION ddl_seen();
CREATE EVENT TRIGGER seen_off ON sql_drop EXECUTE FUNCTION ddl_seen();
ALTER EVENT TRIGGER seen_off DISABLE;

-- Row security
CREATE TABLE secured (owner name DEFAULT current_user, v text);
INSERT INTO secured VALUES ('hostile_reader', 'mine'), ('other', 'theirs');
ALTER TABLE secured ENABLE ROW LEVEL SECURITY; ALTER TABLE secured FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON secured USING (owner = current_user) WITH CHECK (v <> 'x');
CREATE POLICY "Restrictive é" ON secured AS RESTRICTIVE FOR SELECT TO hostile_reader, "hostile owner" USING (true);

-- Foreign data: nothing listens on port 9
CREATE SERVER dead FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '9', dbname 'nowhere');
CREATE USER MAPPING FOR PUBLIC SERVER dead OPTIONS (user 'someone', password 'hunter2');
CREATE USER MAPPING FOR hostile_reader SERVER dead OPTIONS (user 'reader');
CREATE FOREIGN TABLE far_away (id int OPTIONS (column_name 'ID') NOT NULL, v text) SERVER dead OPTIONS (table_name 'it''s');
CREATE MATERIALIZED VIEW far_copy AS SELECT * FROM far_away WITH NO DATA;

-- Text search
CREATE TEXT SEARCH DICTIONARY short_words (TEMPLATE = simple, STOPWORDS = english, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION "Français" (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION "Français" ALTER MAPPING FOR asciiword, word WITH short_words, simple;
CREATE INDEX computed_words ON computed USING gin (to_tsvector('public."Français"', label));

-- Collations, conversions, transforms of names
CREATE COLLATION c_copy (provider = libc, locale = 'C');
CREATE TABLE collated (a text COLLATE c_copy, b text COLLATE "POSIX");
INSERT INTO collated VALUES ('B', 'a'), ('a', 'B');
CREATE CONVERSION my_latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

-- Publications and a subscription that must never connect
CREATE PUBLICATION everything_out FOR ALL TABLES WITH (publish = 'insert, update');
\if :since15
CREATE PUBLICATION part_out FOR TABLE computed (a, b, label) WHERE (a > 10) WITH (publish_via_partition_root = true);
CREATE PUBLICATION schema_out FOR TABLES IN SCHEMA a, TABLE no_rows;
\else
CREATE PUBLICATION part_out FOR TABLE computed WITH (publish_via_partition_root = true);
\endif
SET client_min_messages = error;
CREATE SUBSCRIPTION nowhere CONNECTION 'host=127.0.0.1 port=9 dbname=nowhere user=x password=hunter2'
    PUBLICATION p1, p2 WITH (connect = false, slot_name = NONE);

-- Large objects: whole, with a hole, empty, longer than a page, owned and granted
SELECT lo_from_bytea(90001, '\x00010203ff'), lo_create(90002), lo_from_bytea(90003, decode(repeat('ab', 10000), 'hex')),
       lo_create(90004) \g /dev/null
SELECT lo_put(90004, 100000, '\xff') \g /dev/null
ALTER LARGE OBJECT 90003 OWNER TO "hostile owner"; GRANT SELECT ON LARGE OBJECT 90001 TO hostile_reader;
COMMENT ON LARGE OBJECT 90001 IS 'a few bytes';

-- Owners, grants, defaults of grants
ALTER TABLE "select"."table" OWNER TO "hostile owner"; ALTER VIEW simple OWNER TO "hostile owner";
ALTER FUNCTION add_one(int) OWNER TO "hostile owner"; ALTER TYPE mood OWNER TO "hostile owner";
ALTER SEQUENCE plain OWNER TO "hostile owner";
GRANT SELECT, UPDATE ("user", "日本語") ON "Gestion Locative é"."Contrat ""du"" mois; DROP TABLE users; --" TO hostile_reader;
GRANT SELECT ON "select"."table" TO hostile_reader WITH GRANT OPTION;
GRANT USAGE ON SCHEMA "select", a TO PUBLIC;
SET ROLE hostile_reader; GRANT SELECT ON "select"."table" TO "Rôle; DROP TABLE x--"; RESET ROLE;
 GRANT ALL ON SCHEMA public TO hostile_reader;
REVOKE ALL ON FUNCTION many() FROM PUBLIC; GRANT EXECUTE ON PROCEDURE do_nothing(int) TO hostile_reader;
REVOKE USAGE ON TYPE address FROM PUBLIC; GRANT USAGE ON SEQUENCE plain TO hostile_reader;
GRANT USAGE ON FOREIGN SERVER dead TO hostile_reader; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO hostile_reader;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM PUBLIC;
REVOKE SELECT ON pg_catalog.pg_available_extensions FROM PUBLIC;
REVOKE ALL ON no_rows FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO hostile_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE "hostile owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "hostile owner" GRANT USAGE ON SCHEMAS TO hostile_reader;

-- Comments on the rest
COMMENT ON TABLE everything IS E'tout\nsur ''deux'' lignes';
COMMENT ON COLUMN everything.t IS 'du texte';
COMMENT ON COLUMN simple.status IS 'of a view';
COMMENT ON COLUMN address.street IS 'rue';
COMMENT ON INDEX computed_full IS 'an index';
COMMENT ON CONSTRAINT from_egg ON hen IS 'round and round';
COMMENT ON CONSTRAINT cinq ON DOMAIN "Code Postal" IS 'cinq chiffres';
COMMENT ON TRIGGER t_normal ON computed IS 'a trigger';
COMMENT ON EVENT TRIGGER seen IS 'an event trigger';
COMMENT ON RULE keep ON no_rows IS 'a rule';
COMMENT ON POLICY own_rows ON secured IS 'a policy';
COMMENT ON STATISTICS computed_stats IS 'statistics';
COMMENT ON SEQUENCE plain IS 'a sequence';
COMMENT ON VIEW simple IS 'a view';
COMMENT ON MATERIALIZED VIEW monthly IS 'kept';
COMMENT ON SCHEMA "select" IS 'reserved';
COMMENT ON SERVER dead IS 'nobody there';
COMMENT ON FOREIGN TABLE far_away IS 'far';
COMMENT ON PUBLICATION part_out IS 'some';
COMMENT ON SUBSCRIPTION nowhere IS 'never';
COMMENT ON TEXT SEARCH CONFIGURATION "Français" IS 'mots';
COMMENT ON COLLATION c_copy IS 'C';
COMMENT ON PROCEDURE do_nothing(int) IS 'nothing';

-- Settings of the database itself
COMMENT ON DATABASE :"DBNAME" IS 'the hostile one';
ALTER DATABASE :"DBNAME" SET timezone = 'Europe/Paris';
ALTER DATABASE :"DBNAME" SET search_path = "Gestion Locative é", public, ext;
ALTER DATABASE :"DBNAME" SET "app.secret" = 'hunter2';
ALTER ROLE hostile_reader IN DATABASE :"DBNAME" SET statement_timeout = '5min';
ALTER DATABASE :"DBNAME" CONNECTION LIMIT 40;
GRANT CREATE, TEMPORARY ON DATABASE :"DBNAME" TO hostile_reader;
ANALYZE;
