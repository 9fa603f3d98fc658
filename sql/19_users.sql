-- Less than the service key: end users who may enqueue, and roles that may enqueue or work in some queues.
--
-- Both are off until the project's owner turns them on.
--   * meshhook_allow_user_enqueue() lets signed-in users put jobs into one queue, through
--     meshhook_user_enqueue() alone. Each job carries the user's id, which the user cannot choose.
--   * meshhook.grant_enqueue() and meshhook.grant_work() give a role of the owner's the functions of one
--     verb, and a row for each queue. Execute rights say what the role may do; the rows say where.
--
-- Locks: the request's first, then the user's row, and after these what an enqueue takes.
--
-- What is given is tied to queue_id: a later queue of the same name lets no role in.
-- A caller that is turned away gets an HTTP status that says so, which PostgREST takes from an error of
-- SQLSTATE PGRST: MH004 not allowed, with 403; MH005 quota used up, with 429 and Retry-After. As SQLSTATEs,
-- both would be answered with 400.

create or replace function meshhook._check_role(p_role_name text)
returns void language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select
    from pg_roles r
    where r.rolname = p_role_name
      and r.rolname not in ('anon', 'authenticated', 'authenticator', 'service_role')
      and not r.rolsuper and not r.rolbypassrls
      and not pg_has_role(r.oid, current_user, 'member')
      and not pg_has_role(r.oid, 'service_role', 'member')
  ) then
    perform meshhook._refuse(
      'role_name', p_role_name, 'is not a role of yours, without other rights',
      'Make one with "create role ... nologin noinherit" and "grant ... to authenticator".'
    );
  end if;
end
$$;
comment on function meshhook._check_role is
  'Raise MH002 unless there is such a role, and it is none of Supabase''s and no administrator.';

create or replace function meshhook._grant(p_role_name text, p_queue_name text, p_verb text)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
  v_function regprocedure;
begin
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  perform meshhook._check_role(p_role_name);
  v_queue := meshhook._queue(p_queue_name);
  delete from meshhook.grants g
  where not exists (select from meshhook.queues q where q.queue_id = g.queue_id);
  if exists (select from meshhook.grants g where g.role_name = p_role_name and g.verb <> p_verb) then
    perform meshhook._refuse(
      'role_name', p_role_name, 'has grants of the other verb',
      'Make one role to enqueue and another to work.'
    );
  end if;
  insert into meshhook.grants (role_name, queue_id, verb)
  values (p_role_name, v_queue.queue_id, p_verb)
  on conflict on constraint grants_pkey do nothing;
  for v_function in select f from meshhook._granted_functions(p_verb) f loop
    execute format('grant execute on function %s to %I', v_function, p_role_name);
  end loop;
end
$$;
comment on function meshhook._grant is 'Let a role use the functions of a verb in one more queue.';

create or replace function meshhook.grant_enqueue(p_role_name text, p_queue_name text)
returns void language sql
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._grant(p_role_name, p_queue_name, 'enqueue')
$$;
comment on function meshhook.grant_enqueue is
  'Let a role of yours enqueue into a queue, and neither read nor settle what is there. For the owner of '
  'the database.';

create or replace function meshhook.grant_work(p_role_name text, p_queue_name text)
returns void language sql
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._grant(p_role_name, p_queue_name, 'work')
$$;
comment on function meshhook.grant_work is
  'Let a role of yours claim, extend and settle the jobs of a queue, as a worker does. For the owner of the '
  'database.';

create or replace function meshhook.revoke_grants(p_role_name text)
returns integer language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure;
  v_count integer;
begin
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  if exists (select from pg_roles r where r.rolname = p_role_name) then
    for v_function in
      select p.oid::regprocedure
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'public'
      where p.proname like 'meshhook\_%'
        and exists (select from meshhook.grants g where g.role_name = p_role_name)
    loop
      execute format('revoke all on function %s from %I', v_function, p_role_name);
    end loop;
  end if;
  delete from meshhook.grants g where g.role_name = p_role_name;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function meshhook.revoke_grants is
  'Take all grants from a role, and return how many queues they were for. For the owner of the database, '
  'before the role is dropped.';

