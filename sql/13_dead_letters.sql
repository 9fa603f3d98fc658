-- The dead letter queue: a PGMQ queue of its own, whose messages are those of the jobs, with their
-- errors. Looking at it changes nothing. A queue may do without: then its failed jobs go to its
-- archive.

-- Without a name of a dead letter queue, the message stays in its row and PGMQ archives that.
create or replace function meshhook._buried_sql(p_dlq_name text, p_has_headers boolean)
returns text language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_dlq_name is null then $sql$
      buried as (
        update {q} q set message = l.letter from letter l where q.msg_id = l.msg_id
        returning null::bigint as msg_id, q.msg_id as original_msg_id
      )
    $sql$
    else replace(replace($sql$
      buried as (
        insert into {other} (vt, message {headers})
        select clock_timestamp(), l.letter {their_headers}
        from letter l
        order by l.msg_id
        returning msg_id, (message ->> 'original_msg_id')::bigint as original_msg_id
      ), gone as (
        delete from {q} q using letter l where q.msg_id = l.msg_id
      )
    $sql$,
    '{headers}', case when p_has_headers then ', headers' else '' end),
    '{their_headers}', case when p_has_headers then ', l.headers' else '' end)
  end
$$;
comment on function meshhook._buried_sql is
  'Return the part of a query that moves the rows of "letter" to the dead letter queue, or makes them ready '
  'for the archive.';

