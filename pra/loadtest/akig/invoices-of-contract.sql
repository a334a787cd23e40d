-- The newest invoices of one contract.
-- weight: 8
-- needs: contracts = SELECT max(id) FROM public.contracts
\set contract random(1, :contracts)
SELECT id, number, status, issued_on, due_on, total FROM public.invoices
 WHERE contract_id = :contract ORDER BY issued_on DESC LIMIT 12;