-- The claims are those that PostgREST verified; auth.uid() reads the same setting.
create or replace function meshhook._end_user(p_allows_anonymous boolean)
returns uuid language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims constant jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
  v_user constant text := lower(v_claims ->> 'sub');
begin
  if v_user is null or v_user !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    perform meshhook._turn_away(
      403, 'MH004', 'sub', v_user, 'The request comes from no user.',
      'Sign in, and send the access token of the session.'
    );
  end if;
  if not p_allows_anonymous and v_claims -> 'is_anonymous' = 'true'::jsonb then
    perform meshhook._turn_away(
      403, 'MH004', 'is_anonymous', 'true', 'Anonymous users may not enqueue here.',
      'Sign in with an identity, or let meshhook_allow_user_enqueue() allow anonymous users.'
    );
  end if;
  return v_user::uuid;
end
$$;
comment on function meshhook._end_user is
  'Return the id of the user whose token came with the request; raise MH004 where there is none.';

-- One answer for every queue that is not allowed, there or not: a user learns no names.
create or replace function meshhook._user_queue(p_queue_name text)
returns meshhook.user_queues language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_allowed meshhook.user_queues;
begin
  perform meshhook._check_queue_name('queue_name', p_queue_name);
  select u.* into v_allowed
  from meshhook.user_queues u
  join meshhook.queues q on q.queue_id = u.queue_id
  join meshhook._pgmq_queues() m on m.queue_name = q.queue_name and m.created_at = q.created_at
  where q.queue_name = p_queue_name;
  if not found then
    perform meshhook._turn_away(
      403, 'MH004', 'queue_name', p_queue_name, format('Users may not enqueue into "%s".', p_queue_name),
      'Let the server call meshhook_allow_user_enqueue(), if they should.'
    );
  end if;
  return v_allowed;
end
$$;
comment on function meshhook._user_queue is
  'Return within which limits users may enqueue into a queue; raise MH004 where they may not.';

-- What decides how a job is run is not the user's to choose: a user could otherwise have it tried a million
-- times, pass for another user, or pretend that it has failed before.
create or replace function meshhook._check_user_message(p_message jsonb, p_max_bytes integer)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bytes constant integer := octet_length(p_message::text);
  v_field text;
begin
  if jsonb_typeof(p_message) is distinct from 'object' then
    perform meshhook._refuse('message', p_message::text, 'must be a JSON object', 'Send an object.');
  end if;
  if v_bytes > p_max_bytes then
    perform meshhook._refuse(
      'message', v_bytes::text, format('is larger than %s bytes', p_max_bytes),
      'Send less, such as a reference to where the rest is kept.'
    );
  end if;
  select k into v_field
  from jsonb_object_keys(p_message) k
  where k in (
    '_meshhook', 'user_id', 'attempt', 'max_attempts', 'enqueued_at', 'last_error', 'last_error_at',
    'error_message', 'error_stack', 'moved_to_dlq_at', 'original_msg_id', 'original_enqueued_at', 'read_count'
  )
  order by k
  limit 1;
  if found then
    perform meshhook._refuse(
      'message.' || v_field, (p_message -> v_field)::text, 'is not for users to set', 'Leave it out.'
    );
  end if;
end
$$;
comment on function meshhook._check_user_message is
  'Raise MH002 unless the message is an object, small enough, and without the fields that MeshHook sets.';

