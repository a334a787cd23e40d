"""The database itself, who may do what in it, what it connects to, and what its server must have."""

from __future__ import annotations

from pra.postgres.definitions.family import Family, family

# Who holds what: an access list spelled out, sorted. %s are an access list and its default.
_GRANTS = """(
    SELECT coalesce(jsonb_agg(line ORDER BY line COLLATE "C"), '[]') FROM (
        SELECT format('%s: %s%s (by %s)', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE @role(x.grantee) END,
                      x.privilege_type, CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END,
                      @role(x.grantor)) AS line
        FROM aclexplode({}) AS x) AS lines)"""


def _grants(access_list: str) -> str:
    return _GRANTS.replace("{}", access_list)


SURROUNDINGS: tuple[Family, ...] = (
    family(
        # Named "this database": a restore may well give it another name.
        "database",
        f"""
SELECT 'database', 'this database',
       jsonb_build_object(
           'owner', @role(d.datdba), 'encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate,
           'ctype', d.datctype, 'provider', to_jsonb(d) ->> 'datlocprovider',
           'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
           'rules', to_jsonb(d) ->> 'daticurules', 'connection limit', d.datconnlimit,
           'template', d.datistemplate, 'tablespace', t.spcname,
           'comment', shobj_description(d.oid, 'pg_database'),
           'grants', {_grants("coalesce(d.datacl, acldefault('d', d.datdba))")})
FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = d.dattablespace
WHERE d.datname = current_database()
UNION ALL
SELECT 'collation version', 'this database',
       jsonb_build_object('recorded', to_jsonb(d) ->> 'datcollversion')
FROM pg_database AS d
WHERE d.datname = current_database() AND to_jsonb(d) ->> 'datcollversion' IS NOT NULL
""",
    ),
    family(
        "settings of the database and of roles",
        """
SELECT CASE WHEN s.setdatabase <> 0 THEN 'database setting' ELSE 'role setting' END,
       CASE WHEN s.setrole = 0 THEN 'for everybody' ELSE 'for role ' || quote_ident(@role(s.setrole)) END,
       jsonb_build_object('settings', to_jsonb(s.setconfig))
FROM pg_db_role_setting AS s
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
   OR s.setdatabase = 0 AND @role(s.setrole) !~ '^pg_'
""",
    ),
    family(
        "roles",
        """
SELECT 'role', quote_ident(r.rolname),
       jsonb_build_object(
           'superuser', r.rolsuper, 'inherit', r.rolinherit, 'create role', r.rolcreaterole,
           'create database', r.rolcreatedb, 'login', r.rolcanlogin, 'replication', r.rolreplication,
           'bypass row security', r.rolbypassrls, 'connection limit', r.rolconnlimit,
           'valid until', r.rolvaliduntil, 'comment', shobj_description(r.oid, 'pg_authid'))
FROM pg_roles AS r WHERE r.rolname !~ '^pg_'
UNION ALL
SELECT 'role membership', format('%I in %I', @role(m.member), @role(m.roleid)),
       jsonb_build_object('admin', bool_or(m.admin_option),
                          'inherit', bool_or((to_jsonb(m) ->> 'inherit_option')::bool),
                          'set', bool_or((to_jsonb(m) ->> 'set_option')::bool))
FROM pg_auth_members AS m WHERE @role(m.member) !~ '^pg_'
GROUP BY m.member, m.roleid
""",
    ),
    family(
        "tablespaces",
        f"""
SELECT 'tablespace', quote_ident(t.spcname),
       jsonb_build_object('owner', @role(t.spcowner), 'options', to_jsonb(t.spcoptions),
                          'comment', shobj_description(t.oid, 'pg_tablespace'),
                          'grants', {_grants("coalesce(t.spcacl, acldefault('t', t.spcowner))")})
FROM pg_tablespace AS t WHERE t.spcname !~ '^pg_'
""",
    ),
    family(
        "rights to set parameters",
        f"""
SELECT 'parameter', p.parname, jsonb_build_object('grants', {_grants("p.paracl")})
FROM pg_parameter_acl AS p
""",
        since=15,
    ),
    family(
        "schemas",
        """
SELECT 'schema', quote_ident(n.nspname), jsonb_build_object('owner', @role(n.nspowner))
FROM pg_namespace AS n
WHERE n.nspname !~ '^pg_' AND (n.nspname = 'public' OR @own(pg_namespace, n.oid))
""",
    ),
    family(
        # pg_dump cannot give an extension another owner than who restores it: the owner is left out.
        "extensions",
        """
SELECT 'extension', quote_ident(e.extname),
       jsonb_build_object(
           'version', e.extversion, 'schema', n.nspname,
           'members', (SELECT jsonb_agg(o.type || ' ' || o.identity
                                        ORDER BY o.type || ' ' || o.identity COLLATE "C")
                       FROM pg_depend AS d, pg_identify_object(d.classid, d.objid, d.objsubid) AS o
                       WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                         AND d.deptype = 'e'))
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
UNION ALL
SELECT 'dependency on extension', (pg_identify_object(d.classid, d.objid, d.objsubid)).identity,
       jsonb_build_object('extensions', jsonb_agg(e.extname ORDER BY e.extname COLLATE "C"))
FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'x'
GROUP BY d.classid, d.objid, d.objsubid
""",
    ),
    family(
        # Of the system's and extensions' objects only what differs from their beginnings: as in a dump.
        "grants",
        f"""
SELECT 'grants', o.type || ' ' || o.identity, jsonb_build_object('grants', g.held)
FROM (
    SELECT 'pg_class'::regclass::oid AS classid, oid, 0 AS sub,
           CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS letter, relowner AS owner, relacl AS acl
    FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't'
    UNION ALL
    SELECT 'pg_class'::regclass, a.attrelid, a.attnum, 'c', c.relowner, a.attacl
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL SELECT 'pg_proc'::regclass, oid, 0, 'f', proowner, proacl FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, 0, 'T', typowner, typacl FROM pg_type
    UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, 'n', nspowner, nspacl
              FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)'
    UNION ALL SELECT 'pg_language'::regclass, oid, 0, 'l', lanowner, lanacl FROM pg_language
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, 'F', fdwowner, fdwacl
              FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, 'S', srvowner, srvacl FROM pg_foreign_server
) AS a
LEFT JOIN pg_init_privs AS i ON i.classoid = a.classid AND i.objoid = a.oid AND i.objsubid = a.sub
CROSS JOIN LATERAL (
    SELECT {_grants("coalesce(a.acl, acldefault(a.letter, a.owner))")} AS held,
           {_grants("coalesce(i.initprivs, acldefault(a.letter, a.owner))")} AS began
    OFFSET 0) AS g
CROSS JOIN LATERAL pg_identify_object(a.classid, a.oid, a.sub) AS o
WHERE (a.acl IS NOT NULL OR i.initprivs IS NOT NULL) AND g.held <> g.began
""",
    ),
    family(
        "default privileges",
        f"""
SELECT 'default privileges',
       format('of %I%s on %s', @role(d.defaclrole), coalesce(' in ' || quote_ident(n.nspname), ''),
              CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                   WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE d.defaclobjtype::text END),
       jsonb_build_object('grants', {_grants("d.defaclacl")})
FROM pg_default_acl AS d LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace
""",
    ),
    family(
        "comments",
        """
SELECT 'comment', o.type || ' ' || o.identity, jsonb_build_object('comment', d.description)
FROM pg_description AS d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o
WHERE (d.classoid <> 'pg_subscription'::regclass
       OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
  AND (d.objoid >= 16384 OR d.classoid = 'pg_namespace'::regclass AND o.identity = 'public')
  AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = d.classoid AND e.objid = d.objoid
                  AND e.deptype = 'e')
""",
    ),
    family(
        "security labels",
        """
SELECT 'security label', format('%s %s (%s)', l.objtype, l.objname, l.provider),
       jsonb_build_object('label', l.label)
FROM pg_seclabels AS l
""",
    ),
    family(
        # Together by owner and grants: there may be millions.
        "large objects",
        f"""
SELECT 'large objects', format('of %I with %s', @role(l.lomowner), g.held),
       jsonb_build_object('count', count(*),
                          'numbers', sum(hashint8extended(l.oid::int8, 1)))
FROM pg_largeobject_metadata AS l
CROSS JOIN LATERAL (
    SELECT {_grants("coalesce(l.lomacl, acldefault('L', l.lomowner))")} AS held OFFSET 0) AS g
GROUP BY l.lomowner, g.held
""",
    ),
    family(
        "foreign data",
        """
SELECT 'foreign-data wrapper', quote_ident(w.fdwname),
       jsonb_build_object('owner', @role(w.fdwowner), 'handler', nullif(w.fdwhandler, 0)::regprocedure,
                          'validator', nullif(w.fdwvalidator, 0)::regprocedure,
                          'secrets', to_jsonb(w.fdwoptions))
FROM pg_foreign_data_wrapper AS w WHERE @own(pg_foreign_data_wrapper, w.oid)
UNION ALL
SELECT 'foreign server', quote_ident(s.srvname),
       jsonb_build_object('owner', @role(s.srvowner), 'type', s.srvtype, 'version', s.srvversion,
                          'wrapper', w.fdwname, 'secrets', to_jsonb(s.srvoptions))
FROM pg_foreign_server AS s JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
WHERE @own(pg_foreign_server, s.oid)
""",
    ),
    family(
        "user mappings",
        """
SELECT 'user mapping',
       format('%s on %I', CASE m.umuser WHEN 0 THEN 'public' ELSE @role(m.umuser) END, s.srvname),
       jsonb_build_object('secrets', to_jsonb(v.umoptions),
                          'hidden', CASE WHEN v.umoptions IS NULL AND NOT r.rolsuper THEN true END)
FROM pg_user_mapping AS m JOIN pg_foreign_server AS s ON s.oid = m.umserver
     -- The view shows what a dump by this role holds, however readable the table is.
     JOIN pg_user_mappings AS v ON v.umid = m.oid JOIN pg_roles AS r ON r.rolname = current_user
""",
        fallback="""
SELECT 'user mapping',
       format('%s on %I', CASE m.umuser WHEN 0 THEN 'public' ELSE @role(m.umuser) END, m.srvname),
       jsonb_build_object('hidden', true)
FROM pg_user_mappings AS m
""",
    ),
    family(
        "publications",
        """
SELECT 'publication', @name(pg_publication, p.oid),
       to_jsonb(p) - 'oid' - 'pubowner' || jsonb_build_object('owner', @role(p.pubowner))
FROM pg_publication AS p
""",
    ),
    family(
        "tables of publications",
        """
SELECT 'publication table', (pg_identify_object('pg_publication_rel'::regclass, r.oid, 0)).identity,
       jsonb_build_object(
           'where', pg_get_expr(r.prqual, r.prrelid),
           'columns', (SELECT jsonb_agg(a.attname ORDER BY a.attname COLLATE "C") FROM pg_attribute AS a
                       WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)))
FROM pg_publication_rel AS r
""",
        since=15,
    ),
    family(
        "tables of publications",
        """
SELECT 'publication table', (pg_identify_object('pg_publication_rel'::regclass, r.oid, 0)).identity,
       '{}'::jsonb
FROM pg_publication_rel AS r
""",
        until=14,
    ),
    family(
        "publications of schemas",
        """
SELECT 'publication schema', @name(pg_publication_namespace, n.oid), '{}'::jsonb
FROM pg_publication_namespace AS n
""",
        since=15,
    ),
    family(
        # Restored ones are disabled, and where they connect to is a secret: neither is compared.
        "subscriptions",
        """
SELECT 'subscription', quote_ident(s.subname),
       jsonb_build_object('owner', @role(s.subowner), 'publications', to_jsonb(s.subpublications),
                          'slot', s.subslotname, 'synchronous commit', s.subsynccommit, 'binary', s.subbinary)
FROM pg_subscription AS s
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  -- As in a dump, which holds none unless a superuser takes it. Preflight names that gap.
  AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
""",
    ),
)
