-- Queues: what MeshHook knows of them, and how they come and go.

create or replace function meshhook._dlq_name(p_queue_name text)
returns text language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- PGMQ's limit is 47 characters; where the suffix does not fit, a hash keeps the names apart.
  select case
    when length(p_queue_name) <= 43 then p_queue_name || '_dlq'
    else left(p_queue_name, 34) || '_' || left(md5(p_queue_name), 8) || '_dlq'
  end
$$;
comment on function meshhook._dlq_name is 'Return the name of a queue''s dead letter queue.';

create or replace function meshhook._unlike(p_one text, p_other text)
returns integer language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with shared as (
    select coalesce(max(i), 0) as at_front
    from generate_series(1, least(length(p_one), length(p_other))) i
    where left(p_one, i) = left(p_other, i)
  )
  select greatest(length(p_one), length(p_other)) - s.at_front - (
    select coalesce(max(i), 0)
    from generate_series(1, least(length(p_one), length(p_other)) - s.at_front) i
    where right(p_one, i) = right(p_other, i)
  )
  from shared s
$$;
comment on function meshhook._unlike is
  'Return how many characters of the longer text remain without what both begin and end with.';

-- Two names are alike where at most two characters differ in one place, or one is how the other begins. A
-- caller who is held to some queues learns of no others.
create or replace function meshhook._alike_queue(p_queue_name text)
returns text language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller constant text := meshhook._caller();
  v_reaches_all constant boolean :=
    pg_has_role(v_caller, current_user, 'usage') or pg_has_role(v_caller, 'service_role', 'usage');
begin
  return (
    select c.queue_name
    from (
      select m.queue_name, meshhook._unlike(p_queue_name, m.queue_name) as unlike
      from meshhook._pgmq_queues() m
      where v_reaches_all
        or exists (
          select
          from meshhook.queues q
          join meshhook.grants g on g.queue_id = q.queue_id
          join pg_roles r on r.rolname = g.role_name
          where q.queue_name = m.queue_name and pg_has_role(v_caller, r.oid, 'usage')
        )
    ) c
    where c.unlike <= 2
      or (length(p_queue_name) >= 3 and starts_with(c.queue_name, p_queue_name))
      or (length(c.queue_name) >= 3 and starts_with(p_queue_name, c.queue_name))
    order by c.unlike, c.queue_name
    limit 1
  );
end
$$;
comment on function meshhook._alike_queue is
  'Return the queue that the caller may reach whose name is most like another name; null if none is.';

create or replace function meshhook._require_pgmq_queue(p_field text, p_queue_name text)
returns void language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alike text;
begin
  perform meshhook._check_queue_name(p_field, p_queue_name);
  if not exists (select from meshhook._pgmq_queues() m where m.queue_name = p_queue_name) then
    v_alike := meshhook._alike_queue(p_queue_name);
    raise exception using
      errcode = 'MH001',
      message = format('The queue "%s" does not exist.', p_queue_name),
      detail = jsonb_build_object('field', p_field, 'value', p_queue_name)::text,
      hint = case when v_alike is null then '' else format('Did you mean "%s"? If not: ', v_alike) end
        || 'Create it once, with create_queue() or select meshhook_create_queue(...).';
  end if;
  if to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null then
    raise exception using
      errcode = 'MH001',
      message = format('The queue "%s" has lost its table.', p_queue_name),
      detail = jsonb_build_object('field', p_field, 'value', p_queue_name)::text,
      hint = 'Call create_queue() or select meshhook_create_queue(...): they create what is missing, '
        'without the jobs that were in it.';
  end if;
end
$$;
comment on function meshhook._require_pgmq_queue is 'Raise MH001 unless PGMQ has the queue.';

-- Unlike _queue() this writes nothing, so that looking may stay read only.
create or replace function meshhook._known_queue(p_queue_name text)
returns meshhook.queues language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  perform meshhook._require_pgmq_queue('queue_name', p_queue_name);
  select q.* into v_queue from meshhook.queues q where q.queue_name = p_queue_name;
  v_queue.queue_name := p_queue_name;
  v_queue.queue_id := coalesce(v_queue.queue_id, 0);
  return v_queue;
