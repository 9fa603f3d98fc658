-- Replay: dead letters go back to the queues that they came from, as new jobs.

create or replace function meshhook._source_queue(p_dlq_name text)
returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    (select min(q.queue_name) from meshhook.queues q where q.dlq_name = p_dlq_name),
    regexp_replace(p_dlq_name, '_dlq$', '')
  )
$$;
comment on function meshhook._source_queue is
  'Return the queue that a dead letter queue belongs to, for letters that do not say where they came from.';

create or replace function meshhook._source_queue_sql()
returns text language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select $sql$ coalesce(d.message -> '_meshhook' ->> 'queue', $2) $sql$
$$;
comment on function meshhook._source_queue_sql is
  'Return the SQL expression for the queue that a dead letter came from, $2 where it does not say.';

-- A replayed job starts again under a new id: attempt 1, no error. What its sender gave stays.
create or replace function meshhook._replay_to(
  p_dlq_name text, p_msg_ids bigint[], p_source text, p_target meshhook.queues
)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_headers constant boolean :=
    meshhook._has_headers(p_dlq_name) and meshhook._has_headers(p_target.queue_name);
  v_replayed jsonb;
begin
  execute meshhook._sql(p_target.queue_name, replace(replace(replace($sql$
    with held as materialized (
      select d.msg_id, d.message {headers}
      from {other} d
      where d.msg_id = any ($1) and {source} = $3
      order by d.msg_id
      for update of d
    ), sent as (
      insert into {q} (vt, message {headers})
      select
        clock_timestamp(),
        case
          when jsonb_typeof(h.message -> '_meshhook') = 'object' and h.message -> '_meshhook' ? 'original'
            then h.message -> '_meshhook' -> 'original'
          when jsonb_typeof(h.message) = 'object' then
            h.message - array[
              'error_message', 'error_stack', 'moved_to_dlq_at', 'original_msg_id', 'original_enqueued_at',
              'read_count', 'last_error', 'last_error_at'
            ]
            || jsonb_build_object(
              'attempt', 1,
              '_meshhook', {job.state} - 'queue'
                || jsonb_build_object('replayed_from', jsonb_build_object('dlq_name', $4, 'msg_id', h.msg_id))
            )
          else h.message
        end
        {their_headers}
      from held h
      order by h.msg_id
      returning msg_id
    ), gone as (
      delete from {other} d using held h where d.msg_id = h.msg_id
    ), pair as (
      -- Both in the order of the insert.
      select p.msg_id, p.original_msg_id, p.new_msg_id
      from unnest(
        (select array_agg(h.msg_id order by h.msg_id) from held h),
        (select array_agg(meshhook._original_msg_id(h.message) order by h.msg_id) from held h),
        (select array_agg(s.msg_id order by s.msg_id) from sent s)
      ) as p(msg_id, original_msg_id, new_msg_id)
    ), told as (
      update meshhook.jobs j
      set replayed_at = clock_timestamp(), replayed_to = $5, replayed_msg_id = p.new_msg_id
      from pair p
      join meshhook.queues q on q.queue_name = $3
      where j.queue_id = q.queue_id and j.msg_id = p.original_msg_id
        and j.dlq_name = $4 and j.dlq_msg_id = p.msg_id
    )
    select jsonb_object_agg(
      p.msg_id, jsonb_build_object('status', 'replayed', 'new_msg_id', p.new_msg_id, 'target_queue', $5)
    )
    from pair p
    $sql$,
    '{source}', meshhook._source_queue_sql()),
    '{headers}', case when v_headers then ', headers' else '' end),
    '{their_headers}', case when v_headers then ', h.headers' else '' end),
    p_dlq_name)
  into v_replayed
  using p_msg_ids, meshhook._source_queue(p_dlq_name), p_source, p_dlq_name, p_target.queue_name;
  return coalesce(v_replayed, '{}');
