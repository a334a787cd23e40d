-- Keys, indexes, rules, views, code: after the rows, as a restore does it.
ALTER TABLE agencies ADD PRIMARY KEY (id), ADD UNIQUE (code);
ALTER TABLE roles ADD PRIMARY KEY (id), ADD UNIQUE (name);
ALTER TABLE permissions ADD PRIMARY KEY (id), ADD UNIQUE (code);
ALTER TABLE role_permissions ADD PRIMARY KEY (role_id, permission_id);
ALTER TABLE users ADD PRIMARY KEY (id), ADD UNIQUE (email);
ALTER TABLE user_roles ADD PRIMARY KEY (user_id, role_id);
ALTER TABLE sessions ADD PRIMARY KEY (id), ADD CONSTRAINT session_order CHECK (ended_at >= started_at);
ALTER TABLE owners ADD PRIMARY KEY (id), ADD UNIQUE (tax_number);
ALTER TABLE bank_accounts ADD PRIMARY KEY (id), ADD UNIQUE (iban), ADD CONSTRAINT one_holder CHECK (num_nonnulls(owner_id, agency_id) = 1);
ALTER TABLE properties ADD PRIMARY KEY (id), ADD UNIQUE (reference);
ALTER TABLE buildings ADD PRIMARY KEY (id), ADD CONSTRAINT floors_positive CHECK (floors > 0);
ALTER TABLE units ADD PRIMARY KEY (id), ADD CONSTRAINT surface_positive CHECK (surface > 0);
ALTER TABLE tenants ADD PRIMARY KEY (id), ADD UNIQUE (user_id);
ALTER TABLE contracts ADD PRIMARY KEY (id), ADD UNIQUE (reference), ADD CONSTRAINT contract_order CHECK (ends_on >= starts_on),
  ADD CONSTRAINT rent_positive CHECK (rent > 0);
ALTER TABLE contract_periods ADD PRIMARY KEY (id), ADD UNIQUE (contract_id, ordinal), ADD CONSTRAINT period_order CHECK (ends_on > starts_on);
ALTER TABLE deposits ADD PRIMARY KEY (id), ADD UNIQUE (contract_id), ADD CONSTRAINT returned_within CHECK (returned <= held);
ALTER TABLE invoices ADD PRIMARY KEY (id), ADD UNIQUE (number), ADD CONSTRAINT due_after_issue CHECK (due_on >= issued_on);
ALTER TABLE invoice_lines ADD PRIMARY KEY (id);
ALTER TABLE payments ADD PRIMARY KEY (id), ADD UNIQUE (reference);
ALTER TABLE bank_movements ADD PRIMARY KEY (id);
ALTER TABLE vendors ADD PRIMARY KEY (id);
ALTER TABLE maintenance_tickets ADD PRIMARY KEY (id), ADD CONSTRAINT ticket_order CHECK (closed_at >= opened_at);
ALTER TABLE ticket_comments ADD PRIMARY KEY (id);
ALTER TABLE visits ADD PRIMARY KEY (id), ADD CONSTRAINT no_double_booking EXCLUDE USING gist (unit_id WITH =, slot WITH &&);
ALTER TABLE documents ADD PRIMARY KEY (id), ADD UNIQUE (path), ADD CONSTRAINT digest_length CHECK (octet_length(sha256) = 32);
ALTER TABLE messages ADD PRIMARY KEY (id);
ALTER TABLE notifications ADD PRIMARY KEY (id), ADD CONSTRAINT known_channel CHECK (channel IN ('email', 'sms', 'push'));
ALTER TABLE app_settings ADD PRIMARY KEY (key);
ALTER TABLE audit.audit_log ADD PRIMARY KEY (id, occurred_at);

