-- Enqueue: one message or many, each with its delay, in one transaction.

do $$ begin perform pg_advisory_xact_lock(hashtextextended('meshhook migrations', 0)); end $$;

create or replace function meshhook._check_messages(
  p_messages jsonb, p_delay_seconds double precision, p_delays double precision[]
)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_count integer;
  v_bad integer;
begin
  if jsonb_typeof(p_messages) is distinct from 'array' then
    perform meshhook._refuse('messages', p_messages::pg_catalog.text, 'must be an array of JSON objects', 'Send an array.');
  end if;
  v_count := jsonb_array_length(p_messages);
  if v_count > 10000 then
    perform meshhook._refuse('messages', v_count::pg_catalog.text, 'holds more than 10000 messages', 'Split the call.');
  end if;
  select m.ord - 1 into v_bad
  from jsonb_array_elements(p_messages) with ordinality as m(value, ord)
  where jsonb_typeof(m.value) <> 'object'
  limit 1;
  if found then
    perform meshhook._refuse(
      format('messages[%s]', v_bad), (p_messages -> v_bad)::pg_catalog.text, 'is not a JSON object', 'Send an object.'
    );
  end if;

  perform meshhook._check_delay('delay_seconds', p_delay_seconds);
  if p_delays is not null and (cardinality(p_delays) <> v_count or array_ndims(p_delays) > 1) then
    perform meshhook._refuse(
      'delays', cardinality(p_delays)::pg_catalog.text, 'must have one delay for each message',
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
comment on function meshhook._check_messages(jsonb, double precision, double precision[]) is
  'Raise MH002 unless every message is an object and every delay usable; return how many there are.';

-- The message of a job is flat. What is stamped on it is what the original system stamps: attempt,
-- max_attempts and enqueued_at, each unless the sender gave it. A max_attempts that the sender did not
-- give is marked as such, because only a job's own wins over the worker's.
--
-- clock_timestamp() is read for each row: rows with one vt in common would have to be sorted by every
-- claim that meets them.
create or replace function meshhook._insert_messages(
  p_queue meshhook.queues, p_messages jsonb, p_delay_seconds double precision, p_delays double precision[]
)
returns bigint[]
language plpgsql
set search_path = ''
as $$
declare
  v_msg_ids bigint[];
  v_own constant pg_catalog.jsonb := jsonb_build_object('attempt', 1, 'enqueued_at', clock_timestamp());
  v_mark constant pg_catalog.jsonb := jsonb_build_object('default_max_attempts', true);
  v_default constant pg_catalog.jsonb := v_own || jsonb_build_object('max_attempts', p_queue.max_attempts, '_meshhook', v_mark);
begin
  execute format(
    $sql$
    with sent as (
      insert into pgmq.%1$I (vt, message)
      select
        clock_timestamp() + make_interval(secs => coalesce($5[m.ord], $4)),
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
    'q_' || p_queue.queue_name
  )
  into v_msg_ids
  using p_messages, v_own, v_default, p_delay_seconds, p_delays, v_mark;
  return coalesce(v_msg_ids, '{}');
end
$$;
comment on function meshhook._insert_messages(meshhook.queues, jsonb, double precision, double precision[]) is
  'Put messages in a queue and return their ids in the order of the messages.';

create or replace function public.meshhook_enqueue(
  queue_name text,
  messages jsonb,
  delay_seconds double precision default 0,
  delays double precision[] default null,
  request_id text default null,
  remember_seconds double precision default 600
)
returns jsonb
language plpgsql
security definer -- the tables of PGMQ and MeshHook belong to the role that applied the migrations
set search_path = ''
as $$
declare
  v_name constant pg_catalog.text := meshhook_enqueue.queue_name;
  v_answer pg_catalog.jsonb := meshhook._recall(v_name, 'enqueue', request_id);
begin
  if v_answer is not null then
    return v_answer || jsonb_build_object('duplicate', true);
  end if;
  perform meshhook._check_messages(messages, delay_seconds, delays);
  perform meshhook._check_number('remember_seconds', remember_seconds, 1, 31622400);
  v_answer := jsonb_build_object(
    'msg_ids', meshhook._insert_messages(meshhook._queue(v_name), messages, delay_seconds, delays),
    'duplicate', false
  );
  return meshhook._remember(v_name, 'enqueue', request_id, v_answer, remember_seconds);
end
$$;
comment on function public.meshhook_enqueue(text, jsonb, double precision, double precision[], text, double precision) is
  'Enqueue messages, all or none, and return their ids in order; a repeat with the same request_id returns the first ids.';
revoke all on function public.meshhook_enqueue(text, jsonb, double precision, double precision[], text, double precision)
  from public, anon, authenticated;
grant execute on function public.meshhook_enqueue(text, jsonb, double precision, double precision[], text, double precision)
  to service_role;
