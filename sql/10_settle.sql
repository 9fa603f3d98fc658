-- Settles: the end of a delivery. Every verb takes receipts, changes only the jobs whose last delivery they
-- name, and answers for each:
--   ok       settled
--   lost     the job was read again since: this receipt's lease is gone, and nothing was changed
--   missing  the job is not in the queue any more
-- A settle that comes late is accepted as long as the job was not read again. A receipt without a
-- read count settles the job even if another worker holds it, as the guide's acknowledge(msg_id) does.
--
-- A retry and a release spend their receipt: repeated under it, they are "ok" and change nothing, and an
-- extension that comes after them is "lost", or it would hide a job that waits for its turn.
--
-- Each kind of settle returns a tally, a row of meshhook.totals with what it adds to them. It is
-- added at the very end, because that lock comes last.

-- The checks stand in the query itself: a function with a search_path of its own is not inlined, and
-- calling one for each outcome would cost more than the settle.
create or replace function meshhook._check_outcomes(p_outcomes jsonb)
returns text[] language plpgsql immutable
set search_path = pg_catalog, pg_temp
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
  select o.ord - 1 as position, o.value, c.part into v_bad
  from jsonb_array_elements(p_outcomes) with ordinality as o(value, ord),
  lateral (
    select case
      when jsonb_typeof(o.value) <> 'object' then ''
      when coalesce(o.value ->> 'outcome', '')
          not in ('complete', 'archive', 'retry', 'release', 'dead_letter')
        then '.outcome'
      when case when jsonb_typeof(o.value -> 'msg_id') = 'number'
          then (o.value -> 'msg_id')::numeric not between 0 and 9223372036854775807
            or (o.value -> 'msg_id')::numeric % 1 <> 0
          else true end
        then '.msg_id'
      when case coalesce(jsonb_typeof(o.value -> 'read_ct'), 'null')
          when 'number' then (o.value -> 'read_ct')::numeric not between 0 and 2147483647
            or (o.value -> 'read_ct')::numeric % 1 <> 0
          when 'null' then false
          else true end
        then '.read_ct'
      when case coalesce(jsonb_typeof(o.value -> 'seconds'), 'null')
          when 'number' then (o.value -> 'seconds')::numeric not between 0 and 31622400
          when 'null' then false
          else true end
        then '.seconds'
      when case coalesce(jsonb_typeof(o.value -> 'delay_seconds'), 'null')
          when 'number' then (o.value -> 'delay_seconds')::numeric not between 0 and 31622400
          when 'null' then false
          else true end
        then '.delay_seconds'
      when coalesce(jsonb_typeof(o.value -> 'undelivered'), 'null') not in ('boolean', 'null')
        then '.undelivered'
    end as part
    offset 0
  ) c
  where c.part is not null
  limit 1;
  if found then
    perform meshhook._refuse(
      format('outcomes[%s]%s', v_bad.position, v_bad.part),
      case v_bad.part when '' then v_bad.value else v_bad.value -> substr(v_bad.part, 2) end::text,
      'is not usable',
      'Give each outcome a msg_id and a read_ct as they were handed out, an outcome out of complete, '
      'archive, retry, release, dead_letter, and from 0 to 31622400 for seconds and delay_seconds.'
    );
  end if;
  select array_agg(distinct o.outcome) into v_kinds
  from jsonb_to_recordset(p_outcomes) as o (outcome text);
  return coalesce(v_kinds, '{}');
end
$$;
comment on function meshhook._check_outcomes is
  'Raise MH002 unless every outcome is usable; return the kinds that occur.';

create or replace function meshhook._due_time(p_text text)
returns timestamptz language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_time timestamptz;
begin
  begin
    v_time := p_text::timestamptz;
  exception when data_exception then
    perform meshhook._refuse(
      'run_at', p_text, 'is not a time', 'Give a time with its zone, such as 2027-01-01T09:00:00Z.'
    );
  end;
  perform meshhook._check_run_at('run_at', v_time);
  return v_time;
end
$$;
comment on function meshhook._due_time is
  'Return the time that an outcome names; raise MH002 where it is not usable.';

