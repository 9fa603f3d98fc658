-- Removal: jobs that are not to be worked on any more.

create or replace function meshhook._remove(
  p_queue_name text, p_verb text, p_state text, p_msg_ids bigint[], p_request_id text
)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer jsonb := meshhook._recall(p_queue_name, p_verb, p_request_id);
  v_removed bigint[];
begin
  if v_answer is not null then
    return v_answer;
  end if;
  perform meshhook._require_pgmq_queue('queue_name', p_queue_name);
  perform meshhook._check_receipts(p_msg_ids, null);
  execute meshhook._sql(p_queue_name, $sql$
    with held as materialized (
      select q.msg_id, q.message, q.enqueued_at, {attempt} as attempt
      from {q} q
      where q.msg_id = any ($1)
      order by q.msg_id
      for update of q
    ), gone as (
      delete from {q} q using held h where q.msg_id = h.msg_id
    ), told as (
      insert into meshhook.jobs as j (queue_id, msg_id, run_id, state, attempts, enqueued_at)
      select k.queue_id, h.msg_id, left(h.message ->> 'run_id', 200), $3, h.attempt, h.enqueued_at
      from held h
      join meshhook.queues k on k.queue_name = $2 and k.keeps_history
      where not exists (select from meshhook.queues o where o.dlq_name = $2)
      on conflict on constraint jobs_pkey do update set
        run_id = excluded.run_id, state = excluded.state, attempts = excluded.attempts,
        enqueued_at = excluded.enqueued_at, finished_at = excluded.finished_at
    )
    select array_agg(msg_id) from held
  $sql$)
  into v_removed
  using p_msg_ids, p_queue_name, p_state;
  select coalesce(
    jsonb_agg(case when i.msg_id = any (v_removed) then 'ok' else 'missing' end order by i.ord), '[]'
  )
  into v_answer
  from unnest(p_msg_ids) with ordinality as i(msg_id, ord);
  return meshhook._remember(p_queue_name, p_verb, p_request_id, v_answer);
end
$$;
comment on function meshhook._remove is
  'Delete jobs, held by a worker or not, with a state for the history. Return for each ok or missing.';

create or replace function public.meshhook_delete(
  queue_name text, msg_ids bigint[], request_id text default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._remove(queue_name, 'delete', 'deleted', msg_ids, request_id)
$$;
comment on function public.meshhook_delete is
  'Delete jobs or dead letters, held by a worker or not. Return for each ok or missing.';
revoke all on function public.meshhook_delete from public, anon, authenticated;
grant execute on function public.meshhook_delete to service_role;

-- A worker that is at the job hears of it when it extends its lease the next time, and cancels its handler.
create or replace function public.meshhook_cancel(
  queue_name text, msg_ids bigint[], request_id text default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._remove(queue_name, 'cancel', 'cancelled', msg_ids, request_id)
$$;
comment on function public.meshhook_cancel is
  'Cancel jobs, waiting or running. Return for each ok, or missing if it was not in the queue any more.';
revoke all on function public.meshhook_cancel from public, anon, authenticated;
grant execute on function public.meshhook_cancel to service_role;

create or replace function public.meshhook_purge(queue_name text, request_id text default null)
returns bigint language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_purge.queue_name;
  v_answer jsonb := meshhook._recall(v_name, 'purge', request_id);
  v_count bigint;
begin
  if v_answer is not null then
    return v_answer::bigint;
  end if;
  perform meshhook._require_pgmq_queue('queue_name', v_name);
  -- PGMQ counts first and truncates then, so a job that arrives in between is dropped uncounted.
  execute format('lock table pgmq.%I in access exclusive mode', 'q_' || v_name);
  execute format('select count(*) from pgmq.%I', 'q_' || v_name) into v_count;
  execute format('truncate table pgmq.%I', 'q_' || v_name);
  perform meshhook._remember(v_name, 'purge', request_id, to_jsonb(v_count));
  return v_count;
end
$$;
comment on function public.meshhook_purge is
  'Delete every job of a queue, running ones too, or every dead letter; return how many there were.';
revoke all on function public.meshhook_purge from public, anon, authenticated;
grant execute on function public.meshhook_purge to service_role;