ALTER TABLE role_permissions ADD FOREIGN KEY (role_id) REFERENCES roles, ADD FOREIGN KEY (permission_id) REFERENCES permissions;
ALTER TABLE users ADD FOREIGN KEY (agency_id) REFERENCES agencies;
ALTER TABLE user_roles ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE, ADD FOREIGN KEY (role_id) REFERENCES roles;
ALTER TABLE sessions ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;
ALTER TABLE bank_accounts ADD FOREIGN KEY (owner_id) REFERENCES owners, ADD FOREIGN KEY (agency_id) REFERENCES agencies;
ALTER TABLE properties ADD FOREIGN KEY (owner_id) REFERENCES owners, ADD FOREIGN KEY (agency_id) REFERENCES agencies;
ALTER TABLE buildings ADD FOREIGN KEY (property_id) REFERENCES properties;
ALTER TABLE units ADD FOREIGN KEY (building_id) REFERENCES buildings;
ALTER TABLE tenants ADD FOREIGN KEY (user_id) REFERENCES users;
ALTER TABLE contracts ADD FOREIGN KEY (unit_id) REFERENCES units, ADD FOREIGN KEY (tenant_id) REFERENCES tenants, ADD FOREIGN KEY (user_id) REFERENCES users;
ALTER TABLE contract_periods ADD FOREIGN KEY (contract_id) REFERENCES contracts;
ALTER TABLE deposits ADD FOREIGN KEY (contract_id) REFERENCES contracts;
ALTER TABLE invoices ADD FOREIGN KEY (contract_id) REFERENCES contracts;
ALTER TABLE invoice_lines ADD FOREIGN KEY (invoice_id) REFERENCES invoices ON DELETE CASCADE;
ALTER TABLE payments ADD FOREIGN KEY (invoice_id) REFERENCES invoices, ADD FOREIGN KEY (contract_id) REFERENCES contracts;
ALTER TABLE bank_movements ADD FOREIGN KEY (account_id) REFERENCES bank_accounts, ADD FOREIGN KEY (payment_id) REFERENCES payments;
ALTER TABLE maintenance_tickets ADD FOREIGN KEY (unit_id) REFERENCES units, ADD FOREIGN KEY (reporter_id) REFERENCES users, ADD FOREIGN KEY (vendor_id) REFERENCES vendors;
ALTER TABLE ticket_comments ADD FOREIGN KEY (ticket_id) REFERENCES maintenance_tickets, ADD FOREIGN KEY (author_id) REFERENCES users;
ALTER TABLE visits ADD FOREIGN KEY (unit_id) REFERENCES units;
ALTER TABLE documents ADD FOREIGN KEY (contract_id) REFERENCES contracts;
ALTER TABLE messages ADD FOREIGN KEY (sender_id) REFERENCES users, ADD FOREIGN KEY (recipient_id) REFERENCES users, ADD FOREIGN KEY (contract_id) REFERENCES contracts;
ALTER TABLE notifications ADD FOREIGN KEY (user_id) REFERENCES users;
ALTER TABLE audit.audit_log ADD FOREIGN KEY (user_id) REFERENCES users;

CREATE INDEX ON sessions (user_id);
CREATE INDEX ON contracts (status, starts_on);
CREATE INDEX ON invoices (contract_id, issued_on);
CREATE INDEX invoices_unpaid ON invoices (due_on) WHERE status <> 'paid';
CREATE INDEX ON invoice_lines (invoice_id);
CREATE INDEX ON payments (contract_id);
CREATE INDEX ON payments (received_at DESC);
CREATE INDEX ON bank_movements (payment_id);
CREATE INDEX ON messages (recipient_id, sent_at);
CREATE INDEX ON notifications (user_id);
CREATE INDEX users_name_lower ON users (lower(full_name));
CREATE INDEX ON audit.audit_log (table_name, row_id);
CREATE STATISTICS contract_status_by_start ON status, starts_on FROM contracts;

CREATE VIEW active_contracts AS
  SELECT c.*, t.full_name AS tenant FROM contracts c JOIN tenants t ON t.id = c.tenant_id WHERE c.status = 'active';
CREATE VIEW overdue_invoices AS SELECT v.id, v.number, v.contract_id, v.total, v.due_on FROM invoices v WHERE v.status = 'overdue';
CREATE VIEW owner_units AS SELECT o.id AS owner_id, count(u.id) AS units FROM owners o LEFT JOIN properties p ON p.owner_id = o.id
  LEFT JOIN buildings b ON b.property_id = p.id LEFT JOIN units u ON u.building_id = b.id GROUP BY o.id;
CREATE MATERIALIZED VIEW monthly_revenue AS SELECT date_trunc('month', received_at AT TIME ZONE 'UTC')::date AS month, method,
  count(*) AS payments, sum(amount) AS amount FROM payments GROUP BY 1, 2;
CREATE UNIQUE INDEX monthly_revenue_key ON monthly_revenue (month, method);

CREATE FUNCTION contract_balance(contract bigint) RETURNS numeric STABLE LANGUAGE sql AS $$
  SELECT coalesce((SELECT sum(total) FROM public.invoices WHERE contract_id = contract AND status <> 'cancelled'), 0)
       - coalesce((SELECT sum(amount) FROM public.payments WHERE contract_id = contract), 0) $$;
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
CREATE FUNCTION audit.record_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit.audit_log (occurred_at, user_id, action, table_name, row_id, request_id, ip, change)
  VALUES (now(), NEW.user_id, lower(TG_OP), TG_TABLE_NAME, NEW.id, gen_random_uuid(), coalesce(inet_client_addr(), '127.0.0.1'),
          jsonb_build_object('status', NEW.status));
  RETURN NEW;
END $$;
CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER contracts_touch BEFORE UPDATE ON contracts FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER contracts_audit AFTER INSERT OR UPDATE OF status ON contracts FOR EACH ROW EXECUTE FUNCTION audit.record_change();

COMMENT ON TABLE contracts IS 'One lease of one unit by one tenant';
COMMENT ON COLUMN contracts.monthly IS 'What one month costs: rent, charges and parking';
COMMENT ON TABLE payments IS 'Money received against one invoice';
COMMENT ON FUNCTION contract_balance(bigint) IS 'What the tenant still owes';
COMMENT ON VIEW overdue_invoices IS 'What the accountant calls about on Mondays';
COMMENT ON CONSTRAINT no_double_booking ON visits IS 'A unit is shown to one visitor at a time';