-- Several kinds of settle share this: the rows that the receipts of one outcome name, locked in the
-- order of msg_id so that two settles can never wait for each other, and each row once ("held") even if
-- two receipts name it ("matched").
create or replace function meshhook._held_sql(
  p_outcome text, p_headers text default 'null::jsonb'
)
returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select replace(replace(replace($sql$
    receipt as (
      select r.*
      from rows from (
        jsonb_to_recordset($1) as (
          outcome text, msg_id bigint, read_ct integer,
          seconds double precision, delay_seconds double precision,
          error_type text, error_message text, error_stack text,
          worker text, undelivered boolean, run_at text
        )
      ) with ordinality as r (
        outcome, msg_id, read_ct, seconds, delay_seconds,
        error_type, error_message, error_stack, worker, undelivered, run_at, ord
      )
      where r.outcome = {outcome}
    ), matched as materialized (
      select
        q.msg_id, q.read_ct, q.enqueued_at, q.message, {headers} as headers, {attempt} as attempt,
        r.ord, r.seconds, r.delay_seconds, left(r.worker, 200) as worker,
        coalesce(r.undelivered, false) as undelivered,
        case when r.run_at is not null then meshhook._due_time(r.run_at) end as run_at,
        {spent} as spent,
        left(r.error_type, 200) as error_type,
        left(r.error_message, 10000) as error_message,
        left(r.error_stack, 50000) as error_stack
      from {q} q
      join receipt r on q.msg_id = r.msg_id and (r.read_ct is null or q.read_ct = r.read_ct)
      order by q.msg_id
      for update of q
    ), held as materialized (
      select distinct on (m.msg_id) m.* from matched m where not m.spent order by m.msg_id, m.ord
    )
    $sql$,
    '{outcome}', quote_literal(p_outcome)),
    '{headers}', p_headers),
    '{spent}', case when p_outcome in ('retry', 'release', 'extend')
      then 'r.read_ct is not null and {job.handed_back}' else 'false' end)
$$;
comment on function meshhook._held_sql is
  'Return the CTEs "receipt", "matched" and "held" for one outcome of the outcomes in $1.';

create or replace function meshhook._count(p_queue_id integer, p_tally meshhook.totals)
returns void language sql
set search_path = pg_catalog, pg_temp
as $$
  -- A slot for each connection, as far as there are slots, so that settles seldom wait for each other.
  insert into meshhook.totals as t (
    queue_id, slot, completed, dead_lettered, retried, attempts, max_attempt, timed, seconds
  )
  select
    p_queue_id, pg_backend_pid() % 32, p_tally.completed, p_tally.dead_lettered, p_tally.retried,
    p_tally.attempts, p_tally.max_attempt, p_tally.timed, p_tally.seconds
  where p_tally.completed + p_tally.dead_lettered + p_tally.retried > 0
  on conflict on constraint totals_pkey do update set
    completed = t.completed + excluded.completed,
    dead_lettered = t.dead_lettered + excluded.dead_lettered,
    retried = t.retried + excluded.retried,
    attempts = t.attempts + excluded.attempts,
    max_attempt = greatest(t.max_attempt, excluded.max_attempt),
    timed = t.timed + excluded.timed,
    seconds = t.seconds + excluded.seconds
$$;
comment on function meshhook._count is 'Add a tally to the running totals of a queue.';

create or replace function meshhook._add(p_one meshhook.totals, p_two meshhook.totals)
returns meshhook.totals language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select row(
    null, null,
    coalesce(p_one.completed, 0) + coalesce(p_two.completed, 0),
    coalesce(p_one.dead_lettered, 0) + coalesce(p_two.dead_lettered, 0),
    coalesce(p_one.retried, 0) + coalesce(p_two.retried, 0),
    coalesce(p_one.attempts, 0) + coalesce(p_two.attempts, 0),
    greatest(p_one.max_attempt, p_two.max_attempt, 0),
    coalesce(p_one.timed, 0) + coalesce(p_two.timed, 0),
    coalesce(p_one.seconds, 0) + coalesce(p_two.seconds, 0)
  )::meshhook.totals
$$;
comment on function meshhook._add is 'Return the sum of two tallies.';

