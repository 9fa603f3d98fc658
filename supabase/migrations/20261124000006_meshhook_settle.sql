-- Settles: what becomes of a job that was handed out. Every verb takes receipts, changes only the jobs
-- whose last delivery they name, and says for each what happened:
--   ok       settled
--   lost     somebody has read the job since: this receipt's lease is gone, and nothing was changed
--   missing  the job is not in the queue any more
-- A settle that comes late is accepted as long as nobody else has read the job. A receipt without a
-- read count settles the job whoever holds it, as the guide's acknowledge(msg_id) does.

-- Several kinds of settle share this: the rows that the receipts of one outcome name, locked in the
-- order of msg_id so that two settles can never wait for each other, and each row once ("held") even if
-- two receipts name it ("matched").
create or replace function meshhook._held_sql(p_queue_name text, p_outcome text, p_headers text default 'null::jsonb')
returns text
language sql
stable
set search_path = ''
as $$
  select format(
    $sql$
    receipt as (
      select r.*
      from rows from (
        jsonb_to_recordset($1) as (
          outcome text, msg_id bigint, read_ct integer, seconds double precision, delay_seconds double precision,
          error_type text, error_message text, error_stack text, worker text, undelivered boolean
        )
      ) with ordinality as r (
        outcome, msg_id, read_ct, seconds, delay_seconds,
        error_type, error_message, error_stack, worker, undelivered, ord
      )
      where r.outcome = %3$L
    ), matched as materialized (
      select
        q.msg_id, q.read_ct, q.enqueued_at, q.message, %4$s as headers, %2$s as attempt,
        r.ord, r.seconds, r.delay_seconds, r.worker, coalesce(r.undelivered, false) as undelivered,
        left(r.error_type, 200) as error_type,
        left(r.error_message, 10000) as error_message,
        left(r.error_stack, 50000) as error_stack
      from pgmq.%1$I q
      join receipt r on q.msg_id = r.msg_id and (r.read_ct is null or q.read_ct = r.read_ct)
      order by q.msg_id
      for update of q
    ), held as materialized (
      select distinct on (m.msg_id) m.* from matched m order by m.msg_id, m.ord
    )
    $sql$,
    'q_' || p_queue_name, meshhook._attempt_sql(), p_outcome, p_headers
  )
$$;
comment on function meshhook._held_sql(text, text, text) is
  'Return the CTEs "receipt", "matched" and "held" for one outcome of the outcomes in $1.';

create or replace function meshhook._count(
  p_queue_id integer,
  p_completed bigint default 0, p_dead_lettered bigint default 0, p_retried bigint default 0,
  p_attempts bigint default 0, p_max_attempt integer default 0,
  p_timed bigint default 0, p_seconds double precision default 0
)
returns void
language sql
set search_path = ''
as $$
  -- One slot for each connection, as far as they go: whoever settles waits for hardly anybody.
  insert into meshhook.totals as t (
    queue_id, slot, completed, dead_lettered, retried, attempts, max_attempt, timed, seconds
  )
  values (
    p_queue_id, pg_backend_pid() % 32, p_completed, p_dead_lettered, p_retried,
    p_attempts, coalesce(p_max_attempt, 0), p_timed, coalesce(p_seconds, 0)
  )
  on conflict on constraint totals_pkey do update set
    completed = t.completed + excluded.completed,
    dead_lettered = t.dead_lettered + excluded.dead_lettered,
    retried = t.retried + excluded.retried,
    attempts = t.attempts + excluded.attempts,
    max_attempt = greatest(t.max_attempt, excluded.max_attempt),
    timed = t.timed + excluded.timed,
    seconds = t.seconds + excluded.seconds
$$;
comment on function meshhook._count(integer, bigint, bigint, bigint, bigint, integer, bigint, double precision) is
  'Add to the running totals of a queue.';

create or replace function meshhook._complete(p_queue meshhook.queues, p_outcomes jsonb)
returns bigint[]
language plpgsql
set search_path = ''
as $$
declare
  v_done bigint[];
  v_sum record;
