-- What the tenant still owes.
-- weight: 6
-- needs: contracts = SELECT max(id) FROM public.contracts
\set contract random(1, :contracts)
SELECT coalesce((SELECT sum(total) FROM public.invoices WHERE contract_id = :contract AND status <> 'cancelled'), 0)
     - coalesce((SELECT sum(amount) FROM public.payments WHERE contract_id = :contract), 0) AS balance;
