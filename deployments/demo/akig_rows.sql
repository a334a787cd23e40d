-- Rows. Every business rule of checks/suites/akig.yaml holds by construction.
INSERT INTO agencies (code, name, address, phone, opened_on)
  SELECT 'AG' || to_char(i, 'FM00'), 'AKIG ' || pg_temp.word(pg_temp.cities(), i, 1) || ' ' || i, pg_temp.address(i, 2),
         pg_temp.phone(i, 6), date '2009-01-05' + i::int * 150 FROM generate_series(1, 12::bigint) i;
INSERT INTO roles SELECT i, (ARRAY['admin', 'manager', 'accountant', 'agent', 'technician', 'owner', 'tenant', 'auditor'])[i],
  'Role ' || i FROM generate_series(1, 8) i;
INSERT INTO permissions SELECT i, (ARRAY['users', 'properties', 'contracts', 'payments', 'invoices', 'tickets', 'documents', 'audit'])[1 + i % 8]
  || '.' || (ARRAY['read', 'create', 'update', 'delete', 'export'])[1 + i / 8], 'Permission ' || i FROM generate_series(0, 39) i;
INSERT INTO role_permissions SELECT r, p FROM generate_series(1, 8) r, generate_series(0, 39) p WHERE r = 1 OR pg_temp.pick(r * 100 + p, 3, 3) = 0;
INSERT INTO users (id, agency_id, email, full_name, phone, password_hash, locale, is_active, preferences, created_at, updated_at)
  SELECT i, CASE WHEN i <= 60 THEN 1 + i % 12 END,
    lower(translate(pg_temp.word(pg_temp.first_names(), i, 10), 'ïÏéÉèëô', 'iIeEeeo')) || '.' || i || '@example.com',
    pg_temp.person(i, 10), pg_temp.phone(i, 12), '$2b$12$' || md5(i || 'h' || :seed) || left(md5(i || 'g' || :seed), 21),
    CASE WHEN pg_temp.pick(i, 14, 4) = 0 THEN 'en' ELSE 'fr' END, pg_temp.pick(i, 15, 20) > 0,
    jsonb_build_object('theme', CASE WHEN i % 3 = 0 THEN 'dark' ELSE 'light' END, 'digest', pg_temp.pick(i, 16, 7)),
    created, created + interval '1 hour'
  FROM generate_series(1, :contracts + 100::bigint) i, LATERAL (SELECT pg_temp.moment(i, 13)) t(created);
INSERT INTO user_roles SELECT i, CASE WHEN i <= 60 THEN 1 + i % 5 ELSE 7 END, created_at FROM (SELECT id i, created_at FROM users) u;
INSERT INTO sessions SELECT pg_temp.unique_id(i, 20), 1 + pg_temp.pick(i, 21, :contracts), at,
    CASE WHEN pg_temp.pick(i, 22, 10) > 0 THEN at + pg_temp.pick(i, 23, 7200) * interval '1 second' END,
    '10.0.0.0'::inet + pg_temp.pick(i, 24, 16000000),
    'Mozilla/5.0 (' || (ARRAY['X11; Linux', 'Windows NT 10.0', 'Macintosh', 'Android 14'])[1 + pg_temp.pick(i, 25, 4)] || ') rv:' || 100 + pg_temp.pick(i, 26, 40)
  FROM generate_series(1, :contracts * 3::bigint) i, LATERAL (SELECT pg_temp.moment(i, 27)) t(at);
INSERT INTO owners SELECT i, pg_temp.person(i, 30), 'owner.' || i || '@example.net', 'TX' || to_char(i, 'FM000000') || pg_temp.pick(i, 32, 10),
    pg_temp.address(i, 33), pg_temp.day(i, 37) FROM generate_series(1, 10 + :contracts / 10::bigint) i;
INSERT INTO bank_accounts SELECT i, CASE WHEN i > 12 THEN i - 12 END, CASE WHEN i <= 12 THEN i END,
    'GN' || to_char(10 + i % 90, 'FM00') || to_char(pg_temp.bits(i, 40) % 1000000000000, 'FM000000000000') || to_char(i, 'FM00000000'),
    (ARRAY['Ecobank', 'BICIGUI', 'SGBG', 'Orabank'])[1 + pg_temp.pick(i, 41, 4)], pg_temp.day(i, 42)
  FROM generate_series(1, 22 + :contracts / 10::bigint) i;