begin
  execute format(
    $sql$
    with %2$s, gone as (
      delete from pgmq.%1$I q using held h where q.msg_id = h.msg_id
    ), told as (
      insert into meshhook.jobs as j (queue_id, msg_id, run_id, state, attempts, enqueued_at, seconds)
      select $2, h.msg_id, left(h.message ->> 'run_id', 200), 'completed', h.attempt, h.enqueued_at, h.seconds
      from held h
      where $3
      on conflict on constraint jobs_pkey do update set
        run_id = excluded.run_id, state = excluded.state, attempts = excluded.attempts,
        enqueued_at = excluded.enqueued_at, finished_at = excluded.finished_at, seconds = excluded.seconds
    )
    select
      (select array_agg(m.ord) from matched m) as done,
      count(*) as jobs, coalesce(sum(attempt), 0) as attempts, max(attempt) as max_attempt,
      count(seconds) as timed, sum(seconds) as seconds
    from held
    $sql$,
    'q_' || p_queue.queue_name, meshhook._held_sql(p_queue.queue_name, 'complete')
  )
  into v_sum
  using p_outcomes, p_queue.queue_id, p_queue.keeps_history;
  if v_sum.jobs > 0 then
    perform meshhook._count(
      p_queue.queue_id, p_completed => v_sum.jobs, p_attempts => v_sum.attempts,
      p_max_attempt => v_sum.max_attempt, p_timed => v_sum.timed, p_seconds => v_sum.seconds
    );
  end if;
  return v_sum.done;
end
$$;
comment on function meshhook._complete(meshhook.queues, jsonb) is
  'Delete the jobs of the outcomes "complete" as done; return the positions that were settled.';

-- The move itself is PGMQ's, because the columns of the archive differ between its versions.
create or replace function meshhook._archive(p_queue meshhook.queues, p_outcomes jsonb)
returns bigint[]
language plpgsql
set search_path = ''
as $$
declare
  v_sum record;
begin
  execute format(
    $sql$
    with %1$s, told as (
      insert into meshhook.jobs as j (queue_id, msg_id, run_id, state, attempts, enqueued_at, seconds)
      select $2, h.msg_id, left(h.message ->> 'run_id', 200), 'archived', h.attempt, h.enqueued_at, h.seconds
      from held h
      where $3
      on conflict on constraint jobs_pkey do update set
        run_id = excluded.run_id, state = excluded.state, attempts = excluded.attempts,
        enqueued_at = excluded.enqueued_at, finished_at = excluded.finished_at, seconds = excluded.seconds
    )
    select
      (select array_agg(m.ord) from matched m) as done, array_agg(msg_id) as msg_ids,
      count(*) as jobs, coalesce(sum(attempt), 0) as attempts, max(attempt) as max_attempt,
      count(seconds) as timed, sum(seconds) as seconds
    from held
    $sql$,
    meshhook._held_sql(p_queue.queue_name, 'archive')
  )
  into v_sum
  using p_outcomes, p_queue.queue_id, p_queue.keeps_history;
  if v_sum.jobs > 0 then
    perform pgmq.archive(p_queue.queue_name, v_sum.msg_ids);
    perform meshhook._count(
      p_queue.queue_id, p_completed => v_sum.jobs, p_attempts => v_sum.attempts,
      p_max_attempt => v_sum.max_attempt, p_timed => v_sum.timed, p_seconds => v_sum.seconds
    );
  end if;
  return v_sum.done;
end
$$;
comment on function meshhook._archive(meshhook.queues, jsonb) is
  'Move the jobs of the outcomes "archive" to PGMQ''s archive as done; return the positions that were settled.';

create or replace function meshhook._state_sql(p_row text)
returns text
language sql
immutable
set search_path = ''
as $$
  select format(
    'case when jsonb_typeof(%1$s.message -> ''_meshhook'') = ''object'' then %1$s.message -> ''_meshhook'' else ''{}'' end',
    p_row
  )
$$;
comment on function meshhook._state_sql(text) is
  'Return the SQL expression for what MeshHook keeps in a message under its reserved key.';

