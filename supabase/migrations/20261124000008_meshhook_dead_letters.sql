-- The dead letter queue: a PGMQ queue of its own, whose messages are those of the jobs with what went
-- wrong beside it. Looking at it changes nothing. A queue may do without: then its failed jobs go to its
-- archive.

do $$ begin perform pg_advisory_xact_lock(hashtextextended('meshhook migrations', 0)); end $$;

create or replace function meshhook._has_headers(p_queue_name text)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select
    from pg_catalog.pg_attribute a
    where a.attrelid = to_regclass(format('pgmq.%I', 'q_' || p_queue_name))
      and a.attname = 'headers' and not a.attisdropped
  )
$$;
comment on function meshhook._has_headers(text) is
  'Tell whether the messages of a queue have headers: PGMQ 1.4.4 has none.';

-- Without a name of a dead letter queue, the message stays in its row and PGMQ archives that.
create or replace function meshhook._buried_sql(p_queue_name text, p_dlq_name text)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  v_headers boolean;
begin
  if p_dlq_name is null then
    return format(
      $sql$
      buried as (
        update pgmq.%1$I q set message = l.letter from letter l where q.msg_id = l.msg_id
        returning null::bigint as msg_id, q.msg_id as original_msg_id
      )
      $sql$,
      'q_' || p_queue_name
    );
  end if;
  v_headers := meshhook._has_headers(p_queue_name) and meshhook._has_headers(p_dlq_name);
  return format(
    $sql$
    buried as (
      insert into pgmq.%2$I (vt, message %3$s)
      select clock_timestamp(), l.letter %4$s
      from letter l
      order by l.msg_id
      returning msg_id, (message ->> 'original_msg_id')::bigint as original_msg_id
    ), gone as (
      delete from pgmq.%1$I q using letter l where q.msg_id = l.msg_id
    )
    $sql$,
    'q_' || p_queue_name, 'q_' || p_dlq_name,
    case when v_headers then ', headers' else '' end, case when v_headers then ', l.headers' else '' end
  );
end
$$;
comment on function meshhook._buried_sql(text, text) is
  'Return the part of a query that moves the rows of "letter" to the dead letter queue, or makes them ready for the archive.';

create or replace function meshhook._dead_letter(
  p_queue meshhook.queues, p_outcomes jsonb, p_dlq_name text, out done bigint[], out tally meshhook.totals
)
language plpgsql
set search_path = ''
as $$
declare
  v_sum record;
begin
  if p_dlq_name is not null then
    perform meshhook._check_dlq_name(p_queue.queue_name, p_dlq_name);
    perform meshhook._ensure_pgmq_queue(p_dlq_name);
  end if;
  execute format(
    $sql$
    with %1$s, letter as materialized (
      select
        h.msg_id, h.headers,
        case when jsonb_typeof(h.message) = 'object' then h.message else '{}' end
        || case when h.error_type is not distinct from 'MalformedMessage' then '{}'
          else jsonb_build_object('attempt', greatest(1, h.attempt - h.undelivered::integer)) end
        || jsonb_build_object(
          'error_message', coalesce(h.error_message, 'unknown error'),
          'error_stack', h.error_stack,
          'moved_to_dlq_at', clock_timestamp(),
          'original_msg_id', h.msg_id,
          'original_enqueued_at', h.enqueued_at,
          'read_count', h.read_ct - h.undelivered::integer,
          '_meshhook', %2$s - array['reads', 'id'] || jsonb_build_object('queue', $4)
            || case when jsonb_typeof(h.message) is distinct from 'object'
              then jsonb_build_object('original', h.message) else '{}' end
        ) as letter
      from held h
    ), %3$s, told_attempt as (
      insert into meshhook.attempts as a (
        queue_id, msg_id, read_ct, attempt, outcome, error_type, error_message, error_stack, worker, seconds
      )
      select
        $2, h.msg_id, h.read_ct, h.attempt, case when $5 is null then 'failed' else 'dead_lettered' end,
        h.error_type, h.error_message, h.error_stack, h.worker, h.seconds
      from held h
      where $3 and not h.undelivered
      on conflict on constraint attempts_pkey do nothing
    ), told_job as (
      insert into meshhook.jobs as j (
        queue_id, msg_id, run_id, state, attempts, enqueued_at, seconds, dlq_name, dlq_msg_id
      )
      select
        $2, h.msg_id, left(h.message ->> 'run_id', 200),
        case when $5 is null then 'failed' else 'dead_lettered' end,
        h.attempt - h.undelivered::integer, h.enqueued_at, h.seconds, $5, (b.ids ->> h.msg_id::pg_catalog.text)::bigint
      from held h, (select jsonb_object_agg(original_msg_id, msg_id) as ids from buried) b
      where $3
      on conflict on constraint jobs_pkey do update set
        run_id = excluded.run_id, state = excluded.state, attempts = excluded.attempts,
        enqueued_at = excluded.enqueued_at, finished_at = excluded.finished_at, seconds = excluded.seconds,
        dlq_name = excluded.dlq_name, dlq_msg_id = excluded.dlq_msg_id,
        replayed_at = null, replayed_to = null, replayed_msg_id = null
    )
    select
      (select array_agg(m.ord) from matched m) as done,
      array_agg(h.msg_id) as msg_ids,
      row(
        null, null, 0, count(*), 0, coalesce(sum(h.attempt - h.undelivered::integer), 0),
        coalesce(max(h.attempt - h.undelivered::integer), 0), 0, 0
      )::meshhook.totals as tally
    from held h
    $sql$,
    meshhook._held_sql(
      p_queue.queue_name, 'dead_letter',
      case when meshhook._has_headers(p_queue.queue_name) then 'q.headers' else 'null::pg_catalog.jsonb' end
    ),
    meshhook._state_sql('h'),
    meshhook._buried_sql(p_queue.queue_name, p_dlq_name)
  )
  into v_sum
  using p_outcomes, p_queue.queue_id, p_queue.keeps_history, p_queue.queue_name, p_dlq_name;
  done := v_sum.done;
  tally := v_sum.tally;
  if p_dlq_name is null and v_sum.msg_ids is not null then
    perform set_config('search_path', 'pg_catalog, pg_temp', true); -- see _repair_pgmq_queue
    perform pgmq.archive(p_queue.queue_name, v_sum.msg_ids);
  end if;
