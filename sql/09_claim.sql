-- Claims: which jobs come next.

create or replace function meshhook._check_claim(
  p_quantity integer, p_vt_seconds double precision, p_max_attempts integer, p_max_bytes integer
)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform meshhook._check_number('quantity', p_quantity, 1, 1000);
  perform meshhook._check_number('vt_seconds', p_vt_seconds, 0, 86400);
  perform meshhook._check_number('max_attempts', coalesce(p_max_attempts, 1), 1, 1000000);
  perform meshhook._check_number('max_bytes', p_max_bytes, 1, 67108864);
end
$$;
comment on function meshhook._check_claim is 'Raise MH002 unless the arguments of a claim are usable.';

-- PGMQ's own read() walks the primary key past every row that is not visible. This one follows PGMQ's
-- index on vt: visible first, oldest first, and no step for a delayed, claimed or later job. Two things
-- keep it that way. The time is a parameter, because an index cannot be searched for a volatile
-- function. And "order by vt" stands alone: the index gives rows of one vt in the order in which they
-- were written, while a second sort key would have all of them sorted before the first is taken.
--
-- "materialized" and "offset 0" have each expression worked out once for a row, not once for each use.
--
-- The answer is held in memory whole by everyone it passes, so it is bounded by bytes too: jobs are taken
-- until p_max_bytes is reached, the first one however large it is. A message counts with its size in the
-- table, or, where that is of its compressed form, as text.
--
-- Nearly every message is as the SDK sends it, with attempt 1 and the queue's own maximum ("is_plain"): that
-- it is well-formed and which attempt it is needs none of the general expressions, and they cost the most.
create or replace function meshhook._claim_rows(
  p_queue meshhook.queues, p_quantity integer, p_vt timestamptz, p_max_attempts integer, p_max_bytes integer,
  p_due_from timestamptz,
  out jobs json, out msg_ids bigint[], out read_cts integer[], out unfit jsonb, out lapsed jsonb,
  out claimed integer, out bytes bigint, out first_due timestamptz
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- $1 now, $2 quantity, $3 vt, $4 the worker's max_attempts, $5 the queue's, $6 max_bytes, $7 the queue's
  -- max_attempts as JSON, $8 since when
  execute meshhook._sql(p_queue.queue_name, replace(
    $sql$
    with due as materialized (
      select
        q.msg_id, q.vt,
        coalesce(
          case when pg_column_compression(q.message) is null then pg_column_size(q.message)
            else octet_length(q.message::text) end,
          0
        ) as bytes
      from {q} q
      where q.vt <= $1 {since}
      order by q.vt
      limit $2
      for update skip locked
    ), fitting as materialized (
      select w.*
      from (
        select due.*, sum(due.bytes) over (rows unbounded preceding) - due.bytes as bytes_before from due
      ) w
      where w.bytes_before < $6
    ), taken as (
      -- An array, because a join with "fitting" may read the whole queue instead of its index.
      update {q} q
      set vt = $3, read_ct = q.read_ct + 1
      where q.msg_id = any (array(select f.msg_id from fitting f))
      returning q.msg_id, q.read_ct, q.enqueued_at, q.message
    ), job as materialized (
      select
        q.*, f.vt as due_vt, f.bytes, u.malformed,
        case
          when u.is_plain and p.state -> 'id' is null then least(1000000, greatest(1, q.read_ct))
          when u.malformed is null then {attempt}
        end as attempt,
        case when u.malformed is null then coalesce(
          case
            when p.state -> 'default_max_attempts' = 'true' then null
            when p.max_attempts = $7 then $5
            when jsonb_typeof(p.max_attempts) = 'number' then least(1000000, p.max_attempts::numeric)::integer
          end,
          $4, $5
        ) end as max_attempts,
        u.malformed is null and q.read_ct > 1
          and not coalesce(
            p.state @> jsonb_build_object('id', q.msg_id, 'reads', q.read_ct - 1), false
          ) as after_lapse
      from taken q
      join fitting f on f.msg_id = q.msg_id,
      lateral (
        select
          q.message -> 'attempt' as attempt, q.message -> 'max_attempts' as max_attempts,
          q.message -> '_meshhook' as state
        offset 0
      ) p,
      lateral (
        select s.is_plain, case
          when s.is_plain then null
          when jsonb_typeof(q.message) is distinct from 'object' then 'the message is not a JSON object'
          when case when jsonb_typeof(p.attempt) = 'number'
              then p.attempt::numeric not between 1 and 1000000
                or p.attempt::numeric <> trunc(p.attempt::numeric)
              else p.attempt is not null end
            then '"attempt" is not a whole number from 1 to 1000000'
          when case when jsonb_typeof(p.max_attempts) = 'number'
              then p.max_attempts::numeric not between 1 and 1000000
                or p.max_attempts::numeric <> trunc(p.max_attempts::numeric)
              else p.max_attempts is not null end
            then '"max_attempts" is not a whole number from 1 to 1000000'
        end as malformed
        from (select coalesce(p.attempt = '1' and p.max_attempts = $7, false) as is_plain) s
        offset 0
      ) u
    )
    select
      json_agg(handed_out order by j.due_vt) filter (where j.attempt <= j.max_attempts),
      array_agg(j.msg_id order by j.due_vt) filter (where j.attempt <= j.max_attempts),
      array_agg(j.read_ct order by j.due_vt) filter (where j.attempt <= j.max_attempts),
      jsonb_agg(
        jsonb_build_object(
          'msg_id', j.msg_id, 'read_ct', j.read_ct, 'malformed', j.malformed,
          'after_lapse', j.after_lapse, 'last_error', j.message -> 'last_error'
        )
      ) filter (where j.malformed is not null or j.attempt > j.max_attempts),
      jsonb_agg(jsonb_build_object('msg_id', j.msg_id, 'read_ct', j.read_ct - 1, 'attempt', j.attempt - 1))
        filter (where j.after_lapse),
      count(*)::integer,
      coalesce(sum(j.bytes) filter (where j.attempt <= j.max_attempts), 0)::bigint,
      min(j.due_vt)
    from job j,
    lateral (
      select j.msg_id, j.read_ct, j.enqueued_at, j.attempt, j.max_attempts, j.message
    ) handed_out
    $sql$,
    -- As a pair, because Postgres takes a range of one column for a handful of rows, and sorts them.
    '{since}', case when p_due_from > '-infinity' then 'and (q.vt, q.msg_id) >= ($8, 0)' else '' end
  ))
  into jobs, msg_ids, read_cts, unfit, lapsed, claimed, bytes, first_due
  using clock_timestamp(), p_quantity, p_vt, p_max_attempts, p_queue.max_attempts, p_max_bytes,
    to_jsonb(p_queue.max_attempts), p_due_from;
end
$$;
comment on function meshhook._claim_rows is
  'Claim up to so many rows due since then: those to hand out, those unfit to be, and deliveries that '
  'lapsed before.';

create or replace function meshhook._record_lapses(p_queue meshhook.queues, p_lapsed jsonb)
returns void language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into meshhook.attempts (queue_id, msg_id, read_ct, attempt, outcome, error_type, error_message)
  select
    p_queue.queue_id, l.msg_id, l.read_ct, l.attempt, 'lapsed', 'LeaseExpired',
    'The worker did not settle this delivery: it crashed, was killed or lost its lease.'
  from jsonb_to_recordset(p_lapsed) as l (msg_id bigint, read_ct integer, attempt integer)
  where p_queue.keeps_history
  on conflict on constraint attempts_pkey do nothing
$$;
comment on function meshhook._record_lapses is
  'Keep deliveries that were never settled in the history, when the next delivery shows them.';

-- The read count that this claim added to an unfit job is no delivery: no worker got it.
create or replace function meshhook._bury_unfit(p_queue meshhook.queues, p_unfit jsonb)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcomes jsonb;
begin
  select jsonb_agg(
    jsonb_build_object(
      'outcome', 'dead_letter', 'msg_id', u.msg_id, 'read_ct', u.read_ct, 'undelivered', true
    )
    || case
      when u.malformed is not null then
        jsonb_build_object(
          'error_type', 'MalformedMessage', 'error_message', 'MalformedMessage: ' || u.malformed
        )
      when u.after_lapse then
        jsonb_build_object(
          'error_type', 'LeaseExpired',
          'error_message',
          'LeaseExpired: the last attempt was delivered and never settled; '
          'its worker crashed, was killed or lost its lease'
        )
      when u.read_ct = 1 then
        jsonb_build_object(
          'error_type', 'NoAttemptsLeft',
          'error_message',
          'NoAttemptsLeft: the job came into the queue past its last attempt and was never delivered'
        )
      else jsonb_build_object('error_message', coalesce(u.last_error, 'unknown error'))
    end
  )
  into v_outcomes
  from jsonb_to_recordset(p_unfit) as u (
    msg_id bigint, read_ct integer, malformed text, after_lapse boolean, last_error text
  );
  perform meshhook._settle(p_queue, v_outcomes);
  return (
    select jsonb_agg(jsonb_build_object('msg_id', o -> 'msg_id', 'error_message', o -> 'error_message'))
    from jsonb_array_elements(v_outcomes) o
  );
end
$$;
comment on function meshhook._bury_unfit is
  'Move claimed jobs that may not be handed out to the dead letter queue, and return which and why.';

-- A claim walks the index of vt from its beginning, past the entries of jobs that are gone. Those cost
-- nothing once they are known to be dead to all, but a long transaction anywhere in the database keeps that
-- from being known, and then each claim walks past every job that was done since that transaction began. So
-- a connection that has walked past many remembers where it found the first live one, and starts there the
-- next time, or a second ago, for what is being committed. What came in behind that (a job handed back, an
-- enqueue that was committed late, a row that was locked) is found by a walk from the beginning: as often as
-- such walks take a twentieth of the time.
create or replace function meshhook._due_from(p_queue_id bigint)
returns timestamptz language sql
set search_path = pg_catalog, pg_temp
as $$
  select case when clock_timestamp() < to_timestamp(split_part(m.start, ' ', 2)::double precision)
    then to_timestamp(split_part(m.start, ' ', 1)::double precision)
    else '-infinity'::timestamptz end
  from (select current_setting('meshhook.due_from_' || p_queue_id, true) as start) m
  where m.start <> ''
$$;
comment on function meshhook._due_from is
  'Return from where on this connection looks for due jobs of a queue now; null for from the beginning, '
  'always.';

create or replace function meshhook._start_next_at(
  p_queue_id bigint, p_due_from timestamptz, p_first_due timestamptz, p_began timestamptz, p_is_long boolean
)
returns void language sql
set search_path = pg_catalog, pg_temp
as $$
  select set_config(
    m.name,
    case when p_due_from = '-infinity' and not p_is_long then ''
      else
        extract(epoch from least(p_first_due, p_began - interval '1 second')) || ' '
        || case when p_due_from = '-infinity'
          then extract(epoch from clock_timestamp() + 20 * (clock_timestamp() - p_began))::text
          else split_part(current_setting(m.name), ' ', 2) end
    end,
    false
  )
  from (select 'meshhook.due_from_' || p_queue_id as name) m
$$;
comment on function meshhook._start_next_at is
  'Remember, for this connection, where the next claim may start and when one must walk from the beginning.';

-- Jobs unfit to be handed out do not use up the quantity: the claim goes on behind them, past up to a
-- thousand. An answer with neither jobs nor dead letters means that nothing is due.
create or replace function meshhook._claim(
  p_queue meshhook.queues, p_quantity integer, p_vt timestamptz, p_max_attempts integer, p_max_bytes integer,
  out jobs json, out msg_ids bigint[], out read_cts integer[], out bytes bigint, out dead_lettered jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_index constant oid := to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name || '_vt_idx'));
  v_walked constant bigint := pg_stat_get_xact_tuples_returned(v_index);
  v_began constant timestamp with time zone := clock_timestamp();
  v_due_from constant timestamp with time zone := meshhook._due_from(p_queue.queue_id);
  v_first_due timestamp with time zone;
  v_is_long boolean;
  v_round record;