create or replace function meshhook._retry(p_queue meshhook.queues, p_outcomes jsonb)
returns bigint[]
language plpgsql
set search_path = ''
as $$
declare
  v_sum record;
begin
  execute format(
    $sql$
    with %2$s, again as (
      update pgmq.%1$I q
      set vt = clock_timestamp() + make_interval(secs => coalesce(h.delay_seconds, 0)),
        message = case when jsonb_typeof(h.message) = 'object' then h.message || jsonb_build_object(
            'attempt', h.attempt + 1,
            'last_error', h.error_message,
            'last_error_at', clock_timestamp(),
            '_meshhook', %3$s || jsonb_build_object('reads', h.read_ct)
          ) else h.message end
      from held h
      where q.msg_id = h.msg_id
    ), told as (
      insert into meshhook.attempts as a (
        queue_id, msg_id, read_ct, attempt, outcome, error_type, error_message, error_stack, worker, seconds
      )
      select
        $2, h.msg_id, h.read_ct, h.attempt, 'retried',
        h.error_type, h.error_message, h.error_stack, h.worker, h.seconds
      from held h
      where $3
      on conflict on constraint attempts_pkey do nothing
    )
    select
      (select array_agg(m.ord) from matched m) as done, count(*) as jobs, max(attempt) as max_attempt
    from held
    $sql$,
    'q_' || p_queue.queue_name, meshhook._held_sql(p_queue.queue_name, 'retry'), meshhook._state_sql('h')
  )
  into v_sum
  using p_outcomes, p_queue.queue_id, p_queue.keeps_history;
  if v_sum.jobs > 0 then
    perform meshhook._count(p_queue.queue_id, p_retried => v_sum.jobs, p_max_attempt => v_sum.max_attempt);
  end if;
  return v_sum.done;
end
$$;
comment on function meshhook._retry(meshhook.queues, jsonb) is
  'Let the jobs of the outcomes "retry" become visible again after their delays, one attempt on; return the positions that were settled.';

-- A job that is handed back at once gets its old place in the order: it has waited for its turn already.
create or replace function meshhook._release(p_queue meshhook.queues, p_outcomes jsonb)
returns bigint[]
language plpgsql
set search_path = ''
as $$
declare
  v_done bigint[];
begin
  execute format(
    $sql$
    with %2$s, back as (
      update pgmq.%1$I q
      set vt = case
          when coalesce(h.delay_seconds, 0) > 0 then clock_timestamp() + make_interval(secs => h.delay_seconds)
          else least(clock_timestamp(), q.enqueued_at)
        end,
        message = case when jsonb_typeof(h.message) = 'object' then h.message || jsonb_build_object(
            'attempt', h.attempt,
            '_meshhook', %3$s || jsonb_build_object('reads', h.read_ct)
          ) else h.message end
      from held h
      where q.msg_id = h.msg_id
    )
    select array_agg(m.ord) from matched m
    $sql$,
    'q_' || p_queue.queue_name, meshhook._held_sql(p_queue.queue_name, 'release'), meshhook._state_sql('h')
  )
  into v_done
  using p_outcomes;
  return v_done;
end
$$;
comment on function meshhook._release(meshhook.queues, jsonb) is
  'Hand back the jobs of the outcomes "release", at once or after their delays, with their attempt unused; return the positions that were settled.';

create or replace function meshhook._extend(p_queue meshhook.queues, p_outcomes jsonb, p_vt timestamptz)
returns bigint[]
language plpgsql
set search_path = ''
as $$
declare
  v_done bigint[];
begin
  execute format(
    $sql$
    with %2$s, longer as (
      update pgmq.%1$I q set vt = $2 from held h where q.msg_id = h.msg_id
    )
    select array_agg(m.ord) from matched m
    $sql$,
    'q_' || p_queue.queue_name, meshhook._held_sql(p_queue.queue_name, 'extend')
  )
  into v_done
  using p_outcomes, p_vt;
  return v_done;
end
$$;
comment on function meshhook._extend(meshhook.queues, jsonb, timestamptz) is
  'Let the leases of the outcomes "extend" end at p_vt; return the positions that were settled.';

