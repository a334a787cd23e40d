-- The accountant's morning: what came in last, from whom, for what.
-- weight: 2
-- needs: newest = SELECT extract(epoch FROM max(received_at))::bigint FROM public.payments
-- needs: days_ago = SELECT extract(epoch FROM max(received_at))::bigint - 172800 FROM public.payments
\set since random(:days_ago, :newest)
SELECT p.id, p.amount, p.method, t.full_name, v.number
  FROM public.payments p JOIN public.contracts c ON c.id = p.contract_id
  JOIN public.tenants t ON t.id = c.tenant_id JOIN public.invoices v ON v.id = p.invoice_id
 WHERE p.received_at >= to_timestamp(:since);
