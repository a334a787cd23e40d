"""Functions, types, operators and the other things a database computes with."""

from __future__ import annotations

from pra.postgres.definitions.family import Family, family

ROUTINES: tuple[Family, ...] = (
    family(
        "functions",
        """
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
       @name(pg_proc, p.oid),
       jsonb_build_object(
           'owner', @role(p.proowner), 'kind', p.prokind, 'language', l.lanname,
           'arguments', pg_get_function_arguments(p.oid), 'result', pg_get_function_result(p.oid),
           'body', p.prosrc || coalesce(p.probin, '') || coalesce(pg_get_function_sqlbody(p.oid), ''),
           'volatility', p.provolatile, 'strict', p.proisstrict, 'security definer', p.prosecdef,
           'leakproof', p.proleakproof, 'parallel', p.proparallel, 'cost', p.procost, 'rows', p.prorows,
           'settings', to_jsonb(p.proconfig),
           'support', CASE WHEN p.prosupport <> 0 THEN p.prosupport::regprocedure END,
           'transforms', (SELECT jsonb_agg(format_type(t, NULL)) FROM unnest(p.protrftypes) AS t))
FROM pg_proc AS p
JOIN pg_language AS l ON l.oid = p.prolang
JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_temp' AND @own(pg_proc, p.oid)
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                  AND d.deptype = 'i')
""",
    ),
    family(
        "aggregates",
        """
SELECT 'aggregate parts', @name(pg_proc, p.oid),
       to_jsonb(a) - 'aggfnoid' - 'aggsortop' - 'aggtranstype' - 'aggmtranstype'
       || jsonb_build_object('aggsortop', a.aggsortop::regoperator,
                             'aggtranstype', format_type(a.aggtranstype, NULL),
                             'aggmtranstype', format_type(nullif(a.aggmtranstype, 0), NULL))
FROM pg_aggregate AS a JOIN pg_proc AS p ON p.oid = a.aggfnoid
WHERE @own(pg_proc, p.oid)
""",
    ),
    family(
        "event triggers",
        """
SELECT 'event trigger', @name(pg_event_trigger, e.oid),
       jsonb_build_object('owner', @role(e.evtowner), 'event', e.evtevent, 'tags', to_jsonb(e.evttags),
                          'function', e.evtfoid::regprocedure, 'enabled', e.evtenabled)
FROM pg_event_trigger AS e WHERE @own(pg_event_trigger, e.oid)
""",
    ),
    family(
        "types",
        """
SELECT CASE y.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range' ELSE 'type' END,
       @name(pg_type, y.oid),
       jsonb_build_object(
           'owner', @role(y.typowner),
           'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e
                      WHERE e.enumtypid = y.oid))
       || CASE y.typtype
          WHEN 'd' THEN jsonb_build_object(
              'base', format_type(y.typbasetype, y.typtypmod), 'not null', y.typnotnull,
              'default', coalesce(pg_get_expr(y.typdefaultbin, 0), y.typdefault),
              'collation', CASE WHEN y.typcollation <> b.typcollation
                           THEN @name(pg_collation, y.typcollation) END)
          WHEN 'r' THEN jsonb_build_object(
              'subtype', format_type(r.rngsubtype, NULL), 'operator class', @name(pg_opclass, r.rngsubopc),
              'collation', CASE WHEN r.rngcollation <> 0 THEN @name(pg_collation, r.rngcollation) END,
              'canonical', r.rngcanonical, 'difference', r.rngsubdiff,
              'multirange', format_type(r.rngmultitypid, NULL))
          WHEN 'b' THEN jsonb_build_object(
              'input', y.typinput, 'output', y.typoutput, 'receive', y.typreceive, 'send', y.typsend,
              'modifier in', y.typmodin, 'modifier out', y.typmodout, 'analyze', y.typanalyze,
              'length', y.typlen, 'by value', y.typbyval, 'align', y.typalign, 'storage', y.typstorage,
              'category', y.typcategory, 'preferred', y.typispreferred, 'delimiter', y.typdelim,
              'default', y.typdefault, 'subscript', to_jsonb(y) ->> 'typsubscript',
              'element', CASE WHEN y.typelem <> 0 THEN format_type(y.typelem, NULL) END)
          ELSE '{}' END
FROM pg_type AS y
LEFT JOIN pg_range AS r ON r.rngtypid = y.oid
LEFT JOIN pg_type AS b ON b.oid = y.typbasetype
LEFT JOIN pg_class AS c ON c.oid = y.typrelid
LEFT JOIN pg_namespace AS n ON n.oid = y.typnamespace
WHERE y.typisdefined AND y.typtype IN ('b', 'c', 'd', 'e', 'r') AND y.typinput <> 'array_in'::regproc
  AND coalesce(c.relkind, 'c') = 'c' AND n.nspname !~ '^pg_temp' AND @own(pg_type, y.oid)
""",
    ),
    family(
        "casts",
        """
SELECT 'cast', @name(pg_cast, c.oid),
       jsonb_build_object('function', CASE WHEN c.castfunc <> 0 THEN c.castfunc::regprocedure END,
                          'context', c.castcontext, 'method', c.castmethod)
FROM pg_cast AS c WHERE @own(pg_cast, c.oid)
""",
    ),
    family(
        "operators",
        """
SELECT 'operator', @name(pg_operator, o.oid),
       jsonb_build_object(
           'owner', @role(o.oprowner), 'function', o.oprcode, 'result', format_type(o.oprresult, NULL),
           'commutator', nullif(o.oprcom, 0)::regoperator, 'negator', nullif(o.oprnegate, 0)::regoperator,
           'restrict', o.oprrest, 'join', o.oprjoin, 'merges', o.oprcanmerge, 'hashes', o.oprcanhash)
FROM pg_operator AS o WHERE o.oprcode <> 0 AND @own(pg_operator, o.oid)
""",
    ),
    family(
        "operator classes",
        """
SELECT 'operator class', @name(pg_opclass, o.oid),
       jsonb_build_object(
           'owner', @role(o.opcowner), 'family', @name(pg_opfamily, o.opcfamily),
           'type', format_type(o.opcintype, NULL), 'default', o.opcdefault,
           'stored as', CASE WHEN o.opckeytype <> 0 THEN format_type(o.opckeytype, NULL) END)
FROM pg_opclass AS o WHERE @own(pg_opclass, o.oid)
""",
    ),
    family(
        "operator families",
        """
SELECT 'operator family', @name(pg_opfamily, f.oid),
       jsonb_build_object(
           'owner', @role(f.opfowner),
           'operators', (SELECT jsonb_agg(line ORDER BY line COLLATE "C") FROM (
               SELECT format('%s %s %s', a.amopstrategy, a.amopopr::regoperator, a.amoppurpose) AS line
               FROM pg_amop AS a WHERE a.amopfamily = f.oid) AS lines),
           'functions', (SELECT jsonb_agg(line ORDER BY line COLLATE "C") FROM (
               SELECT format('%s (%s, %s) %s', a.amprocnum, format_type(a.amproclefttype, NULL),
                             format_type(a.amprocrighttype, NULL), a.amproc::regprocedure) AS line
               FROM pg_amproc AS a WHERE a.amprocfamily = f.oid) AS lines))
FROM pg_opfamily AS f WHERE @own(pg_opfamily, f.oid)
""",
    ),
    family(
        "languages, access methods, conversions and transforms",
        """
SELECT 'language', @name(pg_language, l.oid),
       jsonb_build_object('owner', @role(l.lanowner), 'trusted', l.lanpltrusted,
           'handler', nullif(l.lanplcallfoid, 0)::regprocedure,
           'inline', nullif(l.laninline, 0)::regprocedure,
           'validator', nullif(l.lanvalidator, 0)::regprocedure)
FROM pg_language AS l WHERE @own(pg_language, l.oid)
UNION ALL
SELECT 'access method', @name(pg_am, m.oid), jsonb_build_object('type', m.amtype, 'handler', m.amhandler)
FROM pg_am AS m WHERE @own(pg_am, m.oid)
UNION ALL
SELECT 'conversion', @name(pg_conversion, c.oid),
       jsonb_build_object('owner', @role(c.conowner), 'from', pg_encoding_to_char(c.conforencoding),
           'to', pg_encoding_to_char(c.contoencoding), 'function', c.conproc, 'default', c.condefault)
FROM pg_conversion AS c WHERE @own(pg_conversion, c.oid)
UNION ALL
SELECT 'transform', @name(pg_transform, t.oid),
       jsonb_build_object('from', nullif(t.trffromsql, 0)::regprocedure,
                          'to', nullif(t.trftosql, 0)::regprocedure)
FROM pg_transform AS t WHERE @own(pg_transform, t.oid)
""",
    ),
    family(
        "text search",
        """
SELECT 'text search configuration', @name(pg_ts_config, c.oid),
       jsonb_build_object(
           'owner', @role(c.cfgowner), 'parser', @name(pg_ts_parser, c.cfgparser),
           'mappings', (SELECT jsonb_object_agg(k.alias, k.dictionaries) FROM (
               SELECT t.alias, jsonb_agg(@name(pg_ts_dict, m.mapdict) ORDER BY m.mapseqno) AS dictionaries
               FROM pg_ts_config_map AS m JOIN ts_token_type(c.cfgparser) AS t ON t.tokid = m.maptokentype
               WHERE m.mapcfg = c.oid GROUP BY t.alias) AS k))
FROM pg_ts_config AS c WHERE @own(pg_ts_config, c.oid)
UNION ALL
SELECT 'text search dictionary', @name(pg_ts_dict, d.oid),
       jsonb_build_object('owner', @role(d.dictowner), 'template', @name(pg_ts_template, d.dicttemplate),
                          'options', d.dictinitoption)
FROM pg_ts_dict AS d WHERE @own(pg_ts_dict, d.oid)
UNION ALL
SELECT 'text search parser', @name(pg_ts_parser, p.oid),
       jsonb_build_object('start', p.prsstart, 'token', p.prstoken, 'end', p.prsend,
                          'headline', p.prsheadline, 'types', p.prslextype)
FROM pg_ts_parser AS p WHERE @own(pg_ts_parser, p.oid)
UNION ALL
SELECT 'text search template', @name(pg_ts_template, t.oid),
       jsonb_build_object('init', t.tmplinit, 'lexize', t.tmpllexize)
FROM pg_ts_template AS t WHERE @own(pg_ts_template, t.oid)
""",
    ),
    family(
        "collations",
        """
SELECT 'collation', @name(pg_collation, c.oid),
       jsonb_build_object(
           'owner', @role(c.collowner), 'provider', c.collprovider, 'deterministic', c.collisdeterministic,
           'collate', c.collcollate, 'ctype', c.collctype,
           'locale', coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale'),
           'rules', to_jsonb(c) ->> 'collicurules')
FROM pg_collation AS c WHERE @own(pg_collation, c.oid)
UNION ALL
SELECT 'collation version', @name(pg_collation, c.oid),
       jsonb_build_object('recorded', c.collversion, 'actual', pg_collation_actual_version(c.oid))
FROM pg_collation AS c WHERE c.collversion IS NOT NULL AND @own(pg_collation, c.oid)
""",
    ),
)