INSERT INTO properties SELECT i, 1 + pg_temp.pick(i, 50, 10 + :contracts / 10), 1 + pg_temp.pick(i, 51, 12),
    (enum_range(NULL::property_kind))[1 + pg_temp.pick(i, 52, 4)], 'P' || to_char(i, 'FM000000'),
    'Résidence ' || pg_temp.word(pg_temp.last_names(), i, 53), pg_temp.address(i, 54), pg_temp.day(i, 58),
    pg_temp.sentence(i, 59) || ' ' || pg_temp.sentence(i, 60) FROM generate_series(1, 5 + :contracts / 8::bigint) i;
INSERT INTO buildings SELECT i, 1 + (i - 1) % (5 + :contracts / 8), 'Bâtiment ' || chr(65 + (i % 26)::int), 1 + pg_temp.pick(i, 61, 12),
    1950 + pg_temp.pick(i, 62, 75), point(9.5 + pg_temp.pick(i, 63, 10000) / 1e5, -13.7 + pg_temp.pick(i, 64, 10000) / 1e5)
  FROM generate_series(1, 8 + :contracts / 5::bigint) i;
INSERT INTO units SELECT i, 1 + (i - 1) % (8 + :contracts / 5), 'U' || i, pg_temp.pick(i, 65, 12), 1 + pg_temp.pick(i, 66, 7),
    18 + pg_temp.pick(i, 67, 22000) / 100.0,
    (ARRAY['balcon', 'cave', 'climatisation', 'ascenseur', 'jardin', 'terrasse'])[1:pg_temp.pick(i, 68, 7)]
  FROM generate_series(1, :contracts + 20::bigint) i;
INSERT INTO tenants SELECT i, i + 60, pg_temp.person(i + 60, 10), date '1955-01-01' + pg_temp.pick(i, 70, 17000),
    'Société ' || pg_temp.word(pg_temp.last_names(), i, 71), 900 + pg_temp.pick(i, 72, 600000) / 100.0,
    CASE WHEN i % 4 = 0 THEN pg_temp.person(i, 73) END FROM generate_series(1, :contracts::bigint) i;
INSERT INTO contracts (id, unit_id, tenant_id, user_id, reference, status, starts_on, ends_on, rent, charges, parking, clauses, signed_at, updated_at)
  SELECT i, i, i, i + 60, 'C' || to_char(i, 'FM00000000'),
    CASE WHEN e.finish < d.today THEN CASE WHEN i % 9 = 0 THEN 'terminated' ELSE 'ended' END ELSE 'active' END::contract_status,
    s.start, CASE WHEN e.finish < d.today OR i % 2 = 0 THEN e.finish END,
    300 + pg_temp.pick(i, 80, 180000) / 100.0, 20 + pg_temp.pick(i, 81, 12000) / 100.0,
    CASE WHEN i % 3 = 0 THEN 25 + pg_temp.pick(i, 82, 6000) / 100.0 ELSE 0 END,
    concat_ws(' ', pg_temp.sentence(i, 83), pg_temp.sentence(i, 84), pg_temp.sentence(i, 85)),
    s.start - interval '9 days', s.start + interval '3 days'
  FROM generate_series(1, :contracts::bigint) i,
    LATERAL (SELECT date '1970-01-01' + (:until / 86400)::int) d(today),
    LATERAL (SELECT (d.today - make_interval(months => pg_temp.months(i), days => pg_temp.pick(i, 86, 400) - 100))::date) s(start),
    LATERAL (SELECT (s.start + make_interval(months => pg_temp.months(i), days => -1))::date) e(finish);
INSERT INTO contract_periods SELECT (c.id - 1) * 3 + k, c.id, k, (c.starts_on + make_interval(months => 12 * (k - 1)))::date,
    (c.starts_on + make_interval(months => 12 * k))::date - 1, round(c.rent * (98 + 2 * k) / 100, 2)
  FROM contracts c, generate_series(1, 3) k WHERE 12 * (k - 1) < pg_temp.months(c.id);