-- By far the most settles are these, so this has a narrower query than _held_sql(): no message is carried
-- through it, and the usual attempt is worked out without the general expression.
create or replace function meshhook._complete(
  p_queue meshhook.queues, p_outcomes jsonb, out done bigint[], out tally meshhook.totals
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sum record;
begin
  execute meshhook._sql(p_queue.queue_name, $sql$
    with receipt as (
      select r.*
      from rows from (
        jsonb_to_recordset($1) as (
          outcome text, msg_id bigint, read_ct integer, seconds double precision
        )
      ) with ordinality as r (outcome, msg_id, read_ct, seconds, ord)
      where r.outcome = 'complete'
    ), matched as materialized (
      select
        q.msg_id, q.enqueued_at, r.ord, r.seconds,
        case when $3 then left(q.message ->> 'run_id', 200) end as run_id,
        case
          when q.message -> 'attempt' = '1' and q.message -> '_meshhook' -> 'id' is null
            then least(1000000, greatest(1, q.read_ct))
          else {attempt}
        end as attempt
      from {q} q
      join receipt r on q.msg_id = r.msg_id and (r.read_ct is null or q.read_ct = r.read_ct)
      order by q.msg_id
      for update of q
    ), held as materialized (
      select distinct on (m.msg_id) m.* from matched m order by m.msg_id, m.ord
    ), gone as (
      delete from {q} q using held h where q.msg_id = h.msg_id
    ), told as (
      insert into meshhook.jobs as j (queue_id, msg_id, run_id, state, attempts, enqueued_at, seconds)
      select $2, h.msg_id, h.run_id, 'completed', h.attempt, h.enqueued_at, h.seconds
      from held h
      where $3
      on conflict on constraint jobs_pkey do update set
        run_id = excluded.run_id, state = excluded.state, attempts = excluded.attempts,
        enqueued_at = excluded.enqueued_at, finished_at = excluded.finished_at, seconds = excluded.seconds
    )
    select
      (select array_agg(m.ord) from matched m) as done,
      row(
        null, null, count(*), 0, 0, coalesce(sum(attempt), 0), coalesce(max(attempt), 0),
        count(seconds), coalesce(sum(seconds), 0)
      )::meshhook.totals as tally
    from held
  $sql$)
  into v_sum
  using p_outcomes, p_queue.queue_id, p_queue.keeps_history;
  done := v_sum.done;
  tally := v_sum.tally;
end
$$;
comment on function meshhook._complete is
  'Delete the jobs of the outcomes "complete" as done; return the positions that were settled, and their '
  'tally.';

-- The move itself is PGMQ's, because the columns of the archive differ between its versions.
create or replace function meshhook._archive(
  p_queue meshhook.queues, p_outcomes jsonb, out done bigint[], out tally meshhook.totals
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sum record;
begin
  execute meshhook._sql(p_queue.queue_name, 'with ' || meshhook._held_sql('archive') || $sql$
    , told as (
      insert into meshhook.jobs as j (queue_id, msg_id, run_id, state, attempts, enqueued_at, seconds)
      select $2, h.msg_id, left(h.message ->> 'run_id', 200), 'archived', h.attempt, h.enqueued_at, h.seconds
      from held h
      where $3
      on conflict on constraint jobs_pkey do update set
        run_id = excluded.run_id, state = excluded.state, attempts = excluded.attempts,
        enqueued_at = excluded.enqueued_at, finished_at = excluded.finished_at, seconds = excluded.seconds
    )
    select
      (select array_agg(m.ord) from matched m) as done,
      array_agg(msg_id) as msg_ids,
      row(
        null, null, count(*), 0, 0, coalesce(sum(attempt), 0), coalesce(max(attempt), 0),
        count(seconds), coalesce(sum(seconds), 0)
      )::meshhook.totals as tally
    from held
  $sql$)
  into v_sum
  using p_outcomes, p_queue.queue_id, p_queue.keeps_history;
  done := v_sum.done;
  tally := v_sum.tally;
  if v_sum.msg_ids is not null then
    perform pgmq.archive(p_queue.queue_name, v_sum.msg_ids);
  end if;
end
$$;
comment on function meshhook._archive is
  'Move the jobs of the outcomes "archive" to PGMQ''s archive as done; return the positions that were '
  'settled, and their tally.';

create or replace function meshhook._retry(
  p_queue meshhook.queues, p_outcomes jsonb, out done bigint[], out tally meshhook.totals
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sum record;
begin
  execute meshhook._sql(p_queue.queue_name, 'with ' || meshhook._held_sql('retry') || $sql$
    , again as (
      update {q} q
      set vt = case
          when h.run_at is null then clock_timestamp() + make_interval(secs => coalesce(h.delay_seconds, 0))
          else greatest(h.run_at, clock_timestamp())
        end,
        message = case when jsonb_typeof(h.message) = 'object' then h.message || jsonb_build_object(
            'attempt', h.attempt + 1,
            'last_error', h.error_message,
            'last_error_at', clock_timestamp(),
            '_meshhook', {job.state} - 'lapsed' || jsonb_build_object('reads', h.read_ct, 'id', h.msg_id)
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
      (select array_agg(m.ord) from matched m) as done,
      row(null, null, 0, 0, count(*), 0, coalesce(max(attempt), 0), 0, 0)::meshhook.totals as tally
    from held
  $sql$)
  into v_sum
  using p_outcomes, p_queue.queue_id, p_queue.keeps_history;
  done := v_sum.done;
  tally := v_sum.tally;
end
$$;
comment on function meshhook._retry is
  'Let the jobs of the outcomes "retry" become visible again after their delays, one attempt on; return the '
  'positions that were settled, and their tally.';

-- A job that is handed back at once gets its old place in the order: it has waited for its turn already.
-- Writing the attempt hides that deliveries before this one lapsed, so "lapsed" says it, until a failure is
-- reported.
create or replace function meshhook._release(p_queue meshhook.queues, p_outcomes jsonb)
returns bigint[] language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_done bigint[];
begin
  execute meshhook._sql(p_queue.queue_name, 'with ' || meshhook._held_sql('release') || $sql$
    , back as (
      update {q} q
      set vt = case
          when h.run_at > clock_timestamp() then h.run_at
          when h.run_at is null and coalesce(h.delay_seconds, 0) > 0
            then clock_timestamp() + make_interval(secs => h.delay_seconds)
          else least(clock_timestamp(), q.enqueued_at)
        end,
        message = case when jsonb_typeof(h.message) = 'object' then h.message || jsonb_build_object(
            'attempt', h.attempt,
            '_meshhook', {job.state} || jsonb_build_object('reads', h.read_ct, 'id', h.msg_id)
              || case when h.attempt > 1 and h.message -> 'attempt' is distinct from to_jsonb(h.attempt)
                then '{"lapsed": true}'::jsonb else '{}' end
          ) else h.message end
      from held h
      where q.msg_id = h.msg_id
    )
    select array_agg(m.ord) from matched m
  $sql$)
  into v_done
  using p_outcomes;
  return v_done;
end
$$;
comment on function meshhook._release is
  'Hand back the jobs of the outcomes "release", at once or after their delays, with their attempt unused; '
  'return the positions that were settled.';

create or replace function meshhook._extend(p_queue meshhook.queues, p_outcomes jsonb, p_vt timestamptz)
returns bigint[] language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_done bigint[];
begin
  execute meshhook._sql(p_queue.queue_name, 'with ' || meshhook._held_sql('extend') || $sql$
    , longer as (
      update {q} q set vt = $2 from held h where q.msg_id = h.msg_id
    )
    select array_agg(m.ord) from matched m where not m.spent
  $sql$)
  into v_done
  using p_outcomes, p_vt;
  return v_done;
end
$$;
comment on function meshhook._extend is
  'Let the leases of the outcomes "extend" end at p_vt; return the positions that were settled.';

create or replace function meshhook._statuses(p_queue meshhook.queues, p_outcomes jsonb, p_done bigint[])
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_statuses jsonb;
begin
  if cardinality(p_done) = jsonb_array_length(p_outcomes) then
    return to_jsonb(array_fill('ok'::text, array[cardinality(p_done)]));
  end if;
  execute meshhook._sql(p_queue.queue_name, $sql$
    select jsonb_agg(
      case when d.ord is not null then 'ok' when q.msg_id is not null then 'lost' else 'missing' end
      order by o.ord
    )
    from rows from (jsonb_to_recordset($1) as (msg_id bigint)) with ordinality as o(msg_id, ord)
    left join unnest($2) as d(ord) on d.ord = o.ord
    left join {q} q on q.msg_id = o.msg_id
  $sql$)
  into v_statuses
  using p_outcomes, p_done;
  return coalesce(v_statuses, '[]');
end
$$;
comment on function meshhook._statuses is
  'Return for each outcome, in order, what happened: ok, lost or missing.';

create or replace function meshhook._lock(p_queue meshhook.queues, p_outcomes jsonb)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  execute meshhook._sql(p_queue.queue_name, $sql$
    select
    from {q} q
    join jsonb_to_recordset($1) as r (msg_id bigint, read_ct integer)
      on q.msg_id = r.msg_id and (r.read_ct is null or q.read_ct = r.read_ct)
    order by q.msg_id
    for update of q
  $sql$)
  using p_outcomes;
end
$$;
comment on function meshhook._lock is
  'Lock the jobs that outcomes of more than one kind name: each kind locks only its own, so together they '
  'would not keep the order.';

create or replace function meshhook._settle_uncounted(
  p_queue meshhook.queues, p_outcomes jsonb, p_dlq_name text, out statuses jsonb, out tally meshhook.totals
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kinds constant text[] := meshhook._check_outcomes(p_outcomes);
  v_done bigint[] := '{}';
  v_part record;
begin
  if cardinality(v_kinds) > 1 then
    perform meshhook._lock(p_queue, p_outcomes);
  end if;
  if 'complete' = any (v_kinds) then
    select * into v_part from meshhook._complete(p_queue, p_outcomes);
    v_done := v_done || v_part.done;
    tally := v_part.tally;
  end if;
  if 'archive' = any (v_kinds) then
    select * into v_part from meshhook._archive(p_queue, p_outcomes);
    v_done := v_done || v_part.done;
    tally := meshhook._add(tally, v_part.tally);
  end if;
  if 'retry' = any (v_kinds) then
    select * into v_part from meshhook._retry(p_queue, p_outcomes);
    v_done := v_done || v_part.done;
    tally := meshhook._add(tally, v_part.tally);
  end if;
  if 'release' = any (v_kinds) then
    v_done := v_done || meshhook._release(p_queue, p_outcomes);
  end if;
  if 'dead_letter' = any (v_kinds) then
    select * into v_part
    from meshhook._dead_letter(
      p_queue, p_outcomes, coalesce(p_dlq_name, case when p_queue.has_dead_letters then p_queue.dlq_name end)
    );
    v_done := v_done || v_part.done;
    tally := meshhook._add(tally, v_part.tally);
  end if;
  statuses := meshhook._statuses(p_queue, p_outcomes, v_done);
end
$$;
comment on function meshhook._settle_uncounted is
  'Settle jobs, each in its own way; return for each what happened, and the tally that is still to be added '
  'to the totals.';

create or replace function meshhook._settle(
  p_queue meshhook.queues, p_outcomes jsonb, p_dlq_name text default null
)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settled record;
begin
  select * into v_settled from meshhook._settle_uncounted(p_queue, p_outcomes, p_dlq_name);
  perform meshhook._count(p_queue.queue_id, v_settled.tally);
  return v_settled.statuses;
end
$$;
comment on function meshhook._settle is
  'Settle jobs, each in its own way, and return for each what happened.';

create or replace function public.meshhook_settle(
  queue_name text, outcomes jsonb, request_id text default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
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
comment on function public.meshhook_settle is
  'Settle jobs, each in its own way (complete, archive, retry, release, dead_letter), in one transaction; '
  'return for each ok, lost or missing.';
revoke all on function public.meshhook_settle from public, anon, authenticated;
grant execute on function public.meshhook_settle to service_role;

-- The verbs below do one thing to all the jobs they are given, so their arguments are plain arrays.
create or replace function meshhook._settle_all(
  p_queue_name text, p_verb text, p_msg_ids bigint[], p_read_cts integer[], p_seconds double precision[],
  p_common jsonb, p_request_id text, p_dlq_name text default null
)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
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
    p_common || jsonb_build_object(
      'outcome', p_verb, 'msg_id', r.msg_id, 'read_ct', r.read_ct, 'seconds', r.seconds
    )
    order by r.ord
  )
  into v_outcomes
  from unnest(p_msg_ids, p_read_cts, p_seconds) with ordinality as r(msg_id, read_ct, seconds, ord)
  where r.ord <= cardinality(p_msg_ids);
  v_answer := meshhook._settle(meshhook._queue(p_queue_name), coalesce(v_outcomes, '[]'), p_dlq_name);
  return meshhook._remember(p_queue_name, p_verb, p_request_id, v_answer);
end
$$;
comment on function meshhook._settle_all is 'Settle all the jobs of the receipts in one way.';

create or replace function public.meshhook_acknowledge(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  seconds double precision[] default null, request_id text default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._settle_all(queue_name, 'complete', msg_ids, read_cts, seconds, '{}', request_id)
$$;
comment on function public.meshhook_acknowledge is
  'Delete processed jobs; seconds is how long each took. Return for each ok, lost or missing.';
revoke all on function public.meshhook_acknowledge from public, anon, authenticated;
grant execute on function public.meshhook_acknowledge to service_role;

create or replace function public.meshhook_archive(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  seconds double precision[] default null, request_id text default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._settle_all(queue_name, 'archive', msg_ids, read_cts, seconds, '{}', request_id)
$$;
comment on function public.meshhook_archive is
  'Move processed jobs to PGMQ''s archive. Return for each ok, lost or missing.';
revoke all on function public.meshhook_archive from public, anon, authenticated;
grant execute on function public.meshhook_archive to service_role;

create or replace function meshhook._timing(p_delay_seconds double precision, p_run_at timestamptz)
returns jsonb language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform meshhook._check_one_time(p_delay_seconds, p_run_at);
  return jsonb_build_object('delay_seconds', p_delay_seconds, 'run_at', p_run_at);
end
$$;
comment on function meshhook._timing is 'Return when a job is to be visible again, as an outcome has it.';

create or replace function public.meshhook_retry(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  delay_seconds double precision default 0, error_message text default null,
  error_stack text default null, request_id text default null, run_at timestamptz default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._settle_all(
    queue_name, 'retry', msg_ids, read_cts, null,
    meshhook._timing(delay_seconds, run_at)
      || jsonb_build_object('error_message', error_message, 'error_stack', error_stack),
    request_id
  )
$$;
comment on function public.meshhook_retry is
  'Settle jobs as failed: visible again after delay_seconds or at run_at under the same ids, one attempt '
  'on, the error kept. Return for each ok, lost or missing.';
revoke all on function public.meshhook_retry from public, anon, authenticated;
grant execute on function public.meshhook_retry to service_role;

create or replace function public.meshhook_release(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  delay_seconds double precision default 0, request_id text default null, run_at timestamptz default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._settle_all(
    queue_name, 'release', msg_ids, read_cts, null, meshhook._timing(delay_seconds, run_at), request_id
  )
$$;
comment on function public.meshhook_release is
  'Hand back jobs with their attempt unused, visible at once, after delay_seconds or at run_at. Return for '
  'each ok, lost or missing.';
revoke all on function public.meshhook_release from public, anon, authenticated;
grant execute on function public.meshhook_release to service_role;

create or replace function public.meshhook_dead_letter(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  error_message text default null, error_stack text default null,
  dlq_name text default null, request_id text default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._settle_all(
    queue_name, 'dead_letter', msg_ids, read_cts, null,
    jsonb_build_object('error_message', error_message, 'error_stack', error_stack),
    request_id, dlq_name
  )
$$;
comment on function public.meshhook_dead_letter is
  'Move jobs to the dead letter queue with their error. Return for each ok, lost or missing.';
revoke all on function public.meshhook_dead_letter from public, anon, authenticated;
grant execute on function public.meshhook_dead_letter to service_role;

create or replace function public.meshhook_extend(
  queue_name text, msg_ids bigint[], read_cts integer[] default null,
  vt_seconds double precision default null,
  worker jsonb default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_extend.queue_name);
  v_seconds constant double precision := coalesce(meshhook_extend.vt_seconds, v_queue.vt_seconds);
  v_vt timestamptz;
  v_outcomes jsonb;
  v_done bigint[];
begin
  perform meshhook._check_receipts(msg_ids, read_cts);
  perform meshhook._check_number('vt_seconds', v_seconds, 0, 86400);
  v_vt := clock_timestamp() + make_interval(secs => v_seconds);
  select coalesce(
    jsonb_agg(
      jsonb_build_object('outcome', 'extend', 'msg_id', r.msg_id, 'read_ct', r.read_ct) order by r.ord
    ),
    '[]'
  )
  into v_outcomes
  from unnest(msg_ids, read_cts) with ordinality as r(msg_id, read_ct, ord);
  v_done := meshhook._extend(v_queue, v_outcomes, v_vt);
  perform meshhook._seen(worker);
  return jsonb_build_object('vt', v_vt, 'statuses', meshhook._statuses(v_queue, v_outcomes, v_done));
end
$$;
comment on function public.meshhook_extend is
  'Extend the leases of claimed jobs to vt_seconds from now. Return for each ok, lost or missing.';
revoke all on function public.meshhook_extend from public, anon, authenticated;
grant execute on function public.meshhook_extend to service_role;
