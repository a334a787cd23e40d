-- Who changed this contract, and when.
-- weight: 2
-- needs: contracts = SELECT max(id) FROM public.contracts
\set contract random(1, :contracts)
SELECT occurred_at, user_id, action FROM audit.audit_log
 WHERE table_name = 'contracts' AND row_id = :contract ORDER BY occurred_at DESC LIMIT 50;