INSERT INTO deposits SELECT id, id, rent * 2, starts_on, CASE WHEN status = 'ended' THEN rent * 2 END,
    CASE WHEN status = 'ended' THEN ends_on + 20 END FROM contracts;
INSERT INTO invoices SELECT f.id, c.id, 'F' || to_char(d.day, 'YYYYMM') || '-' || to_char(f.id, 'FM000000000'),
    CASE WHEN d.day < to_timestamp(:until)::date - 45 THEN 'paid'
         WHEN pg_temp.pick(f.id, 90, 8) = 0 THEN 'overdue' ELSE 'issued' END::invoice_status,
    d.day, d.day + 10, c.rent + c.charges + c.parking, CASE WHEN pg_temp.pick(f.id, 91, 12) = 0 THEN pg_temp.sentence(f.id, 92) END
  FROM contracts c, generate_series(0, 35) m, LATERAL (SELECT (c.id - 1) * 36 + m + 1) f(id),
    LATERAL (SELECT (c.starts_on + make_interval(months => m))::date) d(day)
  WHERE m < pg_temp.months(c.id) AND d.day <= to_timestamp(:until)::date;
INSERT INTO invoice_lines SELECT (v.id - 1) * 3 + k, v.id, k,
    (ARRAY['Loyer', 'Charges', 'Stationnement'])[k] || to_char(v.issued_on, ' MM/YYYY'),
    (ARRAY[c.rent, c.charges, c.parking])[k]
  FROM invoices v JOIN contracts c ON c.id = v.contract_id, generate_series(1, 3) k WHERE k < 3 OR c.parking > 0;
INSERT INTO payments SELECT v.id, v.id, v.contract_id, v.total, (enum_range(NULL::payment_method))[1 + pg_temp.pick(v.id, 100, 5)],
    pg_temp.unique_id(v.id, 101), 1000 + v.id, v.issued_on + pg_temp.pick(v.id, 102, 864000) * interval '1 second'
  FROM invoices v WHERE v.status = 'paid';
INSERT INTO bank_movements SELECT p.id, 1 + pg_temp.pick(p.id, 110, 12), p.id, p.received_at::date + 1, p.amount,
    'VIR SEPA ' || upper(left(p.reference::text, 13)) || ' LOYER C' || p.contract_id
  FROM payments p WHERE p.method IN ('transfer', 'card', 'mobile');
INSERT INTO vendors SELECT i, pg_temp.word(pg_temp.last_names(), i, 120) || ' & fils', (ARRAY['plomberie', 'électricité',
    'peinture', 'ascenseur', 'serrurerie'])[1 + i % 5], pg_temp.phone(i, 121) FROM generate_series(1, 150::int) i;
INSERT INTO maintenance_tickets SELECT i, 1 + pg_temp.pick(i, 130, :contracts), 1 + pg_temp.pick(i, 131, :contracts),
    1 + pg_temp.pick(i, 132, 150), CASE WHEN pg_temp.pick(i, 133, 8) > 0 THEN 'closed' ELSE 'open' END::ticket_status,
    (enum_range(NULL::ticket_priority))[1 + pg_temp.pick(i, 134, 4)], left(pg_temp.sentence(i, 135), 40),
    concat_ws(' ', pg_temp.sentence(i, 136), pg_temp.sentence(i, 137), 'Dossier ' || left(md5(i || 'd'), 8) || '.', pg_temp.sentence(i, 138)),
    CASE WHEN pg_temp.pick(i, 139, 3) = 0 THEN 40 + pg_temp.pick(i, 140, 90000) / 100.0 END, at,
    CASE WHEN pg_temp.pick(i, 133, 8) > 0 THEN at + (1 + pg_temp.pick(i, 141, 400)) * interval '1 hour' END
  FROM generate_series(1, :contracts * 3 / 2::bigint) i, LATERAL (SELECT pg_temp.moment(i, 142)) t(at);
INSERT INTO ticket_comments SELECT i, t.id, t.reporter_id, pg_temp.sentence(i, 150) || ' ' || pg_temp.sentence(i, 151),
    t.opened_at + n * interval '5 hours' FROM maintenance_tickets t, generate_series(0, 1) n, LATERAL (SELECT t.id * 2 + n) x(i);