begin
  dead_lettered := '[]';
  for i in 1..greatest(1, 1000 / p_quantity) loop
    select * into v_round from meshhook._claim_rows(
      p_queue, p_quantity, p_vt, p_max_attempts, p_max_bytes, coalesce(v_due_from, '-infinity')
    );
    v_first_due := coalesce(v_first_due, v_round.first_due);
    if v_round.lapsed is not null then
      perform meshhook._record_lapses(p_queue, v_round.lapsed);
    end if;
    if v_round.unfit is not null then
      dead_lettered := dead_lettered || meshhook._bury_unfit(p_queue, v_round.unfit);
    end if;
    exit when v_round.jobs is not null or v_round.claimed = 0;
  end loop;
  v_is_long := pg_stat_get_xact_tuples_returned(v_index) - v_walked >= 10000;
  if v_is_long or v_due_from is not null then
    perform meshhook._start_next_at(
      p_queue.queue_id, coalesce(v_due_from, '-infinity'), v_first_due, v_began, v_is_long
    );
  end if;
  jobs := coalesce(v_round.jobs, '[]');
  msg_ids := v_round.msg_ids;
  read_cts := v_round.read_cts;
  bytes := v_round.bytes;
end
$$;
comment on function meshhook._claim is
  'Claim due jobs; move those past their last attempt to the dead letter queue instead of handing them out.';

