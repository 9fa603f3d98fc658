-- Checks of arguments, the memory that makes a repeated request harmless, and what workers tell of themselves.

do $$ begin perform pg_advisory_xact_lock(hashtextextended('meshhook migrations', 0)); end $$;

-- To Postgres, a function with another list of arguments is another function.
create or replace function meshhook._replace_function(p_old text, p_new text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_old constant pg_catalog.regprocedure := to_regprocedure(p_old);
  v_role pg_catalog.name;
begin
  if v_old is null then
    return;
  end if;
  for v_role in
    select r.rolname
    from pg_catalog.pg_proc p, aclexplode(p.proacl) a, pg_catalog.pg_roles r
    where p.oid = v_old and a.grantee = r.oid and a.grantee <> p.proowner
  loop
    execute format('grant execute on function %s to %I', p_new, v_role);
  end loop;
  execute format('drop function %s', v_old);
end
$$;
comment on function meshhook._replace_function(text, text) is
  'Drop a function of an older MeshHook, and let those who could execute it execute its successor.';

create or replace function meshhook._refuse(p_field text, p_value text, p_problem text, p_fix text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'MH002',
    message = format('%s %s', p_field, p_problem),
    detail = jsonb_build_object('field', p_field, 'value', left(p_value, 200))::pg_catalog.text,
    hint = p_fix;
end
$$;
comment on function meshhook._refuse(text, text, text, text) is
  'Raise MH002: the argument, its value, what is wrong with it and how to mend it.';

create or replace function meshhook._check_number(
  p_field text, p_value double precision, p_low double precision, p_high double precision
)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  -- NaN sorts above every number, so it fails the second comparison.
  if p_value is null or not (p_value >= p_low and p_value <= p_high) then
    perform meshhook._refuse(
      p_field, p_value::pg_catalog.text, format('must be a number from %s to %s', p_low, p_high), 'Give a number in that range.'
    );
  end if;
end
$$;
comment on function meshhook._check_number(text, double precision, double precision, double precision) is
  'Raise MH002 unless the number is within the range.';

create or replace function meshhook._check_delay(p_field text, p_value double precision)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  perform meshhook._check_number(p_field, p_value, 0, 31622400);
end
$$;
comment on function meshhook._check_delay(text, double precision) is
  'Raise MH002 unless a delay is from 0 seconds to 366 days.';

create or replace function meshhook._check_run_at(p_field text, p_value timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if p_value > clock_timestamp() + make_interval(secs => 31622400) then
    perform meshhook._refuse(
      p_field, p_value::pg_catalog.text, 'is more than 366 days ahead', 'Give a time within the next 366 days.'
    );
  end if;
end
$$;
comment on function meshhook._check_run_at(text, timestamptz) is
  'Raise MH002 where a time is more than 366 days ahead. One in the past is usable: it means at once.';

create or replace function meshhook._check_one_time(p_delay_seconds double precision, p_run_at timestamptz)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if p_run_at is not null and p_delay_seconds <> 0 then
    perform meshhook._refuse(
      'run_at', p_run_at::pg_catalog.text, 'is given as well as a delay', 'Give run_at or a delay, not both.'
    );
  end if;
end
$$;
comment on function meshhook._check_one_time(double precision, timestamptz) is
  'Raise MH002 where both a delay and a time are given.';

-- PGMQ folds the case of a name and refuses more than 47 characters; a name that it would change, or
-- that two queues could share a table under, is refused here.
create or replace function meshhook._check_queue_name(p_field text, p_value text)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if p_value is null or p_value !~ '^[a-z0-9_]([a-z0-9_-]{0,46})$' or p_value like '%--%' then
    perform meshhook._refuse(
      p_field, p_value, 'is not a usable queue name',
      'Use 1 to 47 characters out of a-z, 0-9, _ and single -, and do not begin with -.'
    );
  end if;
end
$$;
comment on function meshhook._check_queue_name(text, text) is
  'Raise MH002 unless PGMQ would store the queue name as it is.';

create or replace function meshhook._check_receipts(p_msg_ids bigint[], p_read_cts integer[])
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if p_msg_ids is null or array_ndims(p_msg_ids) > 1 then
    perform meshhook._refuse('msg_ids', p_msg_ids::pg_catalog.text, 'must be an array of message ids', 'Send a plain array.');
  end if;
  if array_position(p_msg_ids, null) is not null then
    perform meshhook._refuse(
      'msg_ids', p_msg_ids::pg_catalog.text, 'must be an array of message ids', 'Leave out nulls.'
    );
  end if;
  if cardinality(p_msg_ids) > 10000 then
    perform meshhook._refuse(
      'msg_ids', cardinality(p_msg_ids)::pg_catalog.text, 'holds more than 10000 ids', 'Split the call.'
    );
  end if;
  if p_read_cts is not null and (cardinality(p_read_cts) <> cardinality(p_msg_ids) or array_ndims(p_read_cts) > 1) then
    perform meshhook._refuse(
      'read_cts', cardinality(p_read_cts)::pg_catalog.text, 'must have one read count for each message id',
      'Give as many read_cts as msg_ids, or none at all.'
    );
  end if;
end
$$;
comment on function meshhook._check_receipts(bigint[], integer[]) is
  'Raise MH002 unless the two arrays form receipts.';

-- A definer's function sees its owner as current_user; the setting "role" is still the caller's. Without
-- one, whoever logged in is the caller.
create or replace function meshhook._caller()
returns text
language sql
stable
set search_path = ''
as $$
  select coalesce(nullif(current_setting('role', true), 'none'), session_user)
$$;
comment on function meshhook._caller() is 'Return the role that called, whatever role its function runs as.';

-- The owner and the service role reach every queue, and so does a caller who could not execute any of the
-- functions himself: he comes through a function that its owner let him call, such as a trigger's. Whoever
-- else has execute rights needs a row, however he came by the rights: as a member of a role with grants, or
-- after that role was renamed. A member of roles of both verbs could use each verb in the queues of the
-- other, and so may use none.
create or replace function meshhook._check_reach(p_queue meshhook.queues)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  v_caller constant pg_catalog.text := meshhook._caller();
  v_verbs integer;
  v_reaches boolean;
begin
  if pg_has_role(v_caller, current_user, 'usage') or pg_has_role(v_caller, 'service_role', 'usage') then
    return;
  end if;
  select count(distinct g.verb), bool_or(g.queue_id = p_queue.queue_id) into v_verbs, v_reaches
  from meshhook.grants g
  join pg_catalog.pg_roles r on r.rolname = g.role_name
  where pg_has_role(v_caller, r.oid, 'usage');
  if (v_verbs = 1 and v_reaches)
    or (v_verbs = 0 and not exists (
      select
      from unnest(array['enqueue', 'work']) v, lateral meshhook._granted_functions(v) f
      where has_function_privilege(v_caller, f, 'execute')
    )) then
    return;
  end if;
  perform meshhook._turn_away(
    403, 'MH004', 'queue_name', p_queue.queue_name,
    format('The role "%s" has no grant for the queue "%s".', v_caller, p_queue.queue_name),
    case when v_verbs > 1 then 'Use a role that is not a member of those that enqueue and of those that work.'
      else 'Let the owner of the database call meshhook.grant_enqueue() or meshhook.grant_work().' end
  );
end
$$;
comment on function meshhook._check_reach(meshhook.queues) is
  'Raise MH004 where the caller is held to some queues, and this is none of them.';

-- The lock is taken before the look-up: a repeat that overtakes its first try waits until that has
-- committed, and then finds its answer.
create or replace function meshhook._recall(p_queue_name text, p_verb text, p_request_id text)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  if p_request_id is null then
    return null;
  end if;
  if length(p_request_id) not between 1 and 255 then
    perform meshhook._refuse(
      'request_id', p_request_id, 'must have from 1 to 255 characters', 'Use a shorter key, such as a UUID.'
    );
  end if;
  -- The answer is for those who may reach the queue, which is looked up only after this.
  perform meshhook._check_reach(q) from meshhook.queues q where q.queue_name = p_queue_name;
  perform pg_advisory_xact_lock(
    hashtextextended(concat_ws(chr(31), 'meshhook', p_queue_name, p_verb, p_request_id), 0)
  );
  return (
    select r.answer
    from meshhook.requests r
    where r.queue_name = p_queue_name and r.verb = p_verb and r.request_id = p_request_id
      and r.expires_at > clock_timestamp()
  );
end
$$;
comment on function meshhook._recall(text, text, text) is
  'Return what a request was answered before, or null, and hold off its repeats until commit.';

create or replace function meshhook._remember(
  p_queue_name text, p_verb text, p_request_id text, p_answer jsonb, p_seconds double precision default 600
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  if p_request_id is not null then
    insert into meshhook.requests as r (queue_name, verb, request_id, answer, expires_at)
    values (
      p_queue_name, p_verb, p_request_id, p_answer, clock_timestamp() + make_interval(secs => p_seconds)
    )
    on conflict (queue_name, verb, request_id)
    do update set answer = excluded.answer, expires_at = excluded.expires_at
    where p_verb <> 'enqueue' or r.expires_at <= clock_timestamp();
    -- A batch takes the keys of its jobs without their locks, of which it would need thousands. So a call
    -- that found its key free may find it taken here: it is rolled back, and a repeat gets the batch's answer.
    if not found then
      raise exception using
        errcode = '55P03',
        message = 'another call was enqueueing under the same key',
        hint = 'Call again: the answer is then that of the other call.';
    end if;
    -- Each request may have to clear away one that has expired; in batches, so that most need not.
    if random() < 0.01 then
      perform meshhook._forget(200);
    end if;
  end if;
  return p_answer;
end
$$;
comment on function meshhook._remember(text, text, text, jsonb, double precision) is
  'Keep the answer to a request for its repeats, by default for ten minutes, and return it.';

create or replace function meshhook._forget(p_limit integer)
returns bigint
language sql
set search_path = ''
as $$
  with expired as (
    select r.queue_name, r.verb, r.request_id
    from meshhook.requests r
    where r.expires_at <= clock_timestamp()
    order by r.expires_at
    limit p_limit
    for update skip locked
  ), gone as (
    delete from meshhook.requests r
    using expired e
    where r.queue_name = e.queue_name and r.verb = e.verb and r.request_id = e.request_id
    returning 1
  )
  select count(*) from gone
$$;
comment on function meshhook._forget(integer) is 'Delete up to so many expired answers.';

-- A worker tells of itself with a call that it makes anyway. Its row is its own, so nobody waits for it,
-- and it is written last. Workers of the past are dropped on the way, and one that stopped in order says so.
create or replace function meshhook._seen(p_worker jsonb)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_worker meshhook.workers;
begin
  if p_worker is null or p_worker = 'null' then
    return;
  end if;
  begin
    v_worker := jsonb_populate_record(null::meshhook.workers, p_worker);
  exception when data_exception then
    perform meshhook._refuse(
      'worker', p_worker::pg_catalog.text, 'is not what a worker tells of itself', 'Leave it out; the SDK''s Worker sends it.'
    );
  end;
  if v_worker.worker_id is null or v_worker.queue_names is null or length(v_worker.worker_id) > 200 then
    perform meshhook._refuse(
      'worker', p_worker::pg_catalog.text, 'has no worker_id of up to 200 characters or no queue_names',
      'Leave it out; the SDK''s Worker sends it.'
    );
  end if;
  if p_worker -> 'is_stopped' = 'true' then
    delete from meshhook.workers w where w.worker_id = v_worker.worker_id;
    return;
  end if;
  insert into meshhook.workers as w (
    worker_id, name, queue_names, host, pid, version, concurrency, running, interval_seconds, started_at, seen_at
  )
  values (
    v_worker.worker_id, left(v_worker.name, 200), v_worker.queue_names[1:1000], left(v_worker.host, 200), v_worker.pid, left(v_worker.version, 200),
    v_worker.concurrency, v_worker.running, coalesce(v_worker.interval_seconds, 30),
    coalesce(v_worker.started_at, clock_timestamp()), clock_timestamp()
  )
  on conflict on constraint workers_pkey do update set
    name = excluded.name, queue_names = excluded.queue_names, host = excluded.host, pid = excluded.pid, version = excluded.version,
    concurrency = excluded.concurrency, running = excluded.running, interval_seconds = excluded.interval_seconds,
    started_at = excluded.started_at, seen_at = excluded.seen_at;
  delete from meshhook.workers w
  using (
    select o.worker_id
    from meshhook.workers o
    where o.seen_at < clock_timestamp() - interval '1 day'
    limit 100
    for update skip locked
  ) old
  where w.worker_id = old.worker_id;
end
$$;
comment on function meshhook._seen(jsonb) is
  'Note what a worker tells of itself, or drop it when it says that it is stopped; null if it tells nothing.';
