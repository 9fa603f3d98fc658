-- Look-up: the whole life of one job, the jobs of a run, the jobs in a state.

create or replace function meshhook._attempts(p_queue_id integer, p_msg_id bigint)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'attempt', a.attempt, 'read_ct', a.read_ct, 'outcome', a.outcome, 'failed_at', a.failed_at,
        'error_type', a.error_type, 'error_message', a.error_message, 'error_stack', a.error_stack,
        'worker', a.worker, 'seconds', a.seconds
      )
      order by a.read_ct
    ),
    '[]'
  )
  from meshhook.attempts a
  where a.queue_id = p_queue_id and a.msg_id = p_msg_id
$$;
comment on function meshhook._attempts is 'Return the failed attempts of a job, oldest first.';

create or replace function meshhook._state(
  p_msg_id bigint, p_read_ct integer, p_vt timestamptz, p_message jsonb
)
returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_vt <= clock_timestamp() then 'available'
    when p_read_ct = 0 then 'scheduled'
    -- Settled since its last delivery, so no worker holds it: a retry or a snooze waits for its time.
    when p_message -> '_meshhook' @> jsonb_build_object('id', p_msg_id, 'reads', p_read_ct) then 'scheduled'
    else 'leased'
  end
$$;
comment on function meshhook._state is
  'Return the state of a job that is in its queue: available, scheduled or leased.';

create or replace function meshhook._waiting_jobs(p_queue meshhook.queues, p_condition text)
returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._sql(p_queue.queue_name, replace(replace(replace($sql$
    select jsonb_build_object(
      'queue_name', {name}, 'msg_id', q.msg_id, 'run_id', q.message ->> 'run_id',
      'state', meshhook._state(q.msg_id, q.read_ct, q.vt, q.message),
      'read_ct', q.read_ct, 'enqueued_at', q.enqueued_at, 'vt', q.vt, 'message', q.message,
      'attempt', {attempt}, 'attempts', meshhook._attempts({queue_id}, q.msg_id)
    )
    from {q} q
    where {condition}
    $sql$,
    '{name}', quote_literal(p_queue.queue_name)),
    '{queue_id}', p_queue.queue_id::text),
    '{condition}', p_condition))
$$;
comment on function meshhook._waiting_jobs is 'Return the query for jobs that are in their queue.';

create or replace function meshhook._finished_job(p_queue_name text, p_job meshhook.jobs)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
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
comment on function meshhook._finished_job is 'Return a finished job as JSON.';

create or replace function meshhook._finished_jobs(
  p_queue meshhook.queues, p_state text, p_quantity integer, p_before bigint
)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_agg(meshhook._finished_job(p_queue.queue_name, f.j) order by (f.j).msg_id desc)
  from (
    select j
    from meshhook.jobs j
    where j.queue_id = p_queue.queue_id and j.msg_id < p_before
      and p_state = case when j.replayed_at is not null then 'replayed' else j.state end
    order by j.msg_id desc
    limit p_quantity
  ) f
$$;
comment on function meshhook._finished_jobs is 'Return finished jobs in a state, newest first.';

create or replace function public.meshhook_get_job(queue_name text, msg_id bigint)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
  v_job jsonb;
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
comment on function public.meshhook_get_job is
  'Return one job, waiting, running or finished, with its failed attempts; null if there is no trace of it.';
revoke all on function public.meshhook_get_job from public, anon, authenticated;
grant execute on function public.meshhook_get_job to service_role;

create or replace function public.meshhook_find_jobs(
  queue_name text, run_id text, quantity integer default 100
)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
  v_jobs jsonb;
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
comment on function public.meshhook_find_jobs is
  'Return the jobs of a run, waiting, running and finished, oldest first. Finished jobs are found by index, '
  'waiting ones by a walk through the queue.';
revoke all on function public.meshhook_find_jobs from public, anon, authenticated;
grant execute on function public.meshhook_find_jobs to service_role;

create or replace function public.meshhook_list_jobs(
  queue_name text, state text default null, quantity integer default 100, before_msg_id bigint default null
)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._known_queue(meshhook_list_jobs.queue_name);
  v_before constant bigint := coalesce(before_msg_id, 9223372036854775807);
  v_jobs jsonb;
begin
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  if state in ('completed', 'archived', 'dead_lettered', 'failed', 'cancelled', 'deleted', 'replayed') then
    return coalesce(meshhook._finished_jobs(v_queue, state, quantity, v_before), '[]');
  end if;
  if state not in ('available', 'scheduled', 'leased') then
    perform meshhook._refuse(
      'state', state, 'is no state of a job',
      'Use available, scheduled, leased, completed, archived, dead_lettered, failed, cancelled, deleted or '
        'replayed; leave it out for all jobs that are in the queue.'
    );
  end if;
  execute $sql$ select jsonb_agg(w.job order by w.job -> 'msg_id' desc) from ($sql$
    || meshhook._waiting_jobs(
      v_queue,
      'q.msg_id < $1 and ($2 is null or $2 = meshhook._state(q.msg_id, q.read_ct, q.vt, q.message))'
    )
    || $sql$ order by q.msg_id desc limit $3) w(job) $sql$
  into v_jobs
  using v_before, meshhook_list_jobs.state, quantity;
  return coalesce(v_jobs, '[]');
end
$$;
comment on function public.meshhook_list_jobs is
  'Return the jobs of a queue in a state, or all that are in the queue, newest first; before_msg_id goes on '
  'where the last answer ended.';
revoke all on function public.meshhook_list_jobs from public, anon, authenticated;
grant execute on function public.meshhook_list_jobs to service_role;
