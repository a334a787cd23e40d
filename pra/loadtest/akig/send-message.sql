-- A manager writes to a tenant.
-- weight: 2
-- writes: public.messages
-- needs: users = SELECT max(id) FROM public.users
\set user random(1, :users)
INSERT INTO public.messages (sender_id, recipient_id, thread, subject, body, sent_at)
SELECT id, id, gen_random_uuid(), 'load test', 'load test', created_at FROM public.users WHERE id = :user;