end
$$;
comment on function meshhook._known_queue is
  'Return a queue, with queue_id 0 if MeshHook has not taken it up yet; raise MH001 where there is none.';

-- A queue that PGMQ has and MeshHook has not seen yet (made in the dashboard, or by another client) is
-- taken as it is, without a change to its table. One that PGMQ has lost from its list is listed again.
create or replace function meshhook._adopt(p_queue_name text)
returns meshhook.queues language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  perform meshhook._require_pgmq_queue('queue_name', p_queue_name);
  if not exists (select from pgmq.meta m where m.queue_name = p_queue_name) then
    perform meshhook._repair_pgmq_queue(p_queue_name);
  end if;
  delete from meshhook.queues q
  using pgmq.meta m
  where q.queue_name = p_queue_name and m.queue_name = q.queue_name and m.created_at <> q.created_at;
  insert into meshhook.queues (queue_name, dlq_name, created_at)
  select m.queue_name, meshhook._dlq_name(m.queue_name), m.created_at
  from pgmq.meta m
  where m.queue_name = p_queue_name
  on conflict (queue_name) do nothing;
  select q.* into v_queue from meshhook.queues q where q.queue_name = p_queue_name;
  return v_queue;
end
$$;
comment on function meshhook._adopt is 'Take up a queue that PGMQ has, with default settings.';

create or replace function meshhook._queue(p_queue_name text)
returns meshhook.queues language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  -- A queue that was dropped and created again without MeshHook is another queue.
  select q.* into v_queue
  from meshhook.queues q
  join pgmq.meta m on m.queue_name = q.queue_name and m.created_at = q.created_at
  where q.queue_name = p_queue_name and to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) is not null;
  if not found then
    v_queue := meshhook._adopt(p_queue_name);
  end if;
  perform meshhook._check_reach(v_queue);
  return v_queue;
end
$$;
comment on function meshhook._queue is
  'Return a queue and its settings; raise MH001 where there is no such queue, MH004 where the caller may '
  'not reach it.';

create or replace function meshhook._queue_json(p_queue meshhook.queues)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'queue_name', p_queue.queue_name,
    'dlq_name', p_queue.dlq_name,
    'vt_seconds', p_queue.vt_seconds,
    'max_attempts', p_queue.max_attempts,
    'base_delay_ms', p_queue.base_delay_ms,
    'max_delay_ms', p_queue.max_delay_ms,
    'keeps_history', p_queue.keeps_history,
    'has_dead_letters', p_queue.has_dead_letters,
    'retention_days', p_queue.retention_days,
    'paused_at', p_queue.paused_at,
    'created_at', p_queue.created_at
  )
$$;
comment on function meshhook._queue_json is 'Return a queue''s settings as JSON.';

create or replace function meshhook._check_queue_settings(
  p_vt_seconds double precision, p_max_attempts integer, p_base_delay_ms integer, p_max_delay_ms integer,
  p_retention_days double precision
)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform meshhook._check_number('vt_seconds', coalesce(p_vt_seconds, 30), 1, 86400);
  perform meshhook._check_number('max_attempts', coalesce(p_max_attempts, 5), 1, 1000000);
  perform meshhook._check_number('base_delay_ms', coalesce(p_base_delay_ms, 0), 0, 2147483647);
  perform meshhook._check_number(
    'max_delay_ms', coalesce(p_max_delay_ms, 2147483647), coalesce(p_base_delay_ms, 0), 2147483647
  );
  if p_retention_days <> 'infinity' then
    perform meshhook._check_number('retention_days', p_retention_days, 0, 36600);
  end if;
end
$$;
comment on function meshhook._check_queue_settings is
  'Raise MH002 unless each setting that is given is usable.';