-- A claim whose answer was lost is asked for again with the same request id. Its jobs are still hidden;
-- those that were not read again since are handed out again under the receipts of the first answer.
create or replace function meshhook._claim_again(
  p_queue meshhook.queues, p_memory jsonb, p_vt timestamptz, p_max_attempts integer
)
returns json language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_jobs json;
begin
  execute meshhook._sql(p_queue.queue_name, $sql$
    with receipt as (
      select r.msg_id, r.read_ct, r.ord
      from unnest($1, $2) with ordinality as r(msg_id, read_ct, ord)
    ), held as materialized (
      select q.msg_id, r.ord
      from {q} q
      join receipt r on q.msg_id = r.msg_id and q.read_ct = r.read_ct
        and not {job.handed_back}
      order by q.msg_id
      for update of q
    ), taken as (
      update {q} q
      set vt = greatest(q.vt, $3)
      from held
      where q.msg_id = held.msg_id
      returning q.msg_id, q.read_ct, q.enqueued_at, q.message, held.ord
    )
    select json_agg(
      json_build_object(
        'msg_id', q.msg_id, 'read_ct', q.read_ct, 'enqueued_at', q.enqueued_at,
        'attempt', {attempt},
        'max_attempts', coalesce(
          case
            when q.message -> '_meshhook' -> 'default_max_attempts' = 'true' then null
            when jsonb_typeof(q.message -> 'max_attempts') = 'number'
              then least(1000000, (q.message -> 'max_attempts')::numeric)::integer
          end,
          $4, $5
        ),
        'message', q.message
      )
      order by q.ord
    )
    from taken q
  $sql$)
  into v_jobs
  using
    (p_memory ->> 'msg_ids')::bigint[], (p_memory ->> 'read_cts')::integer[],
    p_vt, p_max_attempts, p_queue.max_attempts;
  return coalesce(v_jobs, '[]');
