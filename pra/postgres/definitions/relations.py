"""Tables, views, sequences, and what hangs on them."""

from __future__ import annotations

from pra.postgres.definitions.family import Family, family

RELATIONS: tuple[Family, ...] = (
    family(
        "relations",
        """
SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
            WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
            ELSE 'composite type' END,
       @name(pg_class, c.oid),
       jsonb_build_object(
           'owner', @role(c.relowner), 'persistence', c.relpersistence, 'method', m.amname,
           'tablespace', s.spcname,
           'options', to_jsonb(c.reloptions), 'toast options', to_jsonb(t.reloptions),
           'row security', c.relrowsecurity, 'forced row security', c.relforcerowsecurity,
           'replica identity', c.relreplident,
           'of type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
           'partition key', pg_get_partkeydef(c.oid), 'partition bound', pg_get_expr(c.relpartbound, c.oid),
           'inherits', (SELECT jsonb_agg(@name(pg_class, i.inhparent) ORDER BY i.inhseqno)
                        FROM pg_inherits AS i WHERE i.inhrelid = c.oid),
           'populated', CASE WHEN c.relkind = 'm' THEN c.relispopulated END,
           'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
           'server', f.srvname, 'secrets', to_jsonb(f.ftoptions))
FROM pg_class AS c
LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
LEFT JOIN pg_am AS m ON m.oid = c.relam
LEFT JOIN pg_tablespace AS s ON s.oid = c.reltablespace
LEFT JOIN (pg_foreign_table JOIN pg_foreign_server ON pg_foreign_server.oid = ftserver) AS f
     ON f.ftrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND c.relpersistence <> 't' AND @own(pg_class, c.oid)
  AND (c.relkind <> 'c' OR @own(pg_type, c.reltype))
""",
    ),
    family(
        "sequences",
        """
SELECT 'sequence parameters', @name(pg_class, q.seqrelid),
       jsonb_build_object(
           'type', format_type(q.seqtypid, NULL), 'start', q.seqstart, 'increment', q.seqincrement,
           'minimum', q.seqmin, 'maximum', q.seqmax, 'cache', q.seqcache, 'cycle', q.seqcycle,
           'owned by', (SELECT (pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid)).identity
                        FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = q.seqrelid
                        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
                        AND d.deptype IN ('a', 'i')))
FROM pg_sequence AS q JOIN pg_class AS c ON c.oid = q.seqrelid
WHERE c.relpersistence <> 't' AND @own(pg_class, c.oid)
""",
    ),
    family(
        # A child made by INHERITS may come back with its columns in another order: no position there.
        # Options named pg_… are the server's own notes (a release of 15 writes pg_attver): no dump has them.
        "columns",
        """
SELECT 'column', (pg_identify_object('pg_class'::regclass, c.oid, a.attnum)).identity,
       jsonb_build_object(
           'type', format_type(a.atttypid, a.atttypmod),
           'position', CASE WHEN k.child THEN NULL
               ELSE row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) END,
           'collation', CASE WHEN a.attcollation <> y.typcollation
               THEN @name(pg_collation, a.attcollation) END,
           'not null', a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid),
           'generated', nullif(a.attgenerated, ''), 'identity', nullif(a.attidentity, ''),
           'storage', a.attstorage, 'compression', nullif(a.attcompression, ''),
           'statistics', nullif(a.attstattarget, -1),
           'options', (SELECT jsonb_agg(o) FROM unnest(a.attoptions) AS o WHERE o !~ '^pg_'),
           'local', CASE WHEN k.child THEN a.attislocal END, 'secrets', to_jsonb(a.attfdwoptions))
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_type AS y ON y.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
CROSS JOIN LATERAL (
    SELECT NOT c.relispartition AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid) AS child
    OFFSET 0) AS k
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
  AND c.relpersistence <> 't' AND @own(pg_class, c.oid) AND (c.relkind <> 'c' OR @own(pg_type, c.reltype))
""",
    ),
    family(
        # A partition's copy of a foreign key gets a name of the server's choosing; triggers come below.
        "constraints",
        """
SELECT 'constraint', @name(pg_constraint, k.oid),
       jsonb_build_object('type', k.contype, 'definition', pg_get_constraintdef(k.oid),
                          'validated', k.convalidated)
FROM pg_constraint AS k
LEFT JOIN pg_class AS c ON c.oid = k.conrelid
LEFT JOIN pg_type AS y ON y.oid = k.contypid
WHERE k.contype <> 't' AND NOT (k.contype = 'f' AND k.conparentid <> 0)
  AND (c.oid IS NULL OR c.relpersistence <> 't' AND @own(pg_class, c.oid))
  AND (y.oid IS NULL OR @own(pg_type, y.oid))
""",
    ),
    family(
        "indexes",
        """
SELECT 'index', @name(pg_class, c.oid),
       jsonb_build_object(
           'owner', @role(c.relowner), 'definition', pg_get_indexdef(c.oid), 'valid', i.indisvalid,
           'clustered', i.indisclustered, 'replica identity', i.indisreplident, 'tablespace', s.spcname,
           'parent', (SELECT @name(pg_class, p.inhparent) FROM pg_inherits AS p WHERE p.inhrelid = c.oid),
           'statistics', (SELECT jsonb_object_agg(a.attname, a.attstattarget) FROM pg_attribute AS a
                          WHERE a.attrelid = c.oid AND a.attstattarget >= 0))
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_class AS t ON t.oid = i.indrelid
LEFT JOIN pg_tablespace AS s ON s.oid = c.reltablespace
WHERE t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't' AND @own(pg_class, t.oid)
""",
    ),
    family(
        "triggers",
        """
SELECT 'trigger', @name(pg_trigger, g.oid),
       jsonb_build_object('definition', pg_get_triggerdef(g.oid), 'enabled', g.tgenabled)
FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal AND c.relpersistence <> 't' AND @own(pg_class, c.oid) AND @own(pg_trigger, g.oid)
""",
    ),
    family(
        "rules",
        """
SELECT 'rule', @name(pg_rewrite, r.oid),
       jsonb_build_object('definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled)
FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
WHERE r.rulename <> '_RETURN' AND c.relpersistence <> 't' AND @own(pg_class, c.oid)
""",
    ),
    family(
        "policies",
        """
SELECT 'policy', @name(pg_policy, p.oid),
       jsonb_build_object(
           'command', p.polcmd, 'permissive', p.polpermissive,
           'roles', (SELECT jsonb_agg(n ORDER BY n COLLATE "C") FROM (
               SELECT CASE r WHEN 0 THEN 'public' ELSE @role(r) END AS n
               FROM unnest(p.polroles) AS r) AS names),
           'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
WHERE @own(pg_class, c.oid)
""",
    ),
    family(
        "statistics objects",
        """
SELECT 'statistics', @name(pg_statistic_ext, s.oid),
       jsonb_build_object('owner', @role(s.stxowner), 'definition', pg_get_statisticsobjdef(s.oid),
                          'target', nullif(s.stxstattarget, -1))
FROM pg_statistic_ext AS s WHERE @own(pg_statistic_ext, s.oid)
""",
    ),
)
