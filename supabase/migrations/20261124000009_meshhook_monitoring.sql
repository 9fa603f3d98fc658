-- Looking: at one job's whole life, at a queue's depth and age, at the running totals.

do $$ begin perform pg_advisory_xact_lock(hashtextextended('meshhook migrations', 0)); end $$;

create or replace function meshhook._state(p_msg_id bigint, p_read_ct integer, p_vt timestamptz, p_message jsonb)
returns text
language sql
stable
set search_path = ''
as $$
  select case
    when p_vt <= clock_timestamp() then 'available'
    when p_read_ct = 0 then 'scheduled'
    -- Settled since its last delivery, so nobody holds it: a retry or a snooze waits for its time.
    when p_message -> '_meshhook' @> jsonb_build_object('id', p_msg_id, 'reads', p_read_ct) then 'scheduled'
    else 'leased'
  end
$$;
comment on function meshhook._state(bigint, integer, timestamptz, jsonb) is
  'Return the state of a job that is in its queue: available, scheduled or leased.';

create or replace function meshhook._waiting_jobs(p_queue meshhook.queues, p_condition text)
returns text
language sql
stable
set search_path = ''
as $$
  select format(
    $sql$
    select jsonb_build_object(
      'queue_name', %2$L, 'msg_id', q.msg_id, 'run_id', q.message ->> 'run_id',
      'state', meshhook._state(q.msg_id, q.read_ct, q.vt, q.message),
      'read_ct', q.read_ct, 'enqueued_at', q.enqueued_at, 'vt', q.vt, 'message', q.message,
      'attempt', %3$s, 'attempts', meshhook._attempts(%4$s, q.msg_id)
    )
    from pgmq.%1$I q
    where %5$s
    $sql$,
    'q_' || p_queue.queue_name, p_queue.queue_name, meshhook._attempt_sql(), p_queue.queue_id, p_condition
  )
$$;
comment on function meshhook._waiting_jobs(meshhook.queues, text) is
  'Return the query for jobs that are in their queue.';

create or replace function meshhook._finished_job(p_queue_name text, p_job meshhook.jobs)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'queue_name', p_queue_name, 'msg_id', p_job.msg_id, 'run_id', p_job.run_id,
    'state', case when p_job.replayed_at is not null then 'replayed' else p_job.state end,
    'attempt', p_job.attempts, 'enqueued_at', p_job.enqueued_at, 'finished_at', p_job.finished_at,
    'seconds', p_job.seconds, 'dlq_name', p_job.dlq_name, 'dlq_msg_id', p_job.dlq_msg_id,
    'replayed_at', p_job.replayed_at, 'replayed_to', p_job.replayed_to,
    'replayed_msg_id', p_job.replayed_msg_id,
    'attempts', meshhook._attempts(p_job.queue_id, p_job.msg_id)
  )
$$;
comment on function meshhook._finished_job(text, meshhook.jobs) is 'Return a finished job as JSON.';

create or replace function public.meshhook_get_job(queue_name text, msg_id bigint)
returns jsonb
language plpgsql
stable
security definer -- the tables of PGMQ and MeshHook belong to the role that applied the migrations
set search_path = ''
as $$
declare
  v_queue meshhook.queues;
  v_job pg_catalog.jsonb;
begin
  v_queue := meshhook._known_queue(meshhook_get_job.queue_name);
  execute meshhook._waiting_jobs(v_queue, 'q.msg_id = $1') into v_job using meshhook_get_job.msg_id;
  if v_job is not null then
    return v_job;
  end if;
  return (
    select meshhook._finished_job(v_queue.queue_name, j)
    from meshhook.jobs j
    where j.queue_id = v_queue.queue_id and j.msg_id = meshhook_get_job.msg_id
  );
end
$$;
comment on function public.meshhook_get_job(text, bigint) is
  'Return one job, waiting, running or finished, with its failed attempts; null if there is no trace of it.';

