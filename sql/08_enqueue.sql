-- Enqueue: one message or many, each with its delay or its time, in one transaction.

create or replace function meshhook._check_messages(
  p_messages jsonb, p_delay_seconds double precision, p_delays double precision[]
)
returns integer language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
  v_bad integer;
begin
  if jsonb_typeof(p_messages) is distinct from 'array' then
    perform meshhook._refuse(
      'messages', p_messages::text, 'must be an array of JSON objects', 'Send an array.'
    );
  end if;
  v_count := jsonb_array_length(p_messages);
  if v_count > 10000 then
    perform meshhook._refuse('messages', v_count::text, 'holds more than 10000 messages', 'Split the call.');
  end if;
  select m.ord - 1 into v_bad
  from jsonb_array_elements(p_messages) with ordinality as m(value, ord)
  where jsonb_typeof(m.value) <> 'object'
  limit 1;
  if found then
    perform meshhook._refuse(
      format('messages[%s]', v_bad), (p_messages -> v_bad)::text, 'is not a JSON object', 'Send an object.'
    );
  end if;

  perform meshhook._check_delay('delay_seconds', p_delay_seconds);
  if p_delays is not null and (cardinality(p_delays) <> v_count or array_ndims(p_delays) > 1) then
    perform meshhook._refuse(
      'delays', cardinality(p_delays)::text, 'must have one delay for each message',
      'Give as many delays as messages, null where delay_seconds holds.'
    );
  end if;
  select d.ord - 1 into v_bad
  from unnest(p_delays) with ordinality as d(value, ord)
  where not (d.value >= 0 and d.value <= 31622400)
  limit 1;
  if found then
    perform meshhook._check_delay(format('delays[%s]', v_bad), p_delays[v_bad + 1]);
  end if;
  return v_count;
end
$$;
comment on function meshhook._check_messages is
  'Raise MH002 unless every message is an object and every delay usable; return how many there are.';

create or replace function meshhook._check_keys(p_keys text[], p_count integer, p_request_id text)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad record;
begin
  if cardinality(p_keys) <> p_count or array_ndims(p_keys) > 1 then
    perform meshhook._refuse(
      'keys', cardinality(p_keys)::text, 'must have one key for each message',
      'Give as many keys as messages, null for a message without one.'
    );
  end if;
  select k.ord - 1 as position, k.value into v_bad
  from unnest(p_keys) with ordinality as k(value, ord)
  where length(k.value) not between 1 and 255 or k.value = p_request_id
  limit 1;
  if found then
    perform meshhook._refuse(
      format('keys[%s]', v_bad.position), v_bad.value,
      case when v_bad.value = p_request_id then 'is the request_id of the call'
        else 'must have from 1 to 255 characters' end,
      'Use another key, such as a UUID.'
    );
  end if;
end
$$;
comment on function meshhook._check_keys is
  'Raise MH002 unless there is one usable key for each message, or null.';

create or replace function meshhook._run_ats(
  p_run_at timestamptz, p_run_ats timestamptz[], p_count integer, p_delay_seconds double precision,
  p_delays double precision[]
)
returns timestamptz[] language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad integer;
begin
  if p_run_at is not null then
    if p_delays is not null or p_run_ats is not null then
      perform meshhook._refuse(
        'run_at', p_run_at::text, 'is given as well as delays or run_ats',
        'Give one time for all, or run_ats with one for each message.'
      );
    end if;
    perform meshhook._check_one_time(p_delay_seconds, p_run_at);
    perform meshhook._check_run_at('run_at', p_run_at);
    return array_fill(p_run_at, array[p_count]);
  end if;
  if cardinality(p_run_ats) <> p_count or array_ndims(p_run_ats) > 1 then
    perform meshhook._refuse(
      'run_ats', cardinality(p_run_ats)::text, 'must have one time for each message',
      'Give as many times as messages, null where the delay holds.'
    );
  end if;
  select t.ord - 1 into v_bad
  from unnest(p_run_ats) with ordinality as t(value, ord)
  where t.value > clock_timestamp() + make_interval(secs => 31622400)
  limit 1;
  if found then
    perform meshhook._check_run_at(format('run_ats[%s]', v_bad), p_run_ats[v_bad + 1]);
  end if;
  return p_run_ats;
end
$$;
comment on function meshhook._run_ats is
  'Return the time of each message, null where its delay holds; raise MH002 where a time is not usable.';