create or replace function meshhook._forget_user_sends(p_limit integer)
returns bigint language sql
set search_path = pg_catalog, pg_temp
as $$
  with expired as (
    select s.queue_id, s.user_id
    from meshhook.user_sends s
    where s.expires_at <= clock_timestamp()
    order by s.expires_at
    limit p_limit
    for update skip locked
  ), gone as (
    delete from meshhook.user_sends s
    using expired e
    where s.queue_id = e.queue_id and s.user_id = e.user_id
    returning 1
  )
  select count(*) from gone
$$;
comment on function meshhook._forget_user_sends is
  'Delete up to so many rows that count for no quota any more.';

-- Exact: the user's row is locked before the clock is read, so calls at the same time are counted one after
-- the other, and every span of per_seconds holds at most quota jobs, not only those that begin on the minute.
create or replace function meshhook._spend_quota(p_allowed meshhook.user_queues, p_user uuid)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sent timestamptz[];
  v_now timestamptz;
  v_wait double precision;
begin
  insert into meshhook.user_sends as s (queue_id, user_id, expires_at)
  values (p_allowed.queue_id, p_user, clock_timestamp())
  on conflict on constraint user_sends_pkey do update set expires_at = s.expires_at
  returning s.sent_at into v_sent;
  v_now := clock_timestamp();
  v_sent := array(
    select t from unnest(v_sent) t where t > v_now - make_interval(secs => p_allowed.per_seconds) order by t
  );
  if cardinality(v_sent) >= p_allowed.quota then
    v_wait := p_allowed.per_seconds
      - extract(epoch from v_now - v_sent[cardinality(v_sent) - p_allowed.quota + 1])::double precision;
    perform meshhook._turn_away(
      429, 'MH005', 'quota', p_allowed.quota::text,
      format('You may enqueue %s jobs in %s seconds, and have.', p_allowed.quota, p_allowed.per_seconds),
      format('Wait %s seconds.', greatest(1, ceil(v_wait))),
      jsonb_build_object('Retry-After', greatest(1, ceil(v_wait))::text)
    );
  end if;
  update meshhook.user_sends s
  set sent_at = v_sent || v_now, expires_at = v_now + make_interval(secs => p_allowed.per_seconds)
  where s.queue_id = p_allowed.queue_id and s.user_id = p_user;
  if random() < 0.01 then
    perform meshhook._forget_user_sends(200);
  end if;
end
$$;
comment on function meshhook._spend_quota is
  'Count one more job of a user; raise MH005 where the quota is used up.';