-- Unlike _queue() this writes nothing, so that looking may stay read only.
create or replace function meshhook._known_queue(p_queue_name text)
returns meshhook.queues
language plpgsql
stable
set search_path = ''
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
comment on function meshhook._known_queue(text) is
  'Return a queue, with queue_id 0 if MeshHook has not taken it up yet; raise MH001 where there is none.';

create or replace function public.meshhook_find_jobs(queue_name text, run_id text, quantity integer default 100)
returns jsonb
language plpgsql
stable
security definer -- see meshhook_get_job
set search_path = ''
as $$
declare
  v_queue meshhook.queues;
  v_jobs pg_catalog.jsonb;
begin
  v_queue := meshhook._known_queue(meshhook_find_jobs.queue_name);
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  execute format(
    $sql$
    select jsonb_agg(f.job order by f.job -> 'msg_id')
    from (
      select e.job
      from (
      (%s order by q.msg_id desc limit $2)
      union all
      (
        select meshhook._finished_job($3, j)
        from meshhook.jobs j
        where j.run_id = left($1, 200) and j.queue_id = $4
        order by j.msg_id desc
        limit $2
      )
      ) e(job)
      order by e.job -> 'msg_id' desc
      limit $2
    ) f(job)
    $sql$,
    meshhook._waiting_jobs(v_queue, 'q.message ->> ''run_id'' = $1')
  )
  into v_jobs
  using meshhook_find_jobs.run_id, quantity, v_queue.queue_name, v_queue.queue_id;
  return coalesce(v_jobs, '[]');
end
$$;
comment on function public.meshhook_find_jobs(text, text, integer) is
  'Return the jobs of a run, waiting, running and finished, oldest first. Finished jobs are found by index, waiting ones by a walk through the queue.';

-- The oldest and the newest job stand at the two ends of the primary key: no walk for their ages.
create or replace function meshhook._depth(
  p_queue_name text,
  out pending bigint, out visible bigint, out oldest timestamptz, out newest timestamptz
)
language plpgsql
stable
set search_path = ''
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null then
    return;
  end if;
  execute format(
    $sql$
    select
      count(*), count(*) filter (where q.vt <= clock_timestamp()),
      (select a.enqueued_at from pgmq.%1$I a order by a.msg_id limit 1),
      (select z.enqueued_at from pgmq.%1$I z order by z.msg_id desc limit 1)
    from pgmq.%1$I q
    $sql$,
    'q_' || p_queue_name
  )
  into pending, visible, oldest, newest;
exception when undefined_table or insufficient_privilege then
  null; -- it was dropped while this waited for it, or belongs to somebody else
end
$$;
comment on function meshhook._depth(text) is
  'Return how many jobs are in a queue, how many of them are visible, and when the first and the last came.';

create or replace function meshhook._metrics(p_field text, p_queue_name text)
returns jsonb
language plpgsql
stable
set search_path = ''
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
comment on function meshhook._metrics(text, text) is 'Return the depth and the ages of a queue as JSON.';

create or replace function meshhook._age(p_time timestamptz)
returns integer
language sql
stable
set search_path = ''
as $$
  -- greatest() would make 0 of a null.
  select case when p_time is not null then greatest(0, floor(extract(epoch from clock_timestamp() - p_time)))::integer end
$$;
comment on function meshhook._age(timestamptz) is 'Return an age in whole seconds, as PGMQ''s metrics do; null for no time.';

create or replace function public.meshhook_queue_metrics(queue_name text)
returns jsonb
language sql
stable
security definer -- see meshhook_get_job
set search_path = ''
as $$
  select meshhook._metrics('queue_name', meshhook_queue_metrics.queue_name)
$$;
comment on function public.meshhook_queue_metrics(text) is
  'Return how many jobs a queue holds, visible and not, and how old the oldest and the newest are.';