-- The message of a job is flat. What is stamped on it is what the original system stamps: attempt,
-- max_attempts and enqueued_at, each unless the sender gave it. A max_attempts that the sender did not
-- give is marked as such, because only a job's own wins over the worker's.
--
-- clock_timestamp() is read for each row: rows with one vt in common would have to be sorted by every
-- claim that meets them.
create or replace function meshhook._insert_messages(
  p_queue meshhook.queues, p_messages jsonb, p_delay_seconds double precision, p_delays double precision[],
  p_run_ats timestamptz[]
)
returns bigint[] language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_msg_ids bigint[];
  v_own constant jsonb := jsonb_build_object('attempt', 1, 'enqueued_at', clock_timestamp());
  v_mark constant jsonb := jsonb_build_object('default_max_attempts', true);
  v_after_delay constant text := 'clock_timestamp() + make_interval(secs => coalesce($5[m.ord], $4))';
  v_vt constant text := case when p_run_ats is null then v_after_delay else replace(
    'case when $7[m.ord] is null then {delay} else greatest($7[m.ord], clock_timestamp()) end',
    '{delay}', v_after_delay
  ) end;
  v_default constant jsonb :=
    v_own || jsonb_build_object('max_attempts', p_queue.max_attempts, '_meshhook', v_mark);
begin
  execute meshhook._sql(p_queue.queue_name, replace(
    $sql$
    with sent as (
      insert into {q} (vt, message)
      select
        {vt},
        case
          when m.value ? 'max_attempts' then $2 || m.value
          when jsonb_typeof(m.value -> '_meshhook') = 'object'
            then $3 || m.value || jsonb_build_object('_meshhook', (m.value -> '_meshhook') || $6)
          else $3 || (m.value - '_meshhook')
        end
      from jsonb_array_elements($1) with ordinality as m(value, ord)
      returning msg_id
    )
    select array_agg(msg_id order by msg_id) from sent
    $sql$,
    '{vt}', v_vt
  ))
  into v_msg_ids
  using p_messages, v_own, v_default, p_delay_seconds, p_delays, v_mark, p_run_ats;
  return coalesce(v_msg_ids, '{}');
end
$$;
comment on function meshhook._insert_messages is
  'Put messages in a queue and return their ids in the order of the messages; a time of its own wins over a '
  'delay.';

-- A key of a job and the request_id of a call that sends this job alone are one and the same. What holds off
-- others that use the key are the rows themselves, and not advisory locks, of which a batch would need more
-- than Postgres has room for. They are taken in the order of the keys, so that two batches never wait for
-- each other; and after the lock of the table, which a drop of the queue takes first, too.
--
-- Nothing here is joined: how many keys there are and how many are remembered is not known when a plan is
-- made, and a wrong guess compares each of them with each. Each is looked up in the primary key instead.
create or replace function meshhook._enqueue_by_key(
  p_queue meshhook.queues, p_messages jsonb, p_delay_seconds double precision, p_delays double precision[],
  p_run_ats timestamptz[], p_keys text[], p_seconds double precision
)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_new boolean[];
  v_new_keys text[];
  v_messages jsonb := p_messages;
  v_delays double precision[] := p_delays;
  v_run_ats timestamptz[] := p_run_ats;
  v_msg_ids bigint[];
  v_bad record;