-- What is left out (null) stays as it is; so the retention without end, which is null, is given as infinity.
create or replace function meshhook._configure(
  p_queue meshhook.queues, p_dlq_name text, p_vt_seconds double precision, p_max_attempts integer,
  p_base_delay_ms integer, p_max_delay_ms integer, p_keeps_history boolean, p_has_dead_letters boolean,
  p_retention_days double precision
)
returns meshhook.queues language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  if p_max_delay_ms < coalesce(p_base_delay_ms, p_queue.base_delay_ms) then
    perform meshhook._check_number('max_delay_ms', p_max_delay_ms, p_queue.base_delay_ms, 2147483647);
  end if;
  update meshhook.queues q
  set dlq_name = coalesce(p_dlq_name, q.dlq_name),
      vt_seconds = coalesce(p_vt_seconds, q.vt_seconds),
      max_attempts = coalesce(p_max_attempts, q.max_attempts),
      base_delay_ms = coalesce(p_base_delay_ms, q.base_delay_ms),
      max_delay_ms = greatest(
        coalesce(p_max_delay_ms, q.max_delay_ms), coalesce(p_base_delay_ms, q.base_delay_ms)
      ),
      keeps_history = coalesce(p_keeps_history, q.keeps_history),
      has_dead_letters = coalesce(p_has_dead_letters, q.has_dead_letters),
      retention_days = nullif(coalesce(p_retention_days, q.retention_days), 'infinity')
  where q.queue_id = p_queue.queue_id
  returning q.* into v_queue;
  return v_queue;
end
$$;
comment on function meshhook._configure is
  'Change the settings of a queue that are given, and return all of them.';

create or replace function public.meshhook_create_queue(
  queue_name text,
  dlq_name text default null,
  vt_seconds double precision default null,
  max_attempts integer default null,
  base_delay_ms integer default null,
  max_delay_ms integer default null,
  keeps_history boolean default null,
  has_dead_letters boolean default null,
  retention_days double precision default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_create_queue.queue_name;
  v_dlq_name text;
  v_created boolean;
  v_queue meshhook.queues;
begin
  perform meshhook._check_queue_name('queue_name', v_name);
  v_dlq_name := coalesce(
    meshhook_create_queue.dlq_name,
    (select q.dlq_name from meshhook.queues q where q.queue_name = v_name),
    meshhook._dlq_name(v_name)
  );
  perform meshhook._check_dlq_name(v_name, v_dlq_name);
  perform meshhook._check_queue_settings(
    vt_seconds, max_attempts, base_delay_ms, max_delay_ms, retention_days
  );

  v_created := meshhook._repair_pgmq_queue(v_name);
  perform meshhook._repair_pgmq_queue(v_dlq_name);
  v_queue := meshhook._configure(
    meshhook._queue(v_name), meshhook_create_queue.dlq_name, vt_seconds, max_attempts, base_delay_ms,
    max_delay_ms, keeps_history, has_dead_letters, retention_days
  );
  return meshhook._queue_json(v_queue) || jsonb_build_object('created', v_created);
end
$$;
comment on function public.meshhook_create_queue is
  'Create a queue and its dead letter queue, or whatever is missing of them, or change the settings of one '
  'that is there; what is left out stays as it is.';
revoke all on function public.meshhook_create_queue from public, anon, authenticated;
grant execute on function public.meshhook_create_queue to service_role;

create or replace function public.meshhook_configure_queue(
  queue_name text,
  dlq_name text default null,
  vt_seconds double precision default null,
  max_attempts integer default null,
  base_delay_ms integer default null,
  max_delay_ms integer default null,
  keeps_history boolean default null,
  has_dead_letters boolean default null,
  retention_days double precision default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_configure_queue.queue_name);
begin
  if dlq_name is not null then
    perform meshhook._check_dlq_name(v_queue.queue_name, meshhook_configure_queue.dlq_name);
  end if;
  perform meshhook._check_queue_settings(
    vt_seconds, max_attempts, base_delay_ms, max_delay_ms, retention_days
  );
  return meshhook._queue_json(
    meshhook._configure(
      v_queue, meshhook_configure_queue.dlq_name, vt_seconds, max_attempts, base_delay_ms, max_delay_ms,
      keeps_history, has_dead_letters, retention_days
    )
  );
end
$$;
comment on function public.meshhook_configure_queue is
  'Change the settings of a queue that is there and return all of them; what is left out stays as it is. '
  'Workers follow with their next claim.';
revoke all on function public.meshhook_configure_queue from public, anon, authenticated;
grant execute on function public.meshhook_configure_queue to service_role;

-- A claim that is under way goes on; the next one gets nothing. What is running is settled as ever.
create or replace function public.meshhook_pause_queue(queue_name text)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_pause_queue.queue_name);
begin
  update meshhook.queues q
  set paused_at = clock_timestamp()
  where q.queue_id = v_queue.queue_id and q.paused_at is null;
  return found;