create or replace function public.meshhook_dlq_metrics(dlq_name text)
returns jsonb
language sql
stable
security definer -- see meshhook_get_job
set search_path = ''
as $$
  select jsonb_build_object(
    'dlq_name', m -> 'queue_name',
    'total_jobs', m -> 'queue_length',
    'oldest_job_age_seconds', m -> 'oldest_msg_age_seconds',
    'newest_job_age_seconds', m -> 'newest_msg_age_seconds'
  )
  from meshhook._metrics('dlq_name', meshhook_dlq_metrics.dlq_name) m
$$;
comment on function public.meshhook_dlq_metrics(text) is
  'Return how many dead letters there are and how old they are.';

-- The views ask functions that run as their owner. A function in a view otherwise runs as the caller,
-- who may not look into schema pgmq; and the views themselves run as the caller, as Supabase's linter
-- wants them to.
create or replace function meshhook._queue_monitoring()
returns table (
  queue_name text, pending_jobs bigint, invisible_jobs bigint, visible_jobs bigint,
  oldest_job_time timestamptz, newest_job_time timestamptz, oldest_job_age_seconds integer
)
language sql
stable
security definer -- see above
set search_path = ''
as $$
  select
    m.queue_name, d.pending, d.pending - d.visible, d.visible,
    d.oldest, d.newest, meshhook._age(d.oldest)
  from meshhook._pgmq_queues() m, lateral meshhook._depth(lower(m.queue_name)) d
  where d.pending is not null
  order by m.queue_name
$$;
comment on function meshhook._queue_monitoring() is 'Return what public.queue_monitoring shows.';

create or replace function meshhook._job_statistics()
returns table (
  queue_name text, total_jobs bigint, completed_jobs bigint, failed_jobs bigint, dlq_jobs bigint,
  pending_jobs bigint, avg_processing_time_seconds double precision, avg_attempts double precision,
  max_attempts_seen integer
)
language sql
stable
security definer -- see above
set search_path = ''
as $$
  select
    m.queue_name,
    coalesce(t.completed + t.dead_lettered, 0),
    coalesce(t.completed, 0),
    coalesce(t.dead_lettered, 0),
    coalesce((select d.pending from meshhook._depth(coalesce(q.dlq_name, meshhook._dlq_name(lower(m.queue_name)))) d), 0),
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
comment on function meshhook._job_statistics() is 'Return what public.job_statistics shows.';

-- The original has views of these names, with columns of other types, which cannot be replaced.
do $$
declare
  v_view pg_catalog.text;
begin
  foreach v_view in array array['queue_monitoring', 'job_statistics'] loop
    if exists (
      select
      from pg_catalog.pg_views v
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
  'Depth and age of every queue, dead letter queues too. invisible_jobs are being processed or wait for their time.';

create or replace view public.job_statistics with (security_invoker = on) as
  select
    queue_name, total_jobs, completed_jobs, failed_jobs, dlq_jobs, pending_jobs,
    avg_processing_time_seconds, avg_attempts, max_attempts_seen
  from meshhook._job_statistics();
comment on view public.job_statistics is
  'Running totals of every queue: total_jobs = completed_jobs + failed_jobs are the jobs processed so far, failed_jobs those that ever went to the dead letter queue; dlq_jobs and pending_jobs are there now.';

revoke all on public.queue_monitoring, public.job_statistics from public, anon, authenticated, service_role;
grant select on public.queue_monitoring, public.job_statistics to service_role;

revoke all on function
  public.meshhook_get_job(text, bigint),
  public.meshhook_find_jobs(text, text, integer),
  public.meshhook_queue_metrics(text),
  public.meshhook_dlq_metrics(text)
from public, anon, authenticated;
grant execute on function
  public.meshhook_get_job(text, bigint),
  public.meshhook_find_jobs(text, text, integer),
  public.meshhook_queue_metrics(text),
  public.meshhook_dlq_metrics(text)
to service_role;