end
$$;
comment on function meshhook._dead_letter(meshhook.queues, jsonb, text) is
  'Move the jobs of the outcomes "dead_letter" to a dead letter queue, or to the archive if there is none; return the positions that were settled, and their tally.';

create or replace function public.meshhook_list_dead_letters(
  dlq_name text, quantity integer default 100, after_msg_id bigint default 0
)
returns jsonb
language plpgsql
stable
security definer -- the tables of PGMQ belong to the role that applied the migrations
set search_path = ''
as $$
declare
  v_jobs pg_catalog.jsonb;
begin
  perform meshhook._require_pgmq_queue('dlq_name', meshhook_list_dead_letters.dlq_name);
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  execute format(
    $sql$
    select jsonb_agg(d)
    from (
      select q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message
      from pgmq.%I q
      where q.msg_id > $1
      order by q.msg_id
      limit $2
    ) d
    $sql$,
    'q_' || meshhook_list_dead_letters.dlq_name
  )
  into v_jobs
  using coalesce(after_msg_id, 0), quantity;
  return coalesce(v_jobs, '[]');
end
$$;
comment on function public.meshhook_list_dead_letters(text, integer, bigint) is
  'Return dead letters, oldest first, from behind after_msg_id on.';

create or replace function meshhook._original_msg_id(p_message jsonb)
returns bigint
language sql
immutable
set search_path = ''
as $$
  -- Another client may have written anything there.
  select case
    when jsonb_typeof(p_message -> 'original_msg_id') = 'number' then
      case when (p_message -> 'original_msg_id')::numeric between 1 and 9223372036854775807
        then (p_message -> 'original_msg_id')::bigint end
  end
$$;
comment on function meshhook._original_msg_id(jsonb) is
  'Return the id that a dead letter had in its queue, null if it does not say.';

create or replace function public.meshhook_get_dead_letter(dlq_name text, msg_id bigint)
returns jsonb
language plpgsql
stable
security definer -- see meshhook_list_dead_letters
set search_path = ''
as $$
declare
  v_job pg_catalog.jsonb;
begin
  perform meshhook._require_pgmq_queue('dlq_name', meshhook_get_dead_letter.dlq_name);
  execute format(
    'select to_jsonb(d) from (select q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message from pgmq.%I q where q.msg_id = $1) d',
    'q_' || meshhook_get_dead_letter.dlq_name
  )
  into v_job
  using meshhook_get_dead_letter.msg_id;
  return v_job || jsonb_build_object(
    'attempts',
    meshhook._attempts_of_dead_letter(meshhook_get_dead_letter.dlq_name, meshhook_get_dead_letter.msg_id, v_job -> 'message')
  );
end
$$;
comment on function public.meshhook_get_dead_letter(text, bigint) is
  'Return one dead letter with its failed attempts, or null.';

