-- Running a queue: its settings, pausing it, its jobs by state, and who works on it.

do $$ begin perform pg_advisory_xact_lock(hashtextextended('meshhook migrations', 0)); end $$;

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
returns jsonb
language plpgsql
security definer -- the tables of PGMQ and MeshHook belong to the role that applied the migrations
set search_path = ''
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_configure_queue.queue_name);
begin
  if dlq_name is not null then
    perform meshhook._check_dlq_name(v_queue.queue_name, meshhook_configure_queue.dlq_name);
  end if;
  perform meshhook._check_queue_settings(vt_seconds, max_attempts, base_delay_ms, max_delay_ms, retention_days);
  return meshhook._queue_json(
    meshhook._configure(
      v_queue, meshhook_configure_queue.dlq_name, vt_seconds, max_attempts, base_delay_ms, max_delay_ms,
      keeps_history, has_dead_letters, retention_days
    )
  );
end
$$;
comment on function public.meshhook_configure_queue(text, text, double precision, integer, integer, integer, boolean, boolean, double precision) is
  'Change the settings of a queue that is there and return all of them; what is left out stays as it is. Workers follow with their next claim.';

-- A claim that is under way goes on; the next one gets nothing. What is running is settled as ever.
create or replace function public.meshhook_pause_queue(queue_name text)
returns boolean
language plpgsql
security definer -- see meshhook_configure_queue
set search_path = ''
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
comment on function public.meshhook_pause_queue(text) is
  'Hand out no jobs of a queue until it is resumed; return whether it was running. Jobs may still come in.';

create or replace function public.meshhook_resume_queue(queue_name text)
returns boolean
language plpgsql
security definer -- see meshhook_configure_queue
set search_path = ''
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
comment on function public.meshhook_resume_queue(text) is
  'Hand out the jobs of a paused queue again; return whether it was paused.';

create or replace function meshhook._finished_jobs(
  p_queue meshhook.queues, p_state text, p_quantity integer, p_before bigint
)
returns jsonb
language sql
stable
set search_path = ''
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
comment on function meshhook._finished_jobs(meshhook.queues, text, integer, bigint) is
  'Return finished jobs in a state, newest first.';

create or replace function public.meshhook_list_jobs(
  queue_name text, state text default null, quantity integer default 100, before_msg_id bigint default null
)
returns jsonb
language plpgsql
stable
security definer -- see meshhook_configure_queue
set search_path = ''
as $$
declare
  v_queue constant meshhook.queues := meshhook._known_queue(meshhook_list_jobs.queue_name);
  v_before constant bigint := coalesce(before_msg_id, 9223372036854775807);
  v_jobs pg_catalog.jsonb;
begin
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  if state in ('completed', 'archived', 'dead_lettered', 'failed', 'cancelled', 'deleted', 'replayed') then
    return coalesce(meshhook._finished_jobs(v_queue, state, quantity, v_before), '[]');
  end if;
  if state not in ('available', 'scheduled', 'leased') then
    perform meshhook._refuse(
      'state', state, 'is no state of a job',
      'Use available, scheduled, leased, completed, archived, dead_lettered, failed, cancelled, deleted or replayed; '
        'leave it out for all jobs that are in the queue.'
    );
  end if;
  execute format(
    'select jsonb_agg(w.job order by w.job -> ''msg_id'' desc) from (%s order by q.msg_id desc limit $3) w(job)',
    meshhook._waiting_jobs(
      v_queue,
      'q.msg_id < $1 and ($2 is null or $2 = meshhook._state(q.msg_id, q.read_ct, q.vt, q.message))'
    )
  )
  into v_jobs
  using v_before, meshhook_list_jobs.state, quantity;
  return coalesce(v_jobs, '[]');
end
$$;
comment on function public.meshhook_list_jobs(text, text, integer, bigint) is
  'Return the jobs of a queue in a state, or all that are in the queue, newest first; before_msg_id goes on where the last answer ended.';

create or replace function public.meshhook_list_workers(queue_name text default null)
returns jsonb
language plpgsql
stable
security definer -- see meshhook_configure_queue
set search_path = ''
as $$
declare
  v_name constant pg_catalog.text := meshhook_list_workers.queue_name;
begin
  if v_name is not null then
    perform meshhook._check_queue_name('queue_name', v_name);
  end if;
  return (
    select coalesce(
      jsonb_agg(
        to_jsonb(w) || jsonb_build_object(
          'is_alive', w.seen_at > clock_timestamp() - make_interval(secs => 3 * w.interval_seconds)
        )
        order by w.started_at, w.worker_id
      ),
      '[]'
    )
    from meshhook.workers w
    where v_name is null or v_name = any (w.queue_names)
  );
end
$$;
comment on function public.meshhook_list_workers(text) is
  'Return the workers of a queue, or all, that were seen within a day. One that has missed three of its signs of life is not alive.';

revoke all on function
  public.meshhook_configure_queue(text, text, double precision, integer, integer, integer, boolean, boolean, double precision),
  public.meshhook_pause_queue(text),
  public.meshhook_resume_queue(text),
  public.meshhook_list_jobs(text, text, integer, bigint),
  public.meshhook_list_workers(text)
from public, anon, authenticated;
grant execute on function
  public.meshhook_configure_queue(text, text, double precision, integer, integer, integer, boolean, boolean, double precision),
  public.meshhook_pause_queue(text),
  public.meshhook_resume_queue(text),
  public.meshhook_list_jobs(text, text, integer, bigint),
  public.meshhook_list_workers(text)
to service_role;