INSERT INTO visits SELECT i, 1 + i % (:contracts + 20), pg_temp.person(i, 160), tstzrange(at, at + interval '30 minutes')
  FROM generate_series(1, 200 + :contracts / 5::bigint) i,
    LATERAL (SELECT to_timestamp(:until - 86400 * (i % 700)) + pg_temp.pick(i, 161, 20) * interval '30 minutes') t(at);
INSERT INTO documents SELECT i, 1 + (i - 1) % :contracts, (ARRAY['Bail', 'État des lieux', 'Assurance'])[1 + pg_temp.pick(i, 170, 3)] || ' ' || i,
    '/documents/' || left(md5(i || 'p'), 2) || '/' || pg_temp.unique_id(i, 171) || '.pdf',
    sha256(convert_to(i || 's' || :seed, 'UTF8')), 20000 + pg_temp.pick(i, 172, 3000000),
    CASE WHEN i <= :scans THEN 800000 + i END, pg_temp.moment(i, 173) FROM generate_series(1, :contracts * 3::bigint) i;
SELECT lo_from_bytea((800000 + i)::oid, convert_to(repeat(pg_temp.sentence(i, 180) || md5(i || 'lo' || :seed), 120), 'UTF8'))
  FROM generate_series(1, :scans::bigint) i;
INSERT INTO messages SELECT i, 1 + pg_temp.pick(i, 190, 60), 61 + c.id, c.id + 1, pg_temp.unique_id(i / 3, 191), left(pg_temp.sentence(i, 192), 50),
    concat_ws(' ', 'Bonjour ' || pg_temp.word(pg_temp.first_names(), i, 193) || ',', pg_temp.sentence(i, 194), pg_temp.sentence(i, 195),
      'Réf. ' || left(md5(i || 'm' || :seed), 10) || '.', pg_temp.sentence(i, 196), CASE WHEN i % 2 = 0 THEN pg_temp.sentence(i, 197) END, 'Cordialement.'),
    at, CASE WHEN i % 5 > 0 THEN at + pg_temp.pick(i, 198, 90000) * interval '1 second' END
  FROM generate_series(1, :contracts * 8::bigint) i, LATERAL (SELECT pg_temp.moment(i, 199)) t(at), LATERAL (SELECT pg_temp.pick(i, 200, :contracts)) c(id);
INSERT INTO notifications SELECT i, 1 + pg_temp.pick(i, 210, :contracts), (ARRAY['email', 'sms', 'push'])[1 + pg_temp.pick(i, 211, 3)],
    (ARRAY['rent_due', 'rent_received', 'visit_planned', 'ticket_closed'])[1 + pg_temp.pick(i, 212, 4)],
    jsonb_build_object('amount', pg_temp.pick(i, 213, 250000) / 100.0, 'token', left(md5(i || 'n' || :seed), 16)),
    pg_temp.moment(i, 214), pg_temp.pick(i, 215, 30) > 0 FROM generate_series(1, :contracts * 12::bigint) i;
INSERT INTO app_settings SELECT 'feature.' || i, jsonb_build_object('enabled', i % 2 = 0, 'level', i), to_timestamp(:until)
  FROM generate_series(1, 25) i;
INSERT INTO audit.audit_log SELECT i, pg_temp.moment(i, 220), 1 + pg_temp.pick(i, 221, :contracts), (ARRAY['insert', 'update', 'update', 'delete', 'login'])[1 + pg_temp.pick(i, 222, 5)],
    (ARRAY['contracts', 'payments', 'invoices', 'users', 'properties'])[1 + pg_temp.pick(i, 223, 5)], pg_temp.pick(i, 224, 1000000),
    pg_temp.unique_id(i, 225), '10.0.0.0'::inet + pg_temp.pick(i, 226, 16000000),
    jsonb_build_object('before', pg_temp.pick(i, 227, 500000) / 100.0, 'after', pg_temp.pick(i, 228, 500000) / 100.0,
      'comment', pg_temp.sentence(i, 229)) FROM generate_series(1, :contracts * 25::bigint) i;