create or replace function meshhook._check_outcomes(p_outcomes jsonb)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_kinds text[];
  v_bad record;
begin
  if jsonb_typeof(p_outcomes) is distinct from 'array' then
    perform meshhook._refuse('outcomes', p_outcomes::text, 'must be an array of objects', 'Send an array.');
  end if;
  if jsonb_array_length(p_outcomes) > 10000 then
    perform meshhook._refuse(
      'outcomes', jsonb_array_length(p_outcomes)::text, 'holds more than 10000 outcomes', 'Split the call.'
    );
  end if;
  select o.ord - 1 as position, o.value into v_bad
  from jsonb_array_elements(p_outcomes) with ordinality as o(value, ord)
  where jsonb_typeof(o.value) <> 'object'
    or jsonb_typeof(o.value -> 'msg_id') is distinct from 'number'
    or coalesce(o.value ->> 'outcome', '') not in ('complete', 'archive', 'retry', 'release', 'dead_letter')
    or not coalesce(jsonb_typeof(o.value -> 'delay_seconds') in ('number', 'null'), true)
  limit 1;
  if found then
    perform meshhook._refuse(
      format('outcomes[%s]', v_bad.position), v_bad.value::text, 'is not an outcome',
      'Give each a msg_id, a read_ct, an outcome out of complete, archive, retry, release, dead_letter, and numbers for durations.'
    );
  end if;
  select array_agg(distinct o.outcome) into v_kinds
  from jsonb_to_recordset(p_outcomes) as o (outcome text);
  if v_kinds && array['retry', 'release'] then
    select o.ord - 1 as position, o.delay_seconds into v_bad
    from rows from (jsonb_to_recordset(p_outcomes) as (delay_seconds double precision))
      with ordinality as o(delay_seconds, ord)
    where not coalesce(o.delay_seconds >= 0 and o.delay_seconds <= 31622400, true)
    limit 1;
    if found then
      perform meshhook._check_delay(format('outcomes[%s].delay_seconds', v_bad.position), v_bad.delay_seconds);
    end if;
  end if;
  return coalesce(v_kinds, '{}');
end
$$;
comment on function meshhook._check_outcomes(jsonb) is
  'Raise MH002 unless every outcome is usable; return the kinds that occur.';

create or replace function meshhook._statuses(p_queue meshhook.queues, p_outcomes jsonb, p_done bigint[])
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_statuses jsonb;
begin
  if cardinality(p_done) = jsonb_array_length(p_outcomes) then
    return to_jsonb(array_fill('ok'::text, array[cardinality(p_done)]));
  end if;
  execute format(
    $sql$
    select jsonb_agg(
      case when d.ord is not null then 'ok' when q.msg_id is not null then 'lost' else 'missing' end
      order by o.ord
    )
    from rows from (jsonb_to_recordset($1) as (msg_id bigint)) with ordinality as o(msg_id, ord)
    left join unnest($2) as d(ord) on d.ord = o.ord
    left join pgmq.%I q on q.msg_id = o.msg_id
    $sql$,
    'q_' || p_queue.queue_name
  )
  into v_statuses
  using p_outcomes, p_done;
  return coalesce(v_statuses, '[]');
end
$$;
comment on function meshhook._statuses(meshhook.queues, jsonb, bigint[]) is
  'Return for each outcome, in order, what happened: ok, lost or missing.';

