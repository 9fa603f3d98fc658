-- Retention: history and archives grow until they are pruned.

create or replace function meshhook._prune_archive(p_queue_name text, p_before timestamptz, p_limit integer)
returns integer language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
begin
  execute format(
    $sql$
    with old as (
      select a.msg_id
      from pgmq.%1$I a
      where a.archived_at < $1
      order by a.archived_at
      limit $2
      for update skip locked
    ), gone as (
      delete from pgmq.%1$I a using old o where a.msg_id = o.msg_id returning 1
    )
    select count(*)::integer from gone
    $sql$,
    'a_' || p_queue_name
  )
  into v_count
  using p_before, p_limit;
  return v_count;
end
$$;
comment on function meshhook._prune_archive is
  'Delete up to so many archived messages of a queue that are older than a time.';

create or replace function meshhook._prune_jobs(p_queue_id integer, p_before timestamptz, p_limit integer)
returns integer language sql
set search_path = pg_catalog, pg_temp
as $$
  with old as (
    select j.queue_id, j.msg_id
    from meshhook.jobs j
    where j.finished_at < p_before and (p_queue_id is null or j.queue_id = p_queue_id)
    order by j.finished_at
    limit p_limit
    for update skip locked
  ), gone as (
    delete from meshhook.jobs j using old o where j.queue_id = o.queue_id and j.msg_id = o.msg_id returning 1
  )
  select count(*)::integer from gone
$$;
comment on function meshhook._prune_jobs is 'Delete up to so many finished jobs from the history.';

create or replace function meshhook._prune_attempts(p_queue_id integer, p_before timestamptz, p_limit integer)
returns integer language sql
set search_path = pg_catalog, pg_temp
as $$
  with old as (
    select a.queue_id, a.msg_id, a.read_ct
    from meshhook.attempts a
    where a.failed_at < p_before and (p_queue_id is null or a.queue_id = p_queue_id)
    order by a.failed_at
    limit p_limit
    for update skip locked
  ), gone as (
    delete from meshhook.attempts a using old o
    where a.queue_id = o.queue_id and a.msg_id = o.msg_id and a.read_ct = o.read_ct
    returning 1
  )
  select count(*)::integer from gone
$$;
comment on function meshhook._prune_attempts is 'Delete up to so many failed attempts from the history.';

create or replace function meshhook._prune_as_configured(p_queue_name text, p_max_rows integer)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
  v_part jsonb;
  v_left integer := p_max_rows;
  v_sum jsonb := '{"jobs": 0, "attempts": 0, "archived": 0, "requests": 0}';
begin
  for v_queue in
    select q.*
    from meshhook.queues q
    where q.retention_days is not null and (p_queue_name is null or q.queue_name = p_queue_name)
      and exists (select from pgmq.meta m where m.queue_name = q.queue_name)
    order by q.queue_name
  loop
    exit when v_left <= 0;
    v_part := public.meshhook_prune(v_queue.retention_days, v_queue.queue_name, v_left);
    select jsonb_object_agg(s.key, s.value::bigint + (v_part ->> s.key)::bigint) into v_sum
    from jsonb_each(v_sum) s;
    select p_max_rows - sum(s.value::bigint) into v_left from jsonb_each(v_sum) s;
  end loop;
  return v_sum || jsonb_build_object('more', v_left <= 0);
end
$$;
comment on function meshhook._prune_as_configured is
  'Prune the queues that have a retention, each by its own.';

create or replace function public.meshhook_prune(
  older_than_days double precision default null, queue_name text default null, max_rows integer default 10000
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_prune.queue_name;
  v_before timestamptz;
  v_queue_id integer;
  v_left integer := max_rows;
  v_jobs integer;
  v_attempts integer;
  v_requests integer;
  v_archived integer := 0;
  v_archive text;
begin
  perform meshhook._check_number('older_than_days', coalesce(older_than_days, 0), 0, 36600);
  perform meshhook._check_number('max_rows', max_rows, 1, 100000);
  if older_than_days is null then
    if v_name is not null then
      perform meshhook._queue(v_name);
    end if;
    return meshhook._prune_as_configured(v_name, max_rows);
  end if;
  v_before := clock_timestamp() - make_interval(secs => 86400 * older_than_days);
  if v_name is not null then
    v_queue_id := (meshhook._queue(v_name)).queue_id;
  end if;

  v_requests := meshhook._forget(v_left);
  v_left := v_left - v_requests;
  v_jobs := meshhook._prune_jobs(v_queue_id, v_before, v_left);
  v_left := v_left - v_jobs;
  v_attempts := meshhook._prune_attempts(v_queue_id, v_before, v_left);
  v_left := v_left - v_attempts;
  for v_archive in
    select q.queue_name
    from meshhook.queues q
    where (v_name is null or q.queue_name = v_name)
      and exists (select from pgmq.meta m where m.queue_name = q.queue_name)
    order by q.queue_name
  loop
    v_archived := v_archived + meshhook._prune_archive(v_archive, v_before, v_left - v_archived);
  end loop;
  return jsonb_build_object(
    'jobs', v_jobs, 'attempts', v_attempts, 'archived', v_archived, 'requests', v_requests,
    'more', v_left - v_archived <= 0
  );
end
$$;
comment on function public.meshhook_prune is
  'Delete history and archived messages older than so many days, or than each queue''s own retention_days, '
  'at most max_rows a call; "more" says whether to call again.';
revoke all on function public.meshhook_prune from public, anon, authenticated;
grant execute on function public.meshhook_prune to service_role;