create or replace function meshhook._attempts(p_queue_id integer, p_msg_id bigint)
returns jsonb
language sql
stable
set search_path = ''
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
comment on function meshhook._attempts(integer, bigint) is 'Return the failed attempts of a job, oldest first.';

create or replace function meshhook._attempts_of_dead_letter(p_dlq_name text, p_msg_id bigint, p_message jsonb)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(
    (
      select meshhook._attempts(j.queue_id, j.msg_id)
      from meshhook.queues q
      join meshhook.jobs j on j.queue_id = q.queue_id and j.msg_id = meshhook._original_msg_id(p_message)
      where q.queue_name = p_message -> '_meshhook' ->> 'queue'
        and j.dlq_name = p_dlq_name and j.dlq_msg_id = p_msg_id
    ),
    '[]'
  )
$$;
comment on function meshhook._attempts_of_dead_letter(text, bigint, jsonb) is
  'Return the failed attempts of the job that a dead letter was.';

create or replace function meshhook._error_sql(p_row text)
returns text
language sql
immutable
set search_path = ''
as $$
  select format(
    'coalesce(nullif(left(split_part(%s.message ->> ''error_message'', chr(10), 1), 200), ''''), ''unknown error'')', p_row
  )
$$;
comment on function meshhook._error_sql(text) is
  'Return the SQL expression for the error that a dead letter is counted under: the first line of its message.';

create or replace function public.meshhook_group_dead_letters(dlq_name text, quantity integer default 1000)
returns jsonb
language plpgsql
stable
security definer -- see meshhook_list_dead_letters
set search_path = ''
as $$
declare
  v_groups pg_catalog.jsonb;
begin
  perform meshhook._require_pgmq_queue('dlq_name', meshhook_group_dead_letters.dlq_name);
  perform meshhook._check_number('quantity', quantity, 1, 10000);
  execute format(
    $sql$
    with dead as (
      select q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message
      from pgmq.%1$I q
      order by q.msg_id
      limit $1
    ), grouped as (
      select
        %2$s as error,
        jsonb_agg(d order by d.msg_id) as jobs
      from dead d
      group by 1
    )
    select jsonb_agg(
      jsonb_build_object('error', g.error, 'jobs', g.jobs) order by jsonb_array_length(g.jobs) desc, g.error
    )
    from grouped g
    $sql$,
    'q_' || meshhook_group_dead_letters.dlq_name, meshhook._error_sql('d')
  )
  into v_groups
  using quantity;
  return coalesce(v_groups, '[]');
end
$$;
comment on function public.meshhook_group_dead_letters(text, integer) is
  'Return the oldest dead letters, up to quantity, grouped by the first line of their errors, the largest group first.';

-- One pass over all dead letters; what comes back has a bound, and says what it leaves out.
create or replace function public.meshhook_count_dead_letters(dlq_name text, quantity integer default 100)
returns jsonb
language plpgsql
stable
security definer -- see meshhook_list_dead_letters
set search_path = ''
as $$
declare
  v_answer pg_catalog.jsonb;
begin
  perform meshhook._require_pgmq_queue('dlq_name', meshhook_count_dead_letters.dlq_name);
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  execute format(
    $sql$
    with grouped as (
      select
        %2$s as error, count(*) as jobs,
        min(d.enqueued_at) as first_moved_at, max(d.enqueued_at) as last_moved_at, max(d.msg_id) as newest
      from pgmq.%1$I d
      group by 1
    ), listed as (
      select g.* from grouped g order by g.jobs desc, g.error limit $1
    )
    select jsonb_build_object(
      'total_jobs', (select coalesce(sum(g.jobs), 0) from grouped g),
      'total_errors', (select count(*) from grouped g),
      'errors', (
        select coalesce(
          jsonb_agg(
            jsonb_build_object(
              'error', l.error, 'jobs', l.jobs,
              'first_moved_at', l.first_moved_at, 'last_moved_at', l.last_moved_at,
              'msg_id', l.newest, 'error_message', left(d.message ->> 'error_message', 4000)
            )
            order by l.jobs desc, l.error
          ),
          '[]'
        )
        from listed l
        join pgmq.%1$I d on d.msg_id = l.newest
      )
    )
    $sql$,
    'q_' || meshhook_count_dead_letters.dlq_name, meshhook._error_sql('d')
  )
  into v_answer
  using quantity;
  return v_answer;
end
$$;
comment on function public.meshhook_count_dead_letters(text, integer) is
  'Count all dead letters by the first line of their errors; return up to quantity errors, the most frequent first, each with its newest dead letter.';

create or replace function meshhook._source_queue_sql(p_row text)
returns text
language sql
immutable
set search_path = ''
as $$
  select format('coalesce(%1$s.message -> ''_meshhook'' ->> ''queue'', $2)', p_row)
$$;
comment on function meshhook._source_queue_sql(text) is
  'Return the SQL expression for the queue that a dead letter came from, $2 where it does not say.';

-- A replayed job starts anew under a new id: attempt 1, no error. What its sender gave stays.
create or replace function meshhook._replay_to(
  p_dlq_name text, p_msg_ids bigint[], p_source text, p_target meshhook.queues
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_headers constant boolean :=
    meshhook._has_headers(p_dlq_name) and meshhook._has_headers(p_target.queue_name);
  v_replayed pg_catalog.jsonb;
begin
  execute format(
    $sql$
    with held as materialized (
      select d.msg_id, d.message %4$s
      from pgmq.%2$I d
      where d.msg_id = any ($1) and %3$s = $3
      order by d.msg_id
      for update of d
    ), sent as (
      insert into pgmq.%1$I (vt, message %4$s)
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
              '_meshhook', %5$s - 'queue'
                || jsonb_build_object('replayed_from', jsonb_build_object('dlq_name', $4, 'msg_id', h.msg_id))
            )
          else h.message
        end
        %6$s
      from held h
      order by h.msg_id
      returning msg_id
    ), gone as (
      delete from pgmq.%2$I d using held h where d.msg_id = h.msg_id
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
    'q_' || p_target.queue_name, 'q_' || p_dlq_name, meshhook._source_queue_sql('d'),
    case when v_headers then ', headers' else '' end,
    meshhook._state_sql('h'),
    case when v_headers then ', h.headers' else '' end
  )
  into v_replayed
  using p_msg_ids, meshhook._source_queue(p_dlq_name), p_source, p_dlq_name, p_target.queue_name;
  return coalesce(v_replayed, '{}');
end
$$;
comment on function meshhook._replay_to(text, bigint[], text, meshhook.queues) is
  'Move dead letters that came from one queue to a queue; return, keyed by the old id, their new ids.';

create or replace function meshhook._source_queue(p_dlq_name text)
returns text
language sql
stable
set search_path = ''
as $$
  select coalesce(
    (select min(q.queue_name) from meshhook.queues q where q.dlq_name = p_dlq_name),
    regexp_replace(p_dlq_name, '_dlq$', '')
  )
$$;
comment on function meshhook._source_queue(text) is
  'Return the queue that a dead letter queue belongs to, for letters that do not say where they came from.';

create or replace function meshhook._unreplayable(
  p_dlq_name text, p_msg_ids bigint[], p_source text, p_error text
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  v_failed pg_catalog.jsonb;
begin
  execute format(
    $sql$
    select jsonb_object_agg(d.msg_id, jsonb_build_object('status', 'failed', 'error', $4))
    from pgmq.%I d
    where d.msg_id = any ($1) and %s = $3
    $sql$,
    'q_' || p_dlq_name, meshhook._source_queue_sql('d')
  )
  into v_failed
  using p_msg_ids, meshhook._source_queue(p_dlq_name), p_source, p_error;
  return coalesce(v_failed, '{}');
end
$$;
comment on function meshhook._unreplayable(text, bigint[], text, text) is
  'Return, keyed by id, the dead letters of a queue that is gone, with the error.';

create or replace function public.meshhook_replay(
  dlq_name text, msg_ids bigint[], target_queue text default null, request_id text default null
)
returns jsonb
language plpgsql
security definer -- see meshhook_list_dead_letters
set search_path = ''
as $$
declare
  v_name constant pg_catalog.text := meshhook_replay.dlq_name;
  v_answer pg_catalog.jsonb := meshhook._recall(v_name, 'replay', request_id);
  v_replayed pg_catalog.jsonb := '{}';
  v_source pg_catalog.text;
begin
  if v_answer is not null then
    return v_answer;
  end if;
  perform meshhook._require_pgmq_queue('dlq_name', v_name);
  perform meshhook._check_receipts(msg_ids, null);
  if target_queue is not null then
    perform meshhook._require_pgmq_queue('target_queue', target_queue);
    if target_queue = v_name then
      perform meshhook._refuse('target_queue', target_queue, 'is the dead letter queue itself', 'Name the queue to replay to.');
    end if;
  end if;
  -- The queue's table comes before its dead letter queue's, as for whoever drops both.
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
  execute format(
    'select from pgmq.%I d where d.msg_id = any ($1) order by d.msg_id for update', 'q_' || v_name
  ) using msg_ids;
  for v_source in execute format(
    'select distinct %s from pgmq.%I d where d.msg_id = any ($1) order by 1',
    meshhook._source_queue_sql('d'), 'q_' || v_name
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
      || coalesce(v_replayed -> i.msg_id::pg_catalog.text, jsonb_build_object('status', 'missing'))
      order by i.ord
    ),
    '[]'
  )
  into v_answer
  from unnest(msg_ids) with ordinality as i(msg_id, ord);
  return meshhook._remember(v_name, 'replay', request_id, v_answer);
end
$$;
comment on function public.meshhook_replay(text, bigint[], text, text) is
  'Move dead letters back to the queues they came from, or all to target_queue, as new jobs. Return for each its new id, or why it could not go.';

create or replace function meshhook._remove(
  p_queue_name text, p_verb text, p_state text, p_msg_ids bigint[], p_request_id text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_answer pg_catalog.jsonb := meshhook._recall(p_queue_name, p_verb, p_request_id);
  v_removed bigint[];
begin
  if v_answer is not null then
    return v_answer;
  end if;
  perform meshhook._require_pgmq_queue('queue_name', p_queue_name);
  perform meshhook._check_receipts(p_msg_ids, null);
  execute format(
    $sql$
    with held as materialized (
      select q.msg_id, q.message, q.enqueued_at, %2$s as attempt
      from pgmq.%1$I q
      where q.msg_id = any ($1)
      order by q.msg_id
      for update of q
    ), gone as (
      delete from pgmq.%1$I q using held h where q.msg_id = h.msg_id
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
    $sql$,
    'q_' || p_queue_name, meshhook._attempt_sql()
  )
  into v_removed
  using p_msg_ids, p_queue_name, p_state;
  select coalesce(jsonb_agg(case when i.msg_id = any (v_removed) then 'ok' else 'missing' end order by i.ord), '[]')
  into v_answer
  from unnest(p_msg_ids) with ordinality as i(msg_id, ord);
  return meshhook._remember(p_queue_name, p_verb, p_request_id, v_answer);
end
$$;
comment on function meshhook._remove(text, text, text, bigint[], text) is
  'Delete jobs whoever holds them, with a state for the history. Return for each ok or missing.';

create or replace function public.meshhook_delete(queue_name text, msg_ids bigint[], request_id text default null)
returns jsonb
language sql
security definer -- see meshhook_list_dead_letters
set search_path = ''
as $$
  select meshhook._remove(queue_name, 'delete', 'deleted', msg_ids, request_id)
$$;
comment on function public.meshhook_delete(text, bigint[], text) is
  'Delete jobs or dead letters whoever holds them. Return for each ok or missing.';

-- A worker that is at the job hears of it when it extends its lease the next time, and cancels its handler.
create or replace function public.meshhook_cancel(queue_name text, msg_ids bigint[], request_id text default null)
returns jsonb
language sql
security definer -- see meshhook_list_dead_letters
set search_path = ''
as $$
  select meshhook._remove(queue_name, 'cancel', 'cancelled', msg_ids, request_id)
$$;
comment on function public.meshhook_cancel(text, bigint[], text) is
  'Cancel jobs, waiting or running. Return for each ok, or missing if it was not in the queue any more.';

create or replace function public.meshhook_purge(queue_name text, request_id text default null)
returns bigint
language plpgsql
security definer -- see meshhook_list_dead_letters
set search_path = ''
as $$
declare
  v_name constant pg_catalog.text := meshhook_purge.queue_name;
  v_answer pg_catalog.jsonb := meshhook._recall(v_name, 'purge', request_id);
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
comment on function public.meshhook_purge(text, text) is
  'Delete every job of a queue, running ones too, or every dead letter; return how many there were.';

revoke all on function
  public.meshhook_list_dead_letters(text, integer, bigint),
  public.meshhook_get_dead_letter(text, bigint),
  public.meshhook_group_dead_letters(text, integer),
  public.meshhook_count_dead_letters(text, integer),
  public.meshhook_replay(text, bigint[], text, text),
  public.meshhook_delete(text, bigint[], text),
  public.meshhook_cancel(text, bigint[], text),
  public.meshhook_purge(text, text)
from public, anon, authenticated;
grant execute on function
  public.meshhook_list_dead_letters(text, integer, bigint),
  public.meshhook_get_dead_letter(text, bigint),
  public.meshhook_group_dead_letters(text, integer),
  public.meshhook_count_dead_letters(text, integer),
  public.meshhook_replay(text, bigint[], text, text),
  public.meshhook_delete(text, bigint[], text),
  public.meshhook_cancel(text, bigint[], text),
  public.meshhook_purge(text, text)
to service_role;