end
$$;
comment on function meshhook._claim_again is 'Hand out again the jobs of a claim whose answer was lost.';

-- The queue's settings go with every claim, so that a worker follows a change of them while it runs.
create or replace function meshhook._claim_json(
  p_queue meshhook.queues, p_vt timestamptz, p_vt_seconds double precision,
  p_jobs json, p_bytes bigint, p_dead_lettered jsonb
)
returns json language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return json_build_object(
    'vt', p_vt, 'vt_seconds', p_vt_seconds,
    'base_delay_ms', p_queue.base_delay_ms, 'max_delay_ms', p_queue.max_delay_ms,
    'retention_days', p_queue.retention_days, 'paused', p_queue.paused_at is not null,
    'dlq_name', case when p_queue.has_dead_letters then p_queue.dlq_name end,
    'jobs', p_jobs, 'bytes', p_bytes, 'dead_lettered', p_dead_lettered
  );
end
$$;
comment on function meshhook._claim_json is 'Return the answer to a claim.';

-- What a claim has to be remembered by is short text, not nested JSON: it is written for every batch and
-- rarely read. An empty claim needs no memory: its repeat claims what has come since.
create or replace function meshhook._hand_out(
  p_queue meshhook.queues, p_quantity integer, p_vt_seconds double precision, p_max_attempts integer,
  p_max_bytes integer, p_earlier jsonb, out answer json, out memory jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_vt constant timestamp with time zone := clock_timestamp() + make_interval(secs => p_vt_seconds);
  v_claim record;
begin
  if p_earlier is not null then
    answer := meshhook._claim_json(
      p_queue, v_vt, p_vt_seconds, meshhook._claim_again(p_queue, p_earlier, v_vt, p_max_attempts),
      (p_earlier -> 'bytes')::bigint, p_earlier -> 'dead_lettered'
    );
    return;
  end if;
  if p_queue.paused_at is not null then
    answer := meshhook._claim_json(p_queue, v_vt, p_vt_seconds, '[]', 0, '[]');
    return;
  end if;
  select * into v_claim from meshhook._claim(p_queue, p_quantity, v_vt, p_max_attempts, p_max_bytes);
  answer := meshhook._claim_json(
    p_queue, v_vt, p_vt_seconds, v_claim.jobs, v_claim.bytes, v_claim.dead_lettered
  );
  if v_claim.msg_ids is not null or v_claim.dead_lettered <> '[]' then
    memory := jsonb_build_object(
      'msg_ids', coalesce(v_claim.msg_ids, '{}')::text,
      'read_cts', coalesce(v_claim.read_cts, '{}')::text,
      'bytes', v_claim.bytes, 'dead_lettered', v_claim.dead_lettered
    );
  end if;
end
$$;
comment on function meshhook._hand_out is
  'Claim due jobs, or those of an earlier claim again; return the answer, and what to remember it by.';

create or replace function public.meshhook_dequeue(
  queue_name text,
  quantity integer default 1,
  vt_seconds double precision default null,
  max_attempts integer default null,
  request_id text default null,
  max_bytes integer default 4194304,
  worker jsonb default null
)
returns json -- not jsonb: the messages are printed once instead of being rebuilt, a third of the claim's time
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_dequeue.queue_name;
  v_earlier constant jsonb := meshhook._recall(v_name, 'dequeue', request_id);
  v_queue constant meshhook.queues := meshhook._queue(v_name);
  v_seconds constant double precision := coalesce(vt_seconds, v_queue.vt_seconds);
  v_claim record;
begin
  perform meshhook._check_claim(quantity, v_seconds, max_attempts, max_bytes);
  select * into v_claim
  from meshhook._hand_out(v_queue, quantity, v_seconds, max_attempts, max_bytes, v_earlier);
  if v_claim.memory is not null then
    perform meshhook._remember(v_name, 'dequeue', request_id, v_claim.memory);
  end if;
  if worker is not null then
    perform meshhook._seen(worker);
  end if;
  return v_claim.answer;
end
$$;
comment on function public.meshhook_dequeue is
  'Claim up to quantity due jobs, of up to about max_bytes together, for vt_seconds; none while the queue '
  'is paused. A job past its last attempt goes to the dead letter queue instead.';
revoke all on function public.meshhook_dequeue from public, anon, authenticated;
grant execute on function public.meshhook_dequeue to service_role;
