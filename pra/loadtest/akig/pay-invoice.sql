-- A payment arrives, and its invoice is settled. Dated when it was due, so that the newest payments stay the same.
-- weight: 3
-- writes: public.payments public.invoices
-- needs: invoices = SELECT max(id) FROM public.invoices
\set invoice random(1, :invoices)
BEGIN;
INSERT INTO public.payments (invoice_id, contract_id, amount, method, reference, receipt, received_at)
SELECT v.id, v.contract_id, 1, 'transfer', gen_random_uuid(), nextval('public.receipt_numbers'), v.due_on - 60
  FROM public.invoices v WHERE v.id = :invoice;
UPDATE public.invoices SET status = 'paid' WHERE id = :invoice AND status <> 'overdue';
COMMIT;
