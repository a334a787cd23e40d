-- A tenant opens the page of one contract.
-- weight: 10
-- needs: contracts = SELECT max(id) FROM public.contracts
\set contract random(1, :contracts)
SELECT c.reference, c.status, c.starts_on, c.ends_on, c.monthly, t.full_name, u.label, u.surface
  FROM public.contracts c JOIN public.tenants t ON t.id = c.tenant_id JOIN public.units u ON u.id = c.unit_id
 WHERE c.id = :contract;