end
$$;
comment on function meshhook._replay_to is
  'Move dead letters that came from one queue to a queue; return, keyed by the old id, their new ids.';

create or replace function meshhook._unreplayable(
  p_dlq_name text, p_msg_ids bigint[], p_source text, p_error text
)
returns jsonb language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_failed jsonb;
begin
  execute meshhook._sql(p_dlq_name, replace($sql$
    select jsonb_object_agg(d.msg_id, jsonb_build_object('status', 'failed', 'error', $4))
    from {q} d
    where d.msg_id = any ($1) and {source} = $3
    $sql$,
    '{source}', meshhook._source_queue_sql()
  ))
  into v_failed
  using p_msg_ids, meshhook._source_queue(p_dlq_name), p_source, p_error;
  return coalesce(v_failed, '{}');
end
$$;
comment on function meshhook._unreplayable is
  'Return, keyed by id, the dead letters of a queue that is gone, with the error.';

create or replace function public.meshhook_replay(
  dlq_name text, msg_ids bigint[], target_queue text default null, request_id text default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_replay.dlq_name;
  v_answer jsonb := meshhook._recall(v_name, 'replay', request_id);
  v_replayed jsonb := '{}';
  v_source text;
begin
  if v_answer is not null then
    return v_answer;
  end if;
  perform meshhook._require_pgmq_queue('dlq_name', v_name);
  perform meshhook._check_receipts(msg_ids, null);
  if target_queue is not null then
    perform meshhook._require_pgmq_queue('target_queue', target_queue);
    if target_queue = v_name then
      perform meshhook._refuse(
        'target_queue', target_queue, 'is the dead letter queue itself', 'Name the queue to replay to.'
      );
    end if;
  end if;
  -- The queue's table comes before its dead letter queue's, as in a drop of both.
  for v_source in
    select q.queue_name
    from meshhook.queues q
    where (q.dlq_name = v_name or q.queue_name = target_queue)
      and to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) is not null
    order by q.queue_name
  loop
    execute format('lock table pgmq.%I in row exclusive mode', 'q_' || v_source);
  end loop;
  -- One order for all letters, whatever queue they go back to.
  execute meshhook._sql(
    v_name, 'select from {q} d where d.msg_id = any ($1) order by d.msg_id for update'
  ) using msg_ids;
  for v_source in execute meshhook._sql(
    v_name,
    'select distinct ' || meshhook._source_queue_sql() || ' from {q} d where d.msg_id = any ($1) order by 1'
  ) using msg_ids, meshhook._source_queue(v_name)
  loop
    if coalesce(target_queue, v_source) = v_name then
      v_replayed := v_replayed || meshhook._unreplayable(
        v_name, msg_ids, v_source, 'The dead letter does not say which queue it came from.'
      );
      continue;
    end if;
    begin
      v_replayed := v_replayed || meshhook._replay_to(
        v_name, msg_ids, v_source, meshhook._queue(coalesce(target_queue, v_source))
      );
    exception when sqlstate 'MH001' or sqlstate 'MH002' then
      -- One lost queue does not keep the letters of the others from going back.
      v_replayed := v_replayed || meshhook._unreplayable(v_name, msg_ids, v_source, sqlerrm);
    end;
  end loop;
  select coalesce(
    jsonb_agg(
      jsonb_build_object('msg_id', i.msg_id)
      || coalesce(v_replayed -> i.msg_id::text, jsonb_build_object('status', 'missing'))
      order by i.ord
    ),
    '[]'
  )
  into v_answer
  from unnest(msg_ids) with ordinality as i(msg_id, ord);
  return meshhook._remember(v_name, 'replay', request_id, v_answer);
end
$$;
comment on function public.meshhook_replay is
  'Move dead letters back to the queues they came from, or all to target_queue, as new jobs. Return for '
  'each its new id, or why it could not go.';
revoke all on function public.meshhook_replay from public, anon, authenticated;
grant execute on function public.meshhook_replay to service_role;
