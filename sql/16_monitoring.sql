-- Monitoring: a queue's depth and age, and the running totals.

-- The oldest and the newest job stand at the two ends of the primary key: no walk for their ages.
create or replace function meshhook._depth(
  p_queue_name text,
  out pending bigint, out visible bigint, out oldest timestamptz, out newest timestamptz
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null then
    return;
  end if;
  execute meshhook._sql(p_queue_name, $sql$
    select
      count(*), count(*) filter (where q.vt <= clock_timestamp()),
      (select a.enqueued_at from {q} a order by a.msg_id limit 1),
      (select z.enqueued_at from {q} z order by z.msg_id desc limit 1)
    from {q} q
  $sql$)
  into pending, visible, oldest, newest;
exception when undefined_table or insufficient_privilege then
  null; -- it was dropped while this waited for it, or belongs to another role
end
$$;
comment on function meshhook._depth is
  'Return how many jobs are in a queue, how many of them are visible, and when the first and the last came.';

create or replace function meshhook._age(p_time timestamptz)
returns integer language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- greatest() would make 0 of a null.
  select case when p_time is not null
    then greatest(0, floor(extract(epoch from clock_timestamp() - p_time)))::integer end
$$;
comment on function meshhook._age is
  'Return an age in whole seconds, as PGMQ''s metrics do; null for no time.';

create or replace function meshhook._metrics(p_field text, p_queue_name text)
returns jsonb language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_depth record;
begin
  perform meshhook._require_pgmq_queue(p_field, p_queue_name);
  select * into v_depth from meshhook._depth(p_queue_name);
  return jsonb_build_object(
    'queue_name', p_queue_name,
    'queue_length', v_depth.pending,
    'visible_jobs', v_depth.visible,
    'invisible_jobs', v_depth.pending - v_depth.visible,
    'oldest_msg_age_seconds', meshhook._age(v_depth.oldest),
    'newest_msg_age_seconds', meshhook._age(v_depth.newest)
  );
end
$$;
comment on function meshhook._metrics is 'Return the depth and the ages of a queue as JSON.';

create or replace function public.meshhook_queue_metrics(queue_name text)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_queue_metrics.queue_name;
  v_metrics constant jsonb := meshhook._metrics('queue_name', v_name);
  v_queue meshhook.queues;
begin
  select q.* into v_queue from meshhook.queues q where q.queue_name = v_name;
  v_queue.queue_name := v_name;
  perform meshhook._check_reach(v_queue);
  return v_metrics;
end
$$;
comment on function public.meshhook_queue_metrics is
  'Return how many jobs a queue holds, visible and not, and how old the oldest and the newest are.';
revoke all on function public.meshhook_queue_metrics from public, anon, authenticated;
grant execute on function public.meshhook_queue_metrics to service_role;

create or replace function public.meshhook_dlq_metrics(dlq_name text)
returns jsonb language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'dlq_name', m -> 'queue_name',
    'total_jobs', m -> 'queue_length',
    'oldest_job_age_seconds', m -> 'oldest_msg_age_seconds',
    'newest_job_age_seconds', m -> 'newest_msg_age_seconds'
  )
  from meshhook._metrics('dlq_name', meshhook_dlq_metrics.dlq_name) m
$$;
comment on function public.meshhook_dlq_metrics is
  'Return how many dead letters there are and how old they are.';
revoke all on function public.meshhook_dlq_metrics from public, anon, authenticated;
grant execute on function public.meshhook_dlq_metrics to service_role;

-- The views ask functions that run as their owner. A function in a view otherwise runs as the caller,
-- who may not look into schema pgmq; and the views themselves run as the caller, as Supabase's linter
-- wants them to.
create or replace function meshhook._queue_monitoring()
returns table (
  queue_name text, pending_jobs bigint, invisible_jobs bigint, visible_jobs bigint,
  oldest_job_time timestamptz, newest_job_time timestamptz, oldest_job_age_seconds integer
) language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    m.queue_name, d.pending, d.pending - d.visible, d.visible,
    d.oldest, d.newest, meshhook._age(d.oldest)
  from meshhook._pgmq_queues() m, lateral meshhook._depth(lower(m.queue_name)) d
  where d.pending is not null
  order by m.queue_name
$$;
comment on function meshhook._queue_monitoring is 'Return what public.queue_monitoring shows.';

create or replace function meshhook._job_statistics()
returns table (
  queue_name text, total_jobs bigint, completed_jobs bigint, failed_jobs bigint, dlq_jobs bigint,
  pending_jobs bigint, avg_processing_time_seconds double precision, avg_attempts double precision,
  max_attempts_seen integer
) language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    m.queue_name,
    coalesce(t.completed + t.dead_lettered, 0),
    coalesce(t.completed, 0),
    coalesce(t.dead_lettered, 0),
    coalesce((
      select d.pending from meshhook._depth(coalesce(q.dlq_name, meshhook._dlq_name(lower(m.queue_name)))) d
    ), 0),
    w.pending,
    t.seconds / nullif(t.timed, 0),
    t.attempts::double precision / nullif(t.completed + t.dead_lettered, 0),
    coalesce(t.max_attempt, 0)
  from meshhook._pgmq_queues() m
  cross join lateral meshhook._depth(lower(m.queue_name)) w
  left join meshhook.queues q on q.queue_name = m.queue_name
  left join (
    select
      s.queue_id, sum(s.completed)::bigint as completed, sum(s.dead_lettered)::bigint as dead_lettered,
      sum(s.attempts)::bigint as attempts, max(s.max_attempt) as max_attempt,
      sum(s.timed)::bigint as timed, sum(s.seconds) as seconds
    from meshhook.totals s
    group by s.queue_id
  ) t on t.queue_id = q.queue_id
  where w.pending is not null
    and not exists (select from meshhook.queues o where o.dlq_name = m.queue_name)
  order by m.queue_name
$$;
comment on function meshhook._job_statistics is 'Return what public.job_statistics shows.';

-- The original has views of these names, with columns of other types, which cannot be replaced.
do $$
declare
  v_view text;
begin
  foreach v_view in array array['queue_monitoring', 'job_statistics'] loop
    if exists (
      select
      from pg_views v
      where v.schemaname = 'public' and v.viewname = v_view and v.definition not like '%meshhook.\_%'
    ) then
      execute format('drop view public.%I', v_view);
    end if;
  end loop;
end
$$;

create or replace view public.queue_monitoring with (security_invoker = on) as
  select
    queue_name, pending_jobs, invisible_jobs, visible_jobs,
    oldest_job_time, newest_job_time, oldest_job_age_seconds
  from meshhook._queue_monitoring();
comment on view public.queue_monitoring is
  'Depth and age of every queue, dead letter queues too. invisible_jobs are being processed or wait for '
  'their time.';

create or replace view public.job_statistics with (security_invoker = on) as
  select
    queue_name, total_jobs, completed_jobs, failed_jobs, dlq_jobs, pending_jobs,
    avg_processing_time_seconds, avg_attempts, max_attempts_seen
  from meshhook._job_statistics();
comment on view public.job_statistics is
  'Running totals of every queue: total_jobs = completed_jobs + failed_jobs are the jobs processed so far, '
  'failed_jobs those that ever went to the dead letter queue; dlq_jobs and pending_jobs are there now.';

revoke all on public.queue_monitoring, public.job_statistics from public, anon, authenticated, service_role;

grant select on public.queue_monitoring, public.job_statistics to service_role;