create or replace function meshhook._dead_letter(
  p_queue meshhook.queues, p_outcomes jsonb, p_dlq_name text, out done bigint[], out tally meshhook.totals
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_has_headers constant boolean := meshhook._has_headers(p_queue.queue_name);
  v_sum record;
begin
  if p_dlq_name is not null then
    perform meshhook._check_dlq_name(p_queue.queue_name, p_dlq_name);
    perform meshhook._ensure_pgmq_queue(p_dlq_name);
  end if;
  execute meshhook._sql(p_queue.queue_name, replace(replace($sql$
    with {held}, letter as materialized (
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
          '_meshhook', {job.state} - array['reads', 'id'] || jsonb_build_object('queue', $4)
            || case when jsonb_typeof(h.message) is distinct from 'object'
              then jsonb_build_object('original', h.message) else '{}' end
        ) as letter
      from held h
    ), {buried}, told_attempt as (
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
        h.attempt - h.undelivered::integer, h.enqueued_at, h.seconds, $5,
        (b.ids ->> h.msg_id::text)::bigint
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
    '{held}',
    meshhook._held_sql('dead_letter', case when v_has_headers then 'q.headers' else 'null::jsonb' end)),
    '{buried}',
    meshhook._buried_sql(
      p_dlq_name, v_has_headers and meshhook._has_headers(coalesce(p_dlq_name, p_queue.queue_name))
    )), p_dlq_name)
  into v_sum
  using p_outcomes, p_queue.queue_id, p_queue.keeps_history, p_queue.queue_name, p_dlq_name;
  done := v_sum.done;
  tally := v_sum.tally;
  if p_dlq_name is null and v_sum.msg_ids is not null then
    perform pgmq.archive(p_queue.queue_name, v_sum.msg_ids);
  end if;
end
$$;
comment on function meshhook._dead_letter is
  'Move the jobs of the outcomes "dead_letter" to a dead letter queue, or to the archive if there is none; '
  'return the positions that were settled, and their tally.';

create or replace function public.meshhook_list_dead_letters(
  dlq_name text, quantity integer default 100, after_msg_id bigint default 0
)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_jobs jsonb;
begin
  perform meshhook._require_pgmq_queue('dlq_name', meshhook_list_dead_letters.dlq_name);
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  execute meshhook._sql(meshhook_list_dead_letters.dlq_name, $sql$
    select jsonb_agg(d)
    from (
      select q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message
      from {q} q
      where q.msg_id > $1
      order by q.msg_id
      limit $2
    ) d
  $sql$)
  into v_jobs
  using coalesce(after_msg_id, 0), quantity;
  return coalesce(v_jobs, '[]');
end
$$;
comment on function public.meshhook_list_dead_letters is
  'Return dead letters, oldest first, from behind after_msg_id on.';
revoke all on function public.meshhook_list_dead_letters from public, anon, authenticated;
grant execute on function public.meshhook_list_dead_letters to service_role;

create or replace function meshhook._original_msg_id(p_message jsonb)
returns bigint language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- Another client may have written anything there.
  select case
    when jsonb_typeof(p_message -> 'original_msg_id') = 'number' then
      case when (p_message -> 'original_msg_id')::numeric between 1 and 9223372036854775807
        then (p_message -> 'original_msg_id')::bigint end
  end
$$;
comment on function meshhook._original_msg_id is
  'Return the id that a dead letter had in its queue, null if it does not say.';

create or replace function meshhook._attempts_of_dead_letter(
  p_dlq_name text, p_msg_id bigint, p_message jsonb
)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
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
comment on function meshhook._attempts_of_dead_letter is
  'Return the failed attempts of the job that a dead letter was.';

create or replace function public.meshhook_get_dead_letter(dlq_name text, msg_id bigint)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_job jsonb;
begin
  perform meshhook._require_pgmq_queue('dlq_name', meshhook_get_dead_letter.dlq_name);
  execute meshhook._sql(meshhook_get_dead_letter.dlq_name, $sql$
    select to_jsonb(d)
    from (select q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message from {q} q where q.msg_id = $1) d
  $sql$)
  into v_job
  using meshhook_get_dead_letter.msg_id;
  return v_job || jsonb_build_object(
    'attempts',
    meshhook._attempts_of_dead_letter(
      meshhook_get_dead_letter.dlq_name, meshhook_get_dead_letter.msg_id, v_job -> 'message'
    )
  );
end
$$;
comment on function public.meshhook_get_dead_letter is
  'Return one dead letter with its failed attempts, or null.';
revoke all on function public.meshhook_get_dead_letter from public, anon, authenticated;
grant execute on function public.meshhook_get_dead_letter to service_role;

create or replace function meshhook._error_sql()
returns text language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select $sql$
    coalesce(nullif(left(split_part(d.message ->> 'error_message', chr(10), 1), 200), ''), 'unknown error')
  $sql$
$$;
comment on function meshhook._error_sql is
  'Return the SQL expression for the error that dead letter d is counted under: the first line of its '
  'message.';

create or replace function public.meshhook_group_dead_letters(dlq_name text, quantity integer default 1000)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_groups jsonb;
begin
  perform meshhook._require_pgmq_queue('dlq_name', meshhook_group_dead_letters.dlq_name);
  perform meshhook._check_number('quantity', quantity, 1, 10000);
  execute meshhook._sql(meshhook_group_dead_letters.dlq_name, replace($sql$
    with dead as (
      select q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message
      from {q} q
      order by q.msg_id
      limit $1
    ), grouped as (
      select
        {error} as error,
        jsonb_agg(d order by d.msg_id) as jobs
      from dead d
      group by 1
    )
    select jsonb_agg(
      jsonb_build_object('error', g.error, 'jobs', g.jobs) order by jsonb_array_length(g.jobs) desc, g.error
    )
    from grouped g
    $sql$,
    '{error}', meshhook._error_sql()
  ))
  into v_groups
  using quantity;
  return coalesce(v_groups, '[]');
end
$$;
comment on function public.meshhook_group_dead_letters is
  'Return the oldest dead letters, up to quantity, grouped by the first line of their errors, the largest '
  'group first.';
revoke all on function public.meshhook_group_dead_letters from public, anon, authenticated;
grant execute on function public.meshhook_group_dead_letters to service_role;

-- One pass over all dead letters; what comes back has a bound, and says what it leaves out.
create or replace function public.meshhook_count_dead_letters(dlq_name text, quantity integer default 100)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer jsonb;
begin
  perform meshhook._require_pgmq_queue('dlq_name', meshhook_count_dead_letters.dlq_name);
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  execute meshhook._sql(meshhook_count_dead_letters.dlq_name, replace($sql$
    with grouped as (
      select
        {error} as error, count(*) as jobs,
        min(d.enqueued_at) as first_moved_at, max(d.enqueued_at) as last_moved_at, max(d.msg_id) as newest
      from {q} d
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
        join {q} d on d.msg_id = l.newest
      )
    )
    $sql$,
    '{error}', meshhook._error_sql()
  ))
  into v_answer
  using quantity;
  return v_answer;
end
$$;
comment on function public.meshhook_count_dead_letters is
  'Count all dead letters by the first line of their errors; return up to quantity errors, the most '
  'frequent first, each with its newest dead letter.';
revoke all on function public.meshhook_count_dead_letters from public, anon, authenticated;
grant execute on function public.meshhook_count_dead_letters to service_role;