-- No id in the answer: it would tell a user how many jobs others have sent.
create or replace function public.meshhook_user_enqueue(
  queue_name text, message jsonb, delay_seconds double precision default 0, request_id text default null,
  run_at timestamptz default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_user_enqueue.queue_name;
  v_allowed constant meshhook.user_queues := meshhook._user_queue(v_name);
  v_user constant uuid := meshhook._end_user(v_allowed.allows_anonymous);
  -- The memory is the user's own: to guess another user's request_id gives nothing.
  v_verb constant text := 'user_enqueue ' || v_user;
  v_answer constant jsonb := meshhook._recall(v_name, v_verb, request_id);
begin
  if v_answer is not null then
    return v_answer || jsonb_build_object('duplicate', true);
  end if;
  perform meshhook._check_user_message(message, v_allowed.max_bytes);
  perform meshhook._check_delay('delay_seconds', delay_seconds);
  perform meshhook._check_one_time(delay_seconds, run_at);
  perform meshhook._check_run_at('run_at', run_at);
  perform meshhook._spend_quota(v_allowed, v_user);
  perform meshhook._insert_messages(
    meshhook._queue(v_name), jsonb_build_array(message || jsonb_build_object('user_id', v_user)),
    delay_seconds, null, case when run_at is not null then array[run_at] end
  );
  return meshhook._remember(v_name, v_verb, request_id, jsonb_build_object('duplicate', false));
end
$$;
comment on function public.meshhook_user_enqueue is
  'Enqueue a job for the user who is signed in, whose id it carries as user_id. Only into queues that '
  'meshhook_allow_user_enqueue() names.';
revoke all on function public.meshhook_user_enqueue from public, anon;
grant execute on function public.meshhook_user_enqueue to service_role;
do $$
begin
  -- Applied again, this leaves users what they were allowed.
  if not exists (select from meshhook.user_queues) then
    revoke all on function public.meshhook_user_enqueue from authenticated;
  end if;
end
$$;

create or replace function meshhook._close_to_users()
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from meshhook.user_queues u
  where not exists (select from meshhook.queues q where q.queue_id = u.queue_id);
  if not exists (select from meshhook.user_queues) then
    revoke all on function public.meshhook_user_enqueue from authenticated;
  end if;
end
$$;
comment on function meshhook._close_to_users is
  'Forget queues that are no longer there; without any queue for users, take their right to enqueue away.';

create or replace function public.meshhook_allow_user_enqueue(
  queue_name text,
  max_bytes integer default 16384,
  quota integer default 60,
  per_seconds double precision default 60,
  allows_anonymous boolean default false
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  perform meshhook._check_number('max_bytes', max_bytes, 2, 1048576);
  perform meshhook._check_number('quota', quota, 1, 1000);
  perform meshhook._check_number('per_seconds', per_seconds, 1, 2678400);
  if allows_anonymous is null then
    perform meshhook._refuse('allows_anonymous', null, 'must be true or false', 'Leave it out for false.');
  end if;
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  v_queue := meshhook._queue(meshhook_allow_user_enqueue.queue_name);
  if exists (select from meshhook.queues q where q.dlq_name = v_queue.queue_name) then
    perform meshhook._refuse(
      'queue_name', v_queue.queue_name, 'is a dead letter queue', 'Name the queue that jobs are worked from.'
    );
  end if;
  delete from meshhook.user_queues u
  where not exists (select from meshhook.queues q where q.queue_id = u.queue_id);
  insert into meshhook.user_queues as u (queue_id, max_bytes, quota, per_seconds, allows_anonymous)
  values (
    v_queue.queue_id, meshhook_allow_user_enqueue.max_bytes, meshhook_allow_user_enqueue.quota,
    meshhook_allow_user_enqueue.per_seconds, meshhook_allow_user_enqueue.allows_anonymous
  )
  on conflict on constraint user_queues_pkey do update set
    max_bytes = excluded.max_bytes, quota = excluded.quota,
    per_seconds = excluded.per_seconds, allows_anonymous = excluded.allows_anonymous;
  grant execute on function public.meshhook_user_enqueue to authenticated;
  return jsonb_build_object(
    'queue_name', v_queue.queue_name, 'max_bytes', max_bytes, 'quota', quota,
    'per_seconds', per_seconds, 'allows_anonymous', allows_anonymous
  );
end
$$;
comment on function public.meshhook_allow_user_enqueue is
  'Let signed-in users enqueue into a queue, each at most quota jobs of max_bytes in any per_seconds; '
  'called again, it changes the limits.';
revoke all on function public.meshhook_allow_user_enqueue from public, anon, authenticated;
grant execute on function public.meshhook_allow_user_enqueue to service_role;

create or replace function public.meshhook_disallow_user_enqueue(queue_name text)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_disallow_user_enqueue.queue_name;
  v_allowed boolean;
begin
  perform meshhook._check_queue_name('queue_name', v_name);
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  delete from meshhook.user_queues u
  using meshhook.queues q
  where q.queue_id = u.queue_id and q.queue_name = v_name;
  v_allowed := found;
  perform meshhook._close_to_users();
  return v_allowed;
end
$$;
comment on function public.meshhook_disallow_user_enqueue is
  'Let users enqueue into a queue no longer; return whether they could. Without any such queue, they cannot '
  'call meshhook_user_enqueue() either.';
revoke all on function public.meshhook_disallow_user_enqueue from public, anon, authenticated;
grant execute on function public.meshhook_disallow_user_enqueue to service_role;
