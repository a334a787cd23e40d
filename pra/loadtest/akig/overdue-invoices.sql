-- What the accountant calls about on Mondays.
-- weight: 2
SELECT v.number, v.total, v.due_on, t.full_name
  FROM public.invoices v JOIN public.contracts c ON c.id = v.contract_id JOIN public.tenants t ON t.id = c.tenant_id
 WHERE v.status = 'overdue' AND v.due_on < current_date ORDER BY v.due_on LIMIT 50;
