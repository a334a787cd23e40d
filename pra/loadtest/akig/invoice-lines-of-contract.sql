-- The statement of one contract, line by line.
-- weight: 6
-- needs: contracts = SELECT max(id) FROM public.contracts
\set contract random(1, :contracts)
SELECT v.number, v.issued_on, l.ordinal, l.label, l.amount
  FROM public.invoices v JOIN public.invoice_lines l ON l.invoice_id = v.id
 WHERE v.contract_id = :contract ORDER BY v.issued_on, l.ordinal;
