-- What a busy worker calls: it hands in the outcomes of its last batch and gets the next one, in one
-- transaction and one round trip.

create or replace function public.meshhook_settle_and_dequeue(
  queue_name text,
  outcomes jsonb,
  quantity integer,
  vt_seconds double precision default null,
  max_attempts integer default null,
  request_id text default null,
  max_bytes integer default 4194304,
  worker jsonb default null
)
returns json -- see meshhook_dequeue
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_settle_and_dequeue.queue_name;
  v_earlier constant jsonb := meshhook._recall(v_name, 'settle_and_dequeue', request_id);
  v_queue constant meshhook.queues := meshhook._queue(v_name);
  v_seconds constant double precision := coalesce(vt_seconds, v_queue.vt_seconds);
  v_statuses jsonb := v_earlier -> 'statuses';
  v_tally meshhook.totals;
  v_settled record;
  v_claim record;
begin
  perform meshhook._check_claim(quantity, v_seconds, max_attempts, max_bytes);
  if v_earlier is null then
    select * into v_settled from meshhook._settle_uncounted(v_queue, outcomes, null);
    v_statuses := v_settled.statuses;
    v_tally := v_settled.tally;
  end if;
  select * into v_claim
  from meshhook._hand_out(
    v_queue, quantity, v_seconds, max_attempts, max_bytes, nullif(v_earlier -> 'claim', 'null')
  );
  -- The claim never waits, so the lock of the totals, which is taken last, is held for a moment only.
  perform meshhook._count(v_queue.queue_id, v_tally);
  if v_earlier is null or v_claim.memory is not null then
    perform meshhook._remember(
      v_name, 'settle_and_dequeue', request_id,
      jsonb_build_object('statuses', v_statuses, 'claim', v_claim.memory)
    );
  end if;
  if worker is not null then
    perform meshhook._seen(worker);
  end if;
  return json_build_object('statuses', v_statuses, 'claim', v_claim.answer);
end
$$;
comment on function public.meshhook_settle_and_dequeue is
  'Settle jobs as meshhook_settle does and claim the next as meshhook_dequeue does, in one transaction; '
  'return the statuses and the claim.';
revoke all on function public.meshhook_settle_and_dequeue from public, anon, authenticated;
grant execute on function public.meshhook_settle_and_dequeue to service_role;