end
$$;
comment on function public.meshhook_pause_queue is
  'Hand out no jobs of a queue until it is resumed; return whether it was running. Jobs may still come in.';
revoke all on function public.meshhook_pause_queue from public, anon, authenticated;
grant execute on function public.meshhook_pause_queue to service_role;

create or replace function public.meshhook_resume_queue(queue_name text)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_resume_queue.queue_name);
begin
  update meshhook.queues q
  set paused_at = null
  where q.queue_id = v_queue.queue_id and q.paused_at is not null;
  return found;
end
$$;
comment on function public.meshhook_resume_queue is
  'Hand out the jobs of a paused queue again; return whether it was paused.';
revoke all on function public.meshhook_resume_queue from public, anon, authenticated;
grant execute on function public.meshhook_resume_queue to service_role;

create or replace function public.meshhook_list_queues()
returns jsonb language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    jsonb_agg(
      case when q.queue_id is null then '{}' else meshhook._queue_json(q) end
      || jsonb_build_object(
        'queue_name', m.queue_name,
        'created_at', m.created_at,
        'is_dlq', exists (select from meshhook.queues o where o.dlq_name = m.queue_name)
      )
      order by m.queue_name
    ),
    '[]'
  )
  from meshhook._pgmq_queues() m
  left join meshhook.queues q on q.queue_name = m.queue_name
$$;
comment on function public.meshhook_list_queues is
  'Return every PGMQ queue with its settings; those that MeshHook has not used yet have none.';
revoke all on function public.meshhook_list_queues from public, anon, authenticated;
grant execute on function public.meshhook_list_queues to service_role;

create or replace function public.meshhook_drop_queue(
  queue_name text, drop_dlq boolean default false, request_id text default null
)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_drop_queue.queue_name;
  v_dlq_name text;
  v_queue_id integer;
  v_dropped boolean;
  v_answer jsonb := meshhook._recall(v_name, 'drop_queue', request_id);
begin
  if v_answer is not null then
    return v_answer::boolean;
  end if;
  perform meshhook._check_queue_name('queue_name', v_name);
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  delete from meshhook.queues q
  where q.queue_name = v_name
  returning q.dlq_name, q.queue_id into v_dlq_name, v_queue_id;
  delete from meshhook.totals t where t.queue_id = v_queue_id;
  v_dropped := meshhook._drop_pgmq_queue(v_name);
  v_dlq_name := coalesce(v_dlq_name, meshhook._dlq_name(v_name));
  if drop_dlq and not exists (select from meshhook.queues q where q.dlq_name = v_dlq_name) then
    delete from meshhook.queues q where q.queue_name = v_dlq_name;
    perform meshhook._drop_pgmq_queue(v_dlq_name);
    delete from meshhook.requests r where r.queue_name = v_dlq_name;
  end if;
  perform meshhook._close_to_users();
  -- A queue of the same name that comes later is another one, with idempotency keys of its own.
  delete from meshhook.requests r where r.queue_name = v_name;
  perform meshhook._remember(v_name, 'drop_queue', request_id, to_jsonb(v_dropped));
  return v_dropped;
end
$$;
comment on function public.meshhook_drop_queue is
  'Drop a queue with all its jobs and its archive; if asked, its dead letter queue too, unless another '
  'queue uses it. Return whether there was one.';
revoke all on function public.meshhook_drop_queue from public, anon, authenticated;
grant execute on function public.meshhook_drop_queue to service_role;
