-- The newest messages of one user.
-- weight: 4
-- needs: users = SELECT max(id) FROM public.users
\set user random(1, :users)
SELECT id, subject, sent_at, read_at FROM public.messages WHERE recipient_id = :user ORDER BY sent_at DESC LIMIT 20;