create or replace function meshhook._settle(p_queue meshhook.queues, p_outcomes jsonb, p_dlq_name text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_kinds constant text[] := meshhook._check_outcomes(p_outcomes);
  v_done bigint[] := '{}';
begin
  if 'complete' = any (v_kinds) then
    v_done := v_done || meshhook._complete(p_queue, p_outcomes);
  end if;
  if 'archive' = any (v_kinds) then
    v_done := v_done || meshhook._archive(p_queue, p_outcomes);
  end if;
  if 'retry' = any (v_kinds) then
    v_done := v_done || meshhook._retry(p_queue, p_outcomes);
  end if;
  if 'release' = any (v_kinds) then
    v_done := v_done || meshhook._release(p_queue, p_outcomes);
  end if;
  if 'dead_letter' = any (v_kinds) then
    v_done := v_done || meshhook._dead_letter(p_queue, p_outcomes, coalesce(p_dlq_name, p_queue.dlq_name));
  end if;
  return meshhook._statuses(p_queue, p_outcomes, v_done);
end
$$;
comment on function meshhook._settle(meshhook.queues, jsonb, text) is
  'Settle jobs, each in its own way, and return for each what happened.';

create or replace function public.meshhook_settle(queue_name text, outcomes jsonb, request_id text default null)
returns jsonb
language plpgsql
security definer -- the tables of PGMQ and MeshHook belong to the role that applied the migrations
set search_path = ''
as $$
declare
  v_name constant text := meshhook_settle.queue_name;
  v_answer jsonb := meshhook._recall(v_name, 'settle', request_id);
begin
  return coalesce(
    v_answer,
    meshhook._remember(v_name, 'settle', request_id, meshhook._settle(meshhook._queue(v_name), outcomes))
  );
end
$$;
comment on function public.meshhook_settle(text, jsonb, text) is
  'Settle jobs, each in its own way (complete, archive, retry, release, dead_letter), in one transaction; return for each ok, lost or missing.';

-- The verbs below do one thing to all the jobs they are given, so their arguments are plain arrays.
create or replace function meshhook._settle_all(
  p_queue_name text, p_verb text, p_msg_ids bigint[], p_read_cts integer[], p_seconds double precision[],
  p_common jsonb, p_request_id text, p_dlq_name text default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_answer jsonb := meshhook._recall(p_queue_name, p_verb, p_request_id);
  v_outcomes jsonb;
begin
  if v_answer is not null then
    return v_answer;
  end if;
  perform meshhook._check_receipts(p_msg_ids, p_read_cts);
  select jsonb_agg(
    p_common || jsonb_build_object('outcome', p_verb, 'msg_id', r.msg_id, 'read_ct', r.read_ct, 'seconds', r.seconds)
    order by r.ord
  )
  into v_outcomes
  from unnest(p_msg_ids, p_read_cts, p_seconds) with ordinality as r(msg_id, read_ct, seconds, ord)
  where r.ord <= cardinality(p_msg_ids);
  v_answer := meshhook._settle(meshhook._queue(p_queue_name), coalesce(v_outcomes, '[]'), p_dlq_name);
  return meshhook._remember(p_queue_name, p_verb, p_request_id, v_answer);
end
$$;
comment on function meshhook._settle_all(text, text, bigint[], integer[], double precision[], jsonb, text, text) is
  'Settle all the jobs of the receipts in one way.';

create or replace function public.meshhook_acknowledge(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  seconds double precision[] default null, request_id text default null
)
returns jsonb
language sql
security definer -- see meshhook_settle
set search_path = ''
as $$
  select meshhook._settle_all(queue_name, 'complete', msg_ids, read_cts, seconds, '{}', request_id)
$$;
comment on function public.meshhook_acknowledge(text, bigint[], integer[], double precision[], text) is
  'Delete processed jobs; seconds is how long each took. Return for each ok, lost or missing.';

create or replace function public.meshhook_archive(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  seconds double precision[] default null, request_id text default null
)
returns jsonb
language sql
security definer -- see meshhook_settle
set search_path = ''
as $$
  select meshhook._settle_all(queue_name, 'archive', msg_ids, read_cts, seconds, '{}', request_id)
$$;
comment on function public.meshhook_archive(text, bigint[], integer[], double precision[], text) is
  'Move processed jobs to PGMQ''s archive. Return for each ok, lost or missing.';

create or replace function public.meshhook_retry(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  delay_seconds double precision default 0, error_message text default null,
  error_stack text default null, request_id text default null
)
returns jsonb
language sql
security definer -- see meshhook_settle
set search_path = ''
as $$
  select meshhook._settle_all(
    queue_name, 'retry', msg_ids, read_cts, null,
    jsonb_build_object(
      'delay_seconds', delay_seconds, 'error_message', error_message, 'error_stack', error_stack
    ),
    request_id
  )
$$;
comment on function public.meshhook_retry(text, bigint[], integer[], double precision, text, text, text) is
  'Settle jobs as failed: visible again after delay_seconds under the same ids, one attempt on, the error kept. Return for each ok, lost or missing.';

create or replace function public.meshhook_release(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  delay_seconds double precision default 0, request_id text default null
)
returns jsonb
language sql
security definer -- see meshhook_settle
set search_path = ''
as $$
  select meshhook._settle_all(
    queue_name, 'release', msg_ids, read_cts, null, jsonb_build_object('delay_seconds', delay_seconds), request_id
  )
$$;
comment on function public.meshhook_release(text, bigint[], integer[], double precision, text) is
  'Hand back jobs with their attempt unused, visible at once or after delay_seconds. Return for each ok, lost or missing.';

create or replace function public.meshhook_dead_letter(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  error_message text default null, error_stack text default null,
  dlq_name text default null, request_id text default null
)
returns jsonb
language sql
security definer -- see meshhook_settle
set search_path = ''
as $$
  select meshhook._settle_all(
    queue_name, 'dead_letter', msg_ids, read_cts, null,
    jsonb_build_object('error_message', error_message, 'error_stack', error_stack),
    request_id, dlq_name
  )
$$;
comment on function public.meshhook_dead_letter(text, bigint[], integer[], text, text, text, text) is
  'Move jobs to the dead letter queue with their error. Return for each ok, lost or missing.';

create or replace function public.meshhook_extend(
  queue_name text, msg_ids bigint[], read_cts integer[] default null, vt_seconds double precision default null
)
returns jsonb
language plpgsql
security definer -- see meshhook_settle
set search_path = ''
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_extend.queue_name);
  v_seconds constant double precision := coalesce(meshhook_extend.vt_seconds, v_queue.vt_seconds);
  v_vt constant timestamptz := clock_timestamp() + make_interval(secs => least(v_seconds, 86400));
  v_outcomes jsonb;
begin
  perform meshhook._check_receipts(msg_ids, read_cts);
  perform meshhook._check_number('vt_seconds', v_seconds, 0, 86400);
  select coalesce(
    jsonb_agg(jsonb_build_object('outcome', 'extend', 'msg_id', r.msg_id, 'read_ct', r.read_ct) order by r.ord), '[]'
  )
  into v_outcomes
  from unnest(msg_ids, read_cts) with ordinality as r(msg_id, read_ct, ord);
  return jsonb_build_object(
    'vt', v_vt,
    'statuses', meshhook._statuses(v_queue, v_outcomes, meshhook._extend(v_queue, v_outcomes, v_vt))
  );
end
$$;
comment on function public.meshhook_extend(text, bigint[], integer[], double precision) is
  'Extend the leases of claimed jobs to vt_seconds from now. Return for each ok, lost or missing.';

revoke all on function
  public.meshhook_settle(text, jsonb, text),
  public.meshhook_acknowledge(text, bigint[], integer[], double precision[], text),
  public.meshhook_archive(text, bigint[], integer[], double precision[], text),
  public.meshhook_retry(text, bigint[], integer[], double precision, text, text, text),
  public.meshhook_release(text, bigint[], integer[], double precision, text),
  public.meshhook_dead_letter(text, bigint[], integer[], text, text, text, text),
  public.meshhook_extend(text, bigint[], integer[], double precision)
from public, anon, authenticated;
grant execute on function
  public.meshhook_settle(text, jsonb, text),
  public.meshhook_acknowledge(text, bigint[], integer[], double precision[], text),
  public.meshhook_archive(text, bigint[], integer[], double precision[], text),
  public.meshhook_retry(text, bigint[], integer[], double precision, text, text, text),
  public.meshhook_release(text, bigint[], integer[], double precision, text),
  public.meshhook_dead_letter(text, bigint[], integer[], text, text, text, text),
  public.meshhook_extend(text, bigint[], integer[], double precision)
to service_role;
