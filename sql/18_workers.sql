-- Workers: what each says about itself with a call that it makes anyway.

-- A worker reports itself with a call that it makes anyway. Its row is its own, so no call waits for it,
-- and it is written last. Workers of the past are dropped on the way, and one that stopped in order says so.
create or replace function meshhook._seen(p_worker jsonb)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_worker meshhook.workers;
begin
  if p_worker is null or p_worker = 'null' then
    return;
  end if;
  begin
    v_worker := jsonb_populate_record(null::meshhook.workers, p_worker);
  exception when data_exception then
    perform meshhook._refuse(
      'worker', p_worker::text, 'is not a report of a worker',
      'Leave it out; the SDK''s Worker sends it.'
    );
  end;
  if v_worker.worker_id is null or v_worker.queue_names is null or length(v_worker.worker_id) > 200 then
    perform meshhook._refuse(
      'worker', p_worker::text, 'has no worker_id of up to 200 characters or no queue_names',
      'Leave it out; the SDK''s Worker sends it.'
    );
  end if;
  if p_worker -> 'is_stopped' = 'true' then
    delete from meshhook.workers w where w.worker_id = v_worker.worker_id;
    return;
  end if;
  insert into meshhook.workers as w (
    worker_id, name, queue_names, host, pid, version, concurrency, running, interval_seconds,
    started_at, seen_at
  )
  values (
    v_worker.worker_id, left(v_worker.name, 200), v_worker.queue_names[1:1000], left(v_worker.host, 200),
    v_worker.pid, left(v_worker.version, 200), v_worker.concurrency, v_worker.running,
    coalesce(v_worker.interval_seconds, 30),
    coalesce(v_worker.started_at, clock_timestamp()), clock_timestamp()
  )
  on conflict on constraint workers_pkey do update set
    name = excluded.name, queue_names = excluded.queue_names, host = excluded.host, pid = excluded.pid,
    version = excluded.version, concurrency = excluded.concurrency, running = excluded.running,
    interval_seconds = excluded.interval_seconds,
    started_at = excluded.started_at, seen_at = excluded.seen_at;
  delete from meshhook.workers w
  using (
    select o.worker_id
    from meshhook.workers o
    where o.seen_at < clock_timestamp() - interval '1 day'
    limit 100
    for update skip locked
  ) old
  where w.worker_id = old.worker_id;
end
$$;
comment on function meshhook._seen is
  'Keep the report of a worker, or delete it when it says that it is stopped; null is no report.';

create or replace function public.meshhook_list_workers(queue_name text default null)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_list_workers.queue_name;
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
comment on function public.meshhook_list_workers is
  'Return the workers of a queue, or all, that were seen within a day. One that has missed three of its '
  'signs of life is not alive.';
revoke all on function public.meshhook_list_workers from public, anon, authenticated;
grant execute on function public.meshhook_list_workers to service_role;