begin
  execute format('lock table pgmq.%I in row exclusive mode', 'q_' || p_queue.queue_name);
  with given as (
    select k.value as key, k.ord from unnest(p_keys) with ordinality as k(value, ord)
  ), taken as (
    insert into meshhook.requests as r (queue_name, verb, request_id, answer, expires_at)
    select p_queue.queue_name, 'enqueue', w.key, 'null', clock_timestamp() + make_interval(secs => p_seconds)
    from (select distinct g.key from given g where g.key is not null) w
    order by w.key collate "C"
    on conflict (queue_name, verb, request_id)
    do update set answer = excluded.answer, expires_at = excluded.expires_at
    where r.expires_at <= clock_timestamp()
    returning r.request_id
  ), judged as (
    select
      b.key, b.ord,
      b.key is null or (
        bool_or(b.ord is null) over (partition by b.key) and b.ord = min(b.ord) over (partition by b.key)
      ) as is_new
    from (select g.key, g.ord from given g union all select t.request_id, null from taken t) b
  )
  select
    coalesce(array_agg(j.is_new order by j.ord), '{}'),
    coalesce(array_agg(j.key order by j.ord) filter (where j.is_new), '{}')
  into v_is_new, v_new_keys
  from judged j
  where j.ord is not null;

  select k.ord - 1 as position, k.value into v_bad
  from rows from (unnest(p_keys), unnest(v_is_new)) with ordinality as k(value, is_new, ord)
  where not k.is_new and (
    select jsonb_array_length(r.answer -> 'msg_ids')
    from meshhook.requests r
    where r.queue_name = p_queue.queue_name and r.verb = 'enqueue' and r.request_id = k.value
  ) <> 1
  limit 1;
  if found then
    perform meshhook._refuse(
      format('keys[%s]', v_bad.position), v_bad.value, 'has been used for another number of jobs than one',
      'Use another key.'
    );
  end if;

  if false = any (v_is_new) then
    select
      coalesce(jsonb_agg(m.value order by m.ord), '[]'),
      array_agg(m.delay order by m.ord),
      case when p_run_ats is not null then coalesce(array_agg(m.run_at order by m.ord), '{}') end
    into v_messages, v_delays, v_run_ats
    from rows from (
      jsonb_array_elements(p_messages), unnest(p_delays), unnest(p_run_ats), unnest(v_is_new)
    ) with ordinality as m(value, delay, run_at, is_new, ord)
    where m.is_new;
  end if;
  v_msg_ids := meshhook._insert_messages(p_queue, v_messages, p_delay_seconds, v_delays, v_run_ats);

  -- The rows are there, and held; this is an update that finds each by the primary key.
  insert into meshhook.requests as r (queue_name, verb, request_id, answer, expires_at)
  select
    p_queue.queue_name, 'enqueue', n.key,
    jsonb_build_object('msg_ids', jsonb_build_array(n.msg_id), 'duplicate', false), clock_timestamp()
  from unnest(v_new_keys, v_msg_ids) as n(key, msg_id)
  where n.key is not null
  on conflict (queue_name, verb, request_id) do update set answer = excluded.answer;

  return (
    select jsonb_build_object(
      'msg_ids', coalesce(jsonb_agg(
        case when k.is_new then to_jsonb(v_msg_ids[k.nth]) else (
          select r.answer -> 'msg_ids' -> 0
          from meshhook.requests r
          where r.queue_name = p_queue.queue_name and r.verb = 'enqueue' and r.request_id = k.value
        ) end
        order by k.ord
      ), '[]'),
      'duplicate', false,
      'duplicates', coalesce(jsonb_agg(not k.is_new order by k.ord), '[]')
    )
    from (
      select n.value, n.is_new, n.ord, count(*) filter (where n.is_new) over (order by n.ord) as nth
      from rows from (unnest(p_keys), unnest(v_is_new)) with ordinality as n(value, is_new, ord)
    ) k
  );
end
$$;
comment on function meshhook._enqueue_by_key is
  'Put those messages in a queue whose keys have not been used, and return for each message its id and '
  'whether its key had been.';

create or replace function public.meshhook_enqueue(
  queue_name text,
  messages jsonb,
  delay_seconds double precision default 0,
  delays double precision[] default null,
  request_id text default null,
  remember_seconds double precision default 600,
  run_at timestamptz default null,
  run_ats timestamptz[] default null,
  keys text[] default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_enqueue.queue_name;
  v_answer jsonb := meshhook._recall(v_name, 'enqueue', request_id);
  v_count integer;
  v_run_ats timestamptz[];
begin
  if v_answer is not null then
    return v_answer || jsonb_build_object('duplicate', true);
  end if;
  v_count := meshhook._check_messages(messages, delay_seconds, delays);
  perform meshhook._check_number('remember_seconds', remember_seconds, 1, 31622400);
  if run_at is not null or run_ats is not null then
    v_run_ats := meshhook._run_ats(run_at, run_ats, v_count, delay_seconds, delays);
  end if;
  if keys is null then
    v_answer := jsonb_build_object(
      'msg_ids',
      meshhook._insert_messages(meshhook._queue(v_name), messages, delay_seconds, delays, v_run_ats),
      'duplicate', false
    );
  else
    perform meshhook._check_keys(keys, v_count, request_id);
    v_answer := meshhook._enqueue_by_key(
      meshhook._queue(v_name), messages, delay_seconds, delays, v_run_ats, keys, remember_seconds
    );
  end if;
  return meshhook._remember(v_name, 'enqueue', request_id, v_answer, remember_seconds);
end
$$;
comment on function public.meshhook_enqueue is
  'Enqueue messages, all or none, and return their ids in order; a repeat with the same request_id returns '
  'the first ids. A message whose key has been used is not enqueued again.';
revoke all on function public.meshhook_enqueue from public, anon, authenticated;
grant execute on function public.meshhook_enqueue to service_role;
