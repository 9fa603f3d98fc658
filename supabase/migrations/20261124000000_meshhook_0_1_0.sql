-- MeshHook 0.1.0
-- Generated from the folder sql/ of MeshHook's repository; do not edit it here.

-- MeshHook: durable background jobs on PGMQ, called over Supabase's RPC endpoints.
--
-- What this installs:
--   schema meshhook            private tables and helpers; no API role may use it
--   public.meshhook_<verb>     the functions that the SDK calls; service_role alone may execute them
--   public.queue_monitoring    depth and age of every queue
--   public.job_statistics      running totals of every queue
--   queues workflow_jobs and workflow_jobs_dlq
--
-- Rules that every function keeps:
--   * One RPC is one transaction and one change of state. A job is always in exactly one place: its
--     queue (pgmq.q_<queue>), its dead letter queue, PGMQ's archive, or done.
--   * The receipt is (msg_id, read_ct). PGMQ raises read_ct on every delivery and never lowers it, so
--     a settle that names an older read_ct comes from a worker that has lost its lease.
--   * Argument names of public functions are the wire format: the plain word, no prefix, no overloads.
--     Private functions: p_ for arguments, v_ for variables.
--   * Public functions are security definers, because the tables of PGMQ and MeshHook belong to the role
--     that applies this. What they call runs as that role, too. Postgres lets all roles execute a new
--     function, so each is closed to all but service_role at once; what the owner gave to other roles stays.
--   * Lock order: the request's advisory lock, rows of the queue by msg_id, rows of the dead letter
--     queue by msg_id, history, totals, requests. Claims skip locked rows, so they never wait. An
--     enqueue locks no row of its queue; its jobs' keys are rows of requests, taken by key before its own.
--   * Only what PGMQ 1.4.4, 1.5.1 and 1.13 share is used, and no statement lacks a WHERE (Supabase
--     loads safeupdate). SQLSTATE 40001 is never raised: PostgREST 14 repeats such a request without end.
--   * search_path is pg_catalog, pg_temp in every function. pg_temp is named so that it comes last: otherwise
--     Postgres looks among the caller's temporary types first, and a domain's check would run as the owner.
--   * Everything may be applied again and again, over this version and over older ones, while workers work.
--   * Errors of our own carry a SQLSTATE of class MH:
--       MH001 the queue does not exist       MH002 an argument is not usable
--       MH003 PGMQ is not installed

-- Two who apply this at once do so one after the other.
do $$ begin perform pg_advisory_xact_lock(hashtextextended('meshhook migrations', 0)); end $$;

do $$
begin
  if to_regprocedure('pgmq.create(text)') is not null then
    return;
  end if;
  if exists (select from pg_available_extensions where name = 'pgmq') then
    create schema if not exists pgmq;
    create extension if not exists pgmq with schema pgmq;
  end if;
  if to_regprocedure('pgmq.create(text)') is null then
    raise exception using
      errcode = 'MH003',
      message = 'MeshHook needs PGMQ, and this database does not have it.',
      hint = 'Enable the extension pgmq: in the Supabase dashboard under Integrations > Queues (or '
        'Database > Extensions), or with "create extension pgmq". Then apply the migrations again.';
  end if;
end
$$;

create schema if not exists meshhook;
comment on schema meshhook is 'MeshHook''s private tables and helpers. Reach them through public.meshhook_*.';

revoke all on schema meshhook from public, anon, authenticated, service_role;

create table if not exists meshhook.queues (
  queue_id integer generated always as identity,
  queue_name text not null,
  dlq_name text not null,
  vt_seconds double precision not null default 30,
  max_attempts integer not null default 5,
  base_delay_ms integer not null default 1000,
  max_delay_ms integer not null default 300000,
  keeps_history boolean not null default true,
  has_dead_letters boolean not null default true,
  retention_days double precision,
  paused_at timestamptz,
  created_at timestamptz not null default now(),
  constraint queues_pkey primary key (queue_id),
  constraint queue_names_are_unique unique (queue_name),
  constraint a_queue_is_not_its_own_dead_letter_queue check (dlq_name <> queue_name),
  constraint vt_seconds_are_in_range check (vt_seconds >= 1 and vt_seconds <= 86400),
  constraint max_attempts_are_in_range check (max_attempts between 1 and 1000000),
  constraint backoff_is_in_range check (base_delay_ms >= 0 and max_delay_ms >= base_delay_ms),
  constraint retention_is_in_range check (retention_days >= 0 and retention_days <= 36600)
);
comment on table meshhook.queues is
  'The queues that MeshHook knows, with their settings. queue_id is new for each creation, so the history of '
  'a dropped queue never mixes with its successor''s.';

create table if not exists meshhook.jobs (
  queue_id integer not null,
  msg_id bigint not null,
  run_id text,
  state text not null,
  attempts integer not null,
  enqueued_at timestamptz not null,
  finished_at timestamptz not null default clock_timestamp(),
  seconds double precision,
  dlq_name text,
  dlq_msg_id bigint,
  replayed_at timestamptz,
  replayed_to text,
  replayed_msg_id bigint,
  constraint jobs_pkey primary key (queue_id, msg_id),
  constraint state_is_known check (
    state in ('completed', 'archived', 'dead_lettered', 'failed', 'cancelled', 'deleted')
  )
);
comment on table meshhook.jobs is
  'One row for each finished job, written when it is settled. A job that is not here is in its queue.';

-- Both indexes end in the primary key and so are unique: Supabase's linter reports every other index
-- of a fresh project as unused.
create unique index if not exists jobs_by_run on meshhook.jobs (run_id, queue_id, msg_id);

create unique index if not exists jobs_by_age on meshhook.jobs (finished_at, queue_id, msg_id);

create table if not exists meshhook.attempts (
  queue_id integer not null,
  msg_id bigint not null,
  read_ct integer not null,
  attempt integer not null,
  outcome text not null,
  error_type text,
  error_message text,
  error_stack text,
  worker text,
  seconds double precision,
  failed_at timestamptz not null default clock_timestamp(),
  constraint attempts_pkey primary key (queue_id, msg_id, read_ct),
  constraint outcome_is_known check (outcome in ('retried', 'dead_lettered', 'failed', 'lapsed'))
);
comment on table meshhook.attempts is
  'One row for each failed attempt: what went wrong, and "lapsed" where the worker was never heard of again.';

create unique index if not exists attempts_by_age
  on meshhook.attempts (failed_at, queue_id, msg_id, read_ct);

-- Several slots for each queue, so that workers that settle at the same time seldom wait for one row.
-- The free space in each page keeps the updates on it (HOT): no index entry is ever written.
create table if not exists meshhook.totals (
  queue_id integer not null,
  slot smallint not null,
  completed bigint not null default 0,
  dead_lettered bigint not null default 0,
  retried bigint not null default 0,
  attempts bigint not null default 0,
  max_attempt integer not null default 0,
  timed bigint not null default 0,
  seconds double precision not null default 0,
  constraint totals_pkey primary key (queue_id, slot)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table meshhook.totals is
  'Running totals of every queue, in slots that are summed when they are read.';

create table if not exists meshhook.requests (
  queue_name text not null,
  verb text not null,
  request_id text not null,
  answer jsonb not null,
  expires_at timestamptz not null,
  constraint requests_pkey primary key (queue_name, verb, request_id)
);
comment on table meshhook.requests is
  'The answers that a repeated request gets again instead of being carried out twice.';

create unique index if not exists requests_by_expiry
  on meshhook.requests (expires_at, queue_name, verb, request_id);

-- A worker writes its own row every few seconds; no other connection does.
create table if not exists meshhook.workers (
  worker_id text not null,
  name text,
  queue_names text[] not null,
  host text,
  pid integer,
  version text,
  concurrency integer,
  running integer,
  interval_seconds double precision not null,
  started_at timestamptz not null,
  seen_at timestamptz not null,
  constraint workers_pkey primary key (worker_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table meshhook.workers is
  'The workers that were seen lately: each reports itself with some of its calls.';

create table if not exists meshhook.dropped_queues (
  queue_name text not null,
  last_msg_id bigint not null,
  constraint dropped_queues_pkey primary key (queue_name)
);
comment on table meshhook.dropped_queues is
  'The last id of each queue that was dropped: a queue of the same name goes on after it, so that no receipt '
  'of the old one fits a job of the new one.';

create table if not exists meshhook.user_queues (
  queue_id integer not null,
  max_bytes integer not null,
  quota integer not null,
  per_seconds double precision not null,
  allows_anonymous boolean not null,
  constraint user_queues_pkey primary key (queue_id)
);
comment on table meshhook.user_queues is
  'The queues into which signed-in users may put jobs, and within which limits.';

create table if not exists meshhook.user_sends (
  queue_id integer not null,
  user_id uuid not null,
  sent_at timestamptz[] not null default '{}',
  expires_at timestamptz not null,
  constraint user_sends_pkey primary key (queue_id, user_id)
);
comment on table meshhook.user_sends is
  'When each user last put jobs into each queue, as far as it counts for the quota.';

create unique index if not exists user_sends_by_expiry on meshhook.user_sends (expires_at, queue_id, user_id);

create table if not exists meshhook.grants (
  role_name text not null,
  queue_id integer not null,
  verb text not null,
  constraint grants_pkey primary key (role_name, queue_id),
  constraint verb_is_known check (verb in ('enqueue', 'work'))
);
comment on table meshhook.grants is
  'The roles that may enqueue or work, and in which queues.';

revoke all on all tables in schema meshhook from public, anon, authenticated, service_role;

-- Checks of arguments: each raises MH002 with the argument, its value, what is wrong and how to fix it.

create or replace function meshhook._refuse(p_field text, p_value text, p_problem text, p_fix text)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'MH002',
    message = format('%s %s', p_field, p_problem),
    detail = jsonb_build_object('field', p_field, 'value', left(p_value, 200))::text,
    hint = p_fix;
end
$$;
comment on function meshhook._refuse is
  'Raise MH002: the argument, its value, what is wrong with it and how to fix it.';

create or replace function meshhook._check_number(
  p_field text, p_value double precision, p_low double precision, p_high double precision
)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- NaN sorts above every number, so it fails the second comparison.
  if p_value is null or not (p_value >= p_low and p_value <= p_high) then
    perform meshhook._refuse(
      p_field, p_value::text, format('must be a number from %s to %s', p_low, p_high),
      'Give a number in that range.'
    );
  end if;
end
$$;
comment on function meshhook._check_number is 'Raise MH002 unless the number is within the range.';

create or replace function meshhook._check_delay(p_field text, p_value double precision)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform meshhook._check_number(p_field, p_value, 0, 31622400);
end
$$;
comment on function meshhook._check_delay is 'Raise MH002 unless a delay is from 0 seconds to 366 days.';

create or replace function meshhook._check_run_at(p_field text, p_value timestamptz)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value > clock_timestamp() + make_interval(secs => 31622400) then
    perform meshhook._refuse(
      p_field, p_value::text, 'is more than 366 days ahead', 'Give a time within the next 366 days.'
    );
  end if;
end
$$;
comment on function meshhook._check_run_at is
  'Raise MH002 where a time is more than 366 days ahead. One in the past is usable: it means at once.';

create or replace function meshhook._check_one_time(p_delay_seconds double precision, p_run_at timestamptz)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_run_at is not null and p_delay_seconds <> 0 then
    perform meshhook._refuse(
      'run_at', p_run_at::text, 'is given as well as a delay', 'Give run_at or a delay, not both.'
    );
  end if;
end
$$;
comment on function meshhook._check_one_time is 'Raise MH002 where both a delay and a time are given.';

-- PGMQ folds the case of a name and refuses more than 47 characters; a name that it would change, or
-- that two queues could share a table under, is refused here.
create or replace function meshhook._check_queue_name(p_field text, p_value text)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
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
comment on function meshhook._check_queue_name is
  'Raise MH002 unless PGMQ would store the queue name as it is.';

create or replace function meshhook._check_dlq_name(p_queue_name text, p_dlq_name text)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform meshhook._check_queue_name('dlq_name', p_dlq_name);
  if p_dlq_name = p_queue_name then
    perform meshhook._refuse(
      'dlq_name', p_dlq_name, 'is the queue itself', 'Leave it out, or name another queue.'
    );
  end if;
end
$$;
comment on function meshhook._check_dlq_name is
  'Raise MH002 unless a queue may have the other one as its dead letter queue.';

create or replace function meshhook._check_receipts(p_msg_ids bigint[], p_read_cts integer[])
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_msg_ids is null or array_ndims(p_msg_ids) > 1 then
    perform meshhook._refuse(
      'msg_ids', p_msg_ids::text, 'must be an array of message ids', 'Send a plain array.'
    );
  end if;
  if array_position(p_msg_ids, null) is not null then
    perform meshhook._refuse(
      'msg_ids', p_msg_ids::text, 'must be an array of message ids', 'Leave out nulls.'
    );
  end if;
  if cardinality(p_msg_ids) > 10000 then
    perform meshhook._refuse(
      'msg_ids', cardinality(p_msg_ids)::text, 'holds more than 10000 ids', 'Split the call.'
    );
  end if;
  if cardinality(p_read_cts) <> cardinality(p_msg_ids) or array_ndims(p_read_cts) > 1 then
    perform meshhook._refuse(
      'read_cts', cardinality(p_read_cts)::text, 'must have one read count for each message id',
      'Give as many read_cts as msg_ids, or none at all.'
    );
  end if;
end
$$;
comment on function meshhook._check_receipts is 'Raise MH002 unless the two arrays form receipts.';

-- Access: whom a call comes from, and which queues that role may reach.

create or replace function meshhook._turn_away(
  p_status integer, p_code text, p_field text, p_value text, p_message text, p_fix text,
  p_headers jsonb default '{}'
)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'PGRST',
    message = jsonb_build_object(
      'code', p_code,
      'message', p_message,
      'details', jsonb_build_object('field', p_field, 'value', left(p_value, 200))::text,
      'hint', p_fix
    )::text,
    detail = jsonb_build_object('status', p_status, 'headers', p_headers)::text;
end
$$;
comment on function meshhook._turn_away is
  'Raise an error that PostgREST answers with this HTTP status, code and headers.';

-- A definer's function sees its owner as current_user; the setting "role" is still the caller's. Without
-- one, the role that logged in is the caller.
create or replace function meshhook._caller()
returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(nullif(current_setting('role', true), 'none'), session_user)
$$;
comment on function meshhook._caller is 'Return the role that called, whatever role its function runs as.';

create or replace function meshhook._granted_functions(p_verb text)
returns setof regprocedure language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.oid::regprocedure
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'public'
  where p.proname = any (
    case p_verb
      when 'enqueue' then array['meshhook_enqueue']
      when 'work' then array[
        'meshhook_dequeue', 'meshhook_settle', 'meshhook_settle_and_dequeue', 'meshhook_extend',
        'meshhook_acknowledge', 'meshhook_archive', 'meshhook_retry', 'meshhook_release',
          'meshhook_queue_metrics'
      ]
    end
  )
$$;
comment on function meshhook._granted_functions is
  'Return the functions that a grant lets a role execute. Each of them calls _check_reach() for its queue, '
  'most through meshhook._queue(), and none takes a second one.';

-- The owner and the service role reach every queue. So does a caller that could not execute any of the
-- functions itself: it comes through a function that its owner let it call, such as a trigger's. Any other
-- caller with execute rights needs a row, however it got the rights: as a member of a role with grants, or
-- after that role was renamed. A member of roles of both verbs could use each verb in the queues of the
-- other, and so may use none.
create or replace function meshhook._check_reach(p_queue meshhook.queues)
returns void language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller constant text := meshhook._caller();
  v_verbs integer;
  v_reaches boolean;
begin
  if pg_has_role(v_caller, current_user, 'usage') or pg_has_role(v_caller, 'service_role', 'usage') then
    return;
  end if;
  select count(distinct g.verb), bool_or(g.queue_id = p_queue.queue_id) into v_verbs, v_reaches
  from meshhook.grants g
  join pg_roles r on r.rolname = g.role_name
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
comment on function meshhook._check_reach is
  'Raise MH004 where the caller is held to some queues, and this is none of them.';

-- Requests: the memory that makes a repeated request harmless.

-- The lock is taken before the look-up: a repeat that overtakes its first try waits until that has
-- committed, and then finds its answer.
create or replace function meshhook._recall(p_queue_name text, p_verb text, p_request_id text)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
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
comment on function meshhook._recall is
  'Return what a request was answered before, or null, and hold off its repeats until commit.';

create or replace function meshhook._remember(
  p_queue_name text, p_verb text, p_request_id text, p_answer jsonb, p_seconds double precision default 600
)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
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
    -- that found its key free may find it taken here: it is rolled back, and its repeat gets the batch's
    -- answer.
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
comment on function meshhook._remember is
  'Keep the answer to a request for its repeats, by default for ten minutes, and return it.';

create or replace function meshhook._forget(p_limit integer)
returns bigint language sql
set search_path = pg_catalog, pg_temp
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
comment on function meshhook._forget is 'Delete up to so many expired answers.';

-- PGMQ: which queues it has, and how their parts come and go.

-- A dump leaves out what belongs to an extension, and with it the rows of pgmq.meta. A project that was
-- paused and restored has its queues' tables, and only MeshHook knows that they are queues.
create or replace function meshhook._pgmq_queues()
returns table (queue_name text, created_at timestamptz) language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select m.queue_name::text, m.created_at
  from pgmq.meta m
  union all
  select k.queue_name, k.created_at
  from (
    select q.queue_name, q.created_at from meshhook.queues q
    union
    select q.dlq_name, q.created_at
    from meshhook.queues q
    where not exists (select from meshhook.queues o where o.queue_name = q.dlq_name)
  ) k
  where to_regclass(format('pgmq.%I', 'q_' || k.queue_name)) is not null
    and not exists (select from pgmq.meta m where m.queue_name = k.queue_name)
$$;
comment on function meshhook._pgmq_queues is
  'Return the queues that PGMQ lists, and those that it has lost from its list, with their tables.';

create or replace function meshhook._pgmq_kind(p_name text)
returns "char" language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select c.relkind
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'pgmq'
  where c.relname = p_name
$$;
comment on function meshhook._pgmq_kind is
  'Return what a relation in the schema pgmq is, as pg_class has it; null if there is none of that name.';

create or replace function meshhook._has_headers(p_queue_name text)
returns boolean language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from pg_attribute a
    where a.attrelid = to_regclass(format('pgmq.%I', 'q_' || p_queue_name))
      and a.attname = 'headers' and not a.attisdropped
  )
$$;
comment on function meshhook._has_headers is
  'Return whether the messages of a queue have headers: PGMQ 1.4.4 has none.';

create or replace function meshhook._has_index(p_table text, p_column text)
returns boolean language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from pg_index i
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = to_regclass(format('pgmq.%I', p_table)) and i.indisvalid and i.indpred is null
      and a.attname = p_column
  )
$$;
comment on function meshhook._has_index is
  'Return whether a table of PGMQ has an index that begins with a column.';

create or replace function meshhook._is_taken(p_queue_name text)
returns boolean language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select
    -- PGMQ folds the case: it would give both queues one table.
    exists (select from pgmq.meta m where m.queue_name <> p_queue_name and lower(m.queue_name) = p_queue_name)
    or meshhook._pgmq_kind('q_' || p_queue_name) not in ('r', 'p')
    or meshhook._pgmq_kind('a_' || p_queue_name) not in ('r', 'p')
$$;
comment on function meshhook._is_taken is
  'Return whether the tables of a queue would be, or would stand in the way of, a part of another queue.';

-- PGMQ up to 1.5 makes tables, and 1.5 sequences too, members of the extension; nothing that is one can be
-- dropped, or made one again.
create or replace function meshhook._leave_extension(p_name text)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select
    from pg_depend d
    join pg_extension e on e.oid = d.refobjid and e.extname = 'pgmq'
    where d.classid = 'pg_class'::regclass
      and d.objid = to_regclass(format('pgmq.%I', p_name)) and d.deptype = 'e'
  ) then
    execute format(
      'alter extension pgmq drop %s pgmq.%I',
      case meshhook._pgmq_kind(p_name) when 'S' then 'sequence' else 'table' end, p_name
    );
  end if;
end
$$;
comment on function meshhook._leave_extension is
  'Let a table or sequence of PGMQ be no member of its extension, if it is one.';

create or replace function meshhook._ids_of(p_queue_name text)
returns regclass language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue_name), 'msg_id')::regclass
$$;
comment on function meshhook._ids_of is 'Return the sequence that a queue''s message ids come from.';

-- Ids that a lost table has given are in archive and history, and workers hold receipts with them. A receipt
-- that fits two jobs would settle the wrong one. Nobody knows the highest id; the seconds since 1970 are
-- above it, unless these have been used before.
create or replace function meshhook._skip_used_ids(p_queue_name text)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue_id constant integer := (select q.queue_id from meshhook.queues q where q.queue_name = p_queue_name);
  v_archived bigint;
begin
  execute format('select max(a.msg_id) from pgmq.%I a', 'a_' || p_queue_name) into v_archived;
  perform setval(
    meshhook._ids_of(p_queue_name),
    greatest(
      v_archived,
      (select max(j.msg_id) from meshhook.jobs j where j.queue_id = v_queue_id),
      (select max(t.msg_id) from meshhook.attempts t where t.queue_id = v_queue_id),
      (select max(j.dlq_msg_id) from meshhook.jobs j where j.dlq_name = p_queue_name),
      (select max(j.replayed_msg_id) from meshhook.jobs j where j.replayed_to = p_queue_name),
      (select d.last_msg_id from meshhook.dropped_queues d where d.queue_name = p_queue_name),
      extract(epoch from clock_timestamp())::bigint
    )
  );
end
$$;
comment on function meshhook._skip_used_ids is
  'Let a queue whose table is new give no id that its lost table may have given.';

-- Row level security on new tables keeps out those whom the dashboard's "Expose Queues via PostgREST" lets
-- near them; it does not bind these functions, which run as the table's owner. What is there is not touched.
create or replace function meshhook._repair_pgmq_queue(p_queue_name text)
returns boolean language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant text := 'q_' || p_queue_name;
  v_archive constant text := 'a_' || p_queue_name;
  v_sequence constant text := v_queue || '_msg_id_seq';
  v_is_listed boolean;
  v_has_queue boolean;
  v_has_archive boolean;
begin
  -- PGMQ 1.4.4 does not guard against two creations at once.
  perform pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), 'meshhook', 'create', p_queue_name), 0));
  v_is_listed := exists (select from pgmq.meta m where m.queue_name = p_queue_name);
  v_has_queue := meshhook._pgmq_kind(v_queue) is not null;
  v_has_archive := meshhook._pgmq_kind(v_archive) is not null;
  if meshhook._is_taken(p_queue_name) then
    perform meshhook._refuse(
      'queue_name', p_queue_name, 'is taken by a part of another queue', 'Choose another name.'
    );
  end if;
  if not (v_is_listed and v_has_queue and v_has_archive) then
    if v_has_queue then
      -- PGMQ 1.5 takes up a table that is no member of the extension together with its sequence.
      perform meshhook._leave_extension(v_queue);
      perform meshhook._leave_extension(v_sequence);
    end if;
    perform pgmq.create(p_queue_name);
  end if;
  if not v_has_queue then
    execute format('alter table pgmq.%I enable row level security', v_queue);
    if v_is_listed or v_has_archive then
      perform meshhook._skip_used_ids(p_queue_name);
    else
      perform setval(meshhook._ids_of(p_queue_name), d.last_msg_id)
      from meshhook.dropped_queues d
      where d.queue_name = p_queue_name;
    end if;
  end if;
  if not v_has_archive then
    execute format('alter table pgmq.%I enable row level security', v_archive);
  end if;
  if not meshhook._has_index(v_queue, 'vt') then
    execute format('create index on pgmq.%I (vt)', v_queue);
  end if;
  if not meshhook._has_index(v_archive, 'archived_at') then
    execute format('create index on pgmq.%I (archived_at)', v_archive);
  end if;
  if v_has_queue and not v_is_listed then
    -- A queue of another time of creation is another queue, with settings and a history of its own.
    update pgmq.meta m
    set created_at = q.created_at
    from meshhook.queues q
    where m.queue_name = p_queue_name and q.queue_name = m.queue_name;
  end if;
  return not (v_is_listed or v_has_queue);
end
$$;
comment on function meshhook._repair_pgmq_queue is
  'Create whatever is missing of a PGMQ queue: tables, indexes, its row in the list. Return whether nothing '
  'of it was there.';

-- For calls that have no time to look at each part.
create or replace function meshhook._ensure_pgmq_queue(p_queue_name text)
returns boolean language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from pgmq.meta m where m.queue_name = p_queue_name)
    and to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is not null then
    return false;
  end if;
  return meshhook._repair_pgmq_queue(p_queue_name);
end
$$;
comment on function meshhook._ensure_pgmq_queue is
  'Create a PGMQ queue unless it and its table are there; return whether nothing of it was there.';

create or replace function meshhook._drop_pgmq_queue(p_queue_name text)
returns boolean language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_there boolean := exists (select from pgmq.meta m where m.queue_name = p_queue_name);
begin
  if not v_there and meshhook._is_taken(p_queue_name) then
    return false;
  end if;
  if meshhook._pgmq_kind('q_' || p_queue_name) is not null then
    insert into meshhook.dropped_queues as d (queue_name, last_msg_id)
    select p_queue_name, l.last_msg_id
    from pg_sequence_last_value(meshhook._ids_of(p_queue_name)) l(last_msg_id)
    where l.last_msg_id is not null
    on conflict on constraint dropped_queues_pkey do update
    set last_msg_id = greatest(d.last_msg_id, excluded.last_msg_id);
  end if;
  if v_there then
    begin
      perform pgmq.drop_queue(p_queue_name);
    exception when object_not_in_prerequisite_state or undefined_table or dependent_objects_still_exist then
      -- On Supabase, a project that has been paused keeps its queues but no longer as members of the
      -- extension, and older versions of pgmq.drop_queue trip over that, as over a part that is missing.
      null;
    end;
  end if;
  -- What is left: all of it, where PGMQ could not do it, or what it does not look for.
  foreach v_name in array array[
    'q_' || p_queue_name, 'a_' || p_queue_name, 'q_' || p_queue_name || '_msg_id_seq'
  ] loop
    if meshhook._pgmq_kind(v_name) in ('r', 'p', 'S') then
      v_there := true;
      perform meshhook._leave_extension(v_name);
      perform meshhook._leave_extension(v_name || '_msg_id_seq');
      execute format(
        'drop %s pgmq.%I', case meshhook._pgmq_kind(v_name) when 'S' then 'sequence' else 'table' end, v_name
      );
    end if;
  end loop;
  delete from pgmq.meta m where m.queue_name = p_queue_name;
  return v_there;
end
$$;
comment on function meshhook._drop_pgmq_queue is
  'Drop whatever is there of a PGMQ queue and its archive; return whether anything was.';

-- Queues: what MeshHook knows of them, and how they come and go.

create or replace function meshhook._dlq_name(p_queue_name text)
returns text language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- PGMQ's limit is 47 characters; where the suffix does not fit, a hash keeps the names apart.
  select case
    when length(p_queue_name) <= 43 then p_queue_name || '_dlq'
    else left(p_queue_name, 34) || '_' || left(md5(p_queue_name), 8) || '_dlq'
  end
$$;
comment on function meshhook._dlq_name is 'Return the name of a queue''s dead letter queue.';

create or replace function meshhook._unlike(p_one text, p_other text)
returns integer language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with shared as (
    select coalesce(max(i), 0) as at_front
    from generate_series(1, least(length(p_one), length(p_other))) i
    where left(p_one, i) = left(p_other, i)
  )
  select greatest(length(p_one), length(p_other)) - s.at_front - (
    select coalesce(max(i), 0)
    from generate_series(1, least(length(p_one), length(p_other)) - s.at_front) i
    where right(p_one, i) = right(p_other, i)
  )
  from shared s
$$;
comment on function meshhook._unlike is
  'Return how many characters of the longer text remain without what both begin and end with.';

-- Two names are alike where at most two characters differ in one place, or one is how the other begins. A
-- caller who is held to some queues learns of no others.
create or replace function meshhook._alike_queue(p_queue_name text)
returns text language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller constant text := meshhook._caller();
  v_reaches_all constant boolean :=
    pg_has_role(v_caller, current_user, 'usage') or pg_has_role(v_caller, 'service_role', 'usage');
begin
  return (
    select c.queue_name
    from (
      select m.queue_name, meshhook._unlike(p_queue_name, m.queue_name) as unlike
      from meshhook._pgmq_queues() m
      where v_reaches_all
        or exists (
          select
          from meshhook.queues q
          join meshhook.grants g on g.queue_id = q.queue_id
          join pg_roles r on r.rolname = g.role_name
          where q.queue_name = m.queue_name and pg_has_role(v_caller, r.oid, 'usage')
        )
    ) c
    where c.unlike <= 2
      or (length(p_queue_name) >= 3 and starts_with(c.queue_name, p_queue_name))
      or (length(c.queue_name) >= 3 and starts_with(p_queue_name, c.queue_name))
    order by c.unlike, c.queue_name
    limit 1
  );
end
$$;
comment on function meshhook._alike_queue is
  'Return the queue that the caller may reach whose name is most like another name; null if none is.';

create or replace function meshhook._require_pgmq_queue(p_field text, p_queue_name text)
returns void language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alike text;
begin
  perform meshhook._check_queue_name(p_field, p_queue_name);
  if not exists (select from meshhook._pgmq_queues() m where m.queue_name = p_queue_name) then
    v_alike := meshhook._alike_queue(p_queue_name);
    raise exception using
      errcode = 'MH001',
      message = format('The queue "%s" does not exist.', p_queue_name),
      detail = jsonb_build_object('field', p_field, 'value', p_queue_name)::text,
      hint = case when v_alike is null then '' else format('Did you mean "%s"? If not: ', v_alike) end
        || 'Create it once, with create_queue() or select meshhook_create_queue(...).';
  end if;
  if to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null then
    raise exception using
      errcode = 'MH001',
      message = format('The queue "%s" has lost its table.', p_queue_name),
      detail = jsonb_build_object('field', p_field, 'value', p_queue_name)::text,
      hint = 'Call create_queue() or select meshhook_create_queue(...): they create what is missing, '
        'without the jobs that were in it.';
  end if;
end
$$;
comment on function meshhook._require_pgmq_queue is 'Raise MH001 unless PGMQ has the queue.';

-- Unlike _queue() this writes nothing, so that looking may stay read only.
create or replace function meshhook._known_queue(p_queue_name text)
returns meshhook.queues language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  perform meshhook._require_pgmq_queue('queue_name', p_queue_name);
  select q.* into v_queue from meshhook.queues q where q.queue_name = p_queue_name;
  v_queue.queue_name := p_queue_name;
  v_queue.queue_id := coalesce(v_queue.queue_id, 0);
  return v_queue;
end
$$;
comment on function meshhook._known_queue is
  'Return a queue, with queue_id 0 if MeshHook has not taken it up yet; raise MH001 where there is none.';

-- A queue that PGMQ has and MeshHook has not seen yet (made in the dashboard, or by another client) is
-- taken as it is, without a change to its table. One that PGMQ has lost from its list is listed again.
create or replace function meshhook._adopt(p_queue_name text)
returns meshhook.queues language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  perform meshhook._require_pgmq_queue('queue_name', p_queue_name);
  if not exists (select from pgmq.meta m where m.queue_name = p_queue_name) then
    perform meshhook._repair_pgmq_queue(p_queue_name);
  end if;
  delete from meshhook.queues q
  using pgmq.meta m
  where q.queue_name = p_queue_name and m.queue_name = q.queue_name and m.created_at <> q.created_at;
  insert into meshhook.queues (queue_name, dlq_name, created_at)
  select m.queue_name, meshhook._dlq_name(m.queue_name), m.created_at
  from pgmq.meta m
  where m.queue_name = p_queue_name
  on conflict (queue_name) do nothing;
  select q.* into v_queue from meshhook.queues q where q.queue_name = p_queue_name;
  return v_queue;
end
$$;
comment on function meshhook._adopt is 'Take up a queue that PGMQ has, with default settings.';

create or replace function meshhook._queue(p_queue_name text)
returns meshhook.queues language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  -- A queue that was dropped and created again without MeshHook is another queue.
  select q.* into v_queue
  from meshhook.queues q
  join pgmq.meta m on m.queue_name = q.queue_name and m.created_at = q.created_at
  where q.queue_name = p_queue_name and to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) is not null;
  if not found then
    v_queue := meshhook._adopt(p_queue_name);
  end if;
  perform meshhook._check_reach(v_queue);
  return v_queue;
end
$$;
comment on function meshhook._queue is
  'Return a queue and its settings; raise MH001 where there is no such queue, MH004 where the caller may '
  'not reach it.';

create or replace function meshhook._queue_json(p_queue meshhook.queues)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'queue_name', p_queue.queue_name,
    'dlq_name', p_queue.dlq_name,
    'vt_seconds', p_queue.vt_seconds,
    'max_attempts', p_queue.max_attempts,
    'base_delay_ms', p_queue.base_delay_ms,
    'max_delay_ms', p_queue.max_delay_ms,
    'keeps_history', p_queue.keeps_history,
    'has_dead_letters', p_queue.has_dead_letters,
    'retention_days', p_queue.retention_days,
    'paused_at', p_queue.paused_at,
    'created_at', p_queue.created_at
  )
$$;
comment on function meshhook._queue_json is 'Return a queue''s settings as JSON.';

create or replace function meshhook._check_queue_settings(
  p_vt_seconds double precision, p_max_attempts integer, p_base_delay_ms integer, p_max_delay_ms integer,
  p_retention_days double precision
)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform meshhook._check_number('vt_seconds', coalesce(p_vt_seconds, 30), 1, 86400);
  perform meshhook._check_number('max_attempts', coalesce(p_max_attempts, 5), 1, 1000000);
  perform meshhook._check_number('base_delay_ms', coalesce(p_base_delay_ms, 0), 0, 2147483647);
  perform meshhook._check_number(
    'max_delay_ms', coalesce(p_max_delay_ms, 2147483647), coalesce(p_base_delay_ms, 0), 2147483647
  );
  if p_retention_days <> 'infinity' then
    perform meshhook._check_number('retention_days', p_retention_days, 0, 36600);
  end if;
end
$$;
comment on function meshhook._check_queue_settings is
  'Raise MH002 unless each setting that is given is usable.';

-- What is left out (null) stays as it is; so the retention without end, which is null, is given as infinity.
create or replace function meshhook._configure(
  p_queue meshhook.queues, p_dlq_name text, p_vt_seconds double precision, p_max_attempts integer,
  p_base_delay_ms integer, p_max_delay_ms integer, p_keeps_history boolean, p_has_dead_letters boolean,
  p_retention_days double precision
)
returns meshhook.queues language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  if p_max_delay_ms < coalesce(p_base_delay_ms, p_queue.base_delay_ms) then
    perform meshhook._check_number('max_delay_ms', p_max_delay_ms, p_queue.base_delay_ms, 2147483647);
  end if;
  update meshhook.queues q
  set dlq_name = coalesce(p_dlq_name, q.dlq_name),
      vt_seconds = coalesce(p_vt_seconds, q.vt_seconds),
      max_attempts = coalesce(p_max_attempts, q.max_attempts),
      base_delay_ms = coalesce(p_base_delay_ms, q.base_delay_ms),
      max_delay_ms = greatest(
        coalesce(p_max_delay_ms, q.max_delay_ms), coalesce(p_base_delay_ms, q.base_delay_ms)
      ),
      keeps_history = coalesce(p_keeps_history, q.keeps_history),
      has_dead_letters = coalesce(p_has_dead_letters, q.has_dead_letters),
      retention_days = nullif(coalesce(p_retention_days, q.retention_days), 'infinity')
  where q.queue_id = p_queue.queue_id
  returning q.* into v_queue;
  return v_queue;
end
$$;
comment on function meshhook._configure is
  'Change the settings of a queue that are given, and return all of them.';

create or replace function public.meshhook_create_queue(
  queue_name text,
  dlq_name text default null,
  vt_seconds double precision default null,
  max_attempts integer default null,
  base_delay_ms integer default null,
  max_delay_ms integer default null,
  keeps_history boolean default null,
  has_dead_letters boolean default null,
  retention_days double precision default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_create_queue.queue_name;
  v_dlq_name text;
  v_created boolean;
  v_queue meshhook.queues;
begin
  perform meshhook._check_queue_name('queue_name', v_name);
  v_dlq_name := coalesce(
    meshhook_create_queue.dlq_name,
    (select q.dlq_name from meshhook.queues q where q.queue_name = v_name),
    meshhook._dlq_name(v_name)
  );
  perform meshhook._check_dlq_name(v_name, v_dlq_name);
  perform meshhook._check_queue_settings(
    vt_seconds, max_attempts, base_delay_ms, max_delay_ms, retention_days
  );

  v_created := meshhook._repair_pgmq_queue(v_name);
  perform meshhook._repair_pgmq_queue(v_dlq_name);
  v_queue := meshhook._configure(
    meshhook._queue(v_name), meshhook_create_queue.dlq_name, vt_seconds, max_attempts, base_delay_ms,
    max_delay_ms, keeps_history, has_dead_letters, retention_days
  );
  return meshhook._queue_json(v_queue) || jsonb_build_object('created', v_created);
end
$$;
comment on function public.meshhook_create_queue is
  'Create a queue and its dead letter queue, or whatever is missing of them, or change the settings of one '
  'that is there; what is left out stays as it is.';
revoke all on function public.meshhook_create_queue from public, anon, authenticated;
grant execute on function public.meshhook_create_queue to service_role;

create or replace function public.meshhook_configure_queue(
  queue_name text,
  dlq_name text default null,
  vt_seconds double precision default null,
  max_attempts integer default null,
  base_delay_ms integer default null,
  max_delay_ms integer default null,
  keeps_history boolean default null,
  has_dead_letters boolean default null,
  retention_days double precision default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_configure_queue.queue_name);
begin
  if dlq_name is not null then
    perform meshhook._check_dlq_name(v_queue.queue_name, meshhook_configure_queue.dlq_name);
  end if;
  perform meshhook._check_queue_settings(
    vt_seconds, max_attempts, base_delay_ms, max_delay_ms, retention_days
  );
  return meshhook._queue_json(
    meshhook._configure(
      v_queue, meshhook_configure_queue.dlq_name, vt_seconds, max_attempts, base_delay_ms, max_delay_ms,
      keeps_history, has_dead_letters, retention_days
    )
  );
end
$$;
comment on function public.meshhook_configure_queue is
  'Change the settings of a queue that is there and return all of them; what is left out stays as it is. '
  'Workers follow with their next claim.';
revoke all on function public.meshhook_configure_queue from public, anon, authenticated;
grant execute on function public.meshhook_configure_queue to service_role;

-- A claim that is under way goes on; the next one gets nothing. What is running is settled as ever.
create or replace function public.meshhook_pause_queue(queue_name text)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_pause_queue.queue_name);
begin
  update meshhook.queues q
  set paused_at = clock_timestamp()
  where q.queue_id = v_queue.queue_id and q.paused_at is null;
  return found;
end
$$;
comment on function public.meshhook_pause_queue is
  'Hand out no jobs of a queue until it is resumed; return whether it was running. Jobs may still come in.';
revoke all on function public.meshhook_pause_queue from public, anon, authenticated;
grant execute on function public.meshhook_pause_queue to service_role;

create or replace function public.meshhook_resume_queue(queue_name text)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._queue(meshhook_resume_queue.queue_name);
begin
  update meshhook.queues q
  set paused_at = null
  where q.queue_id = v_queue.queue_id and q.paused_at is not null;
  return found;
end
$$;
comment on function public.meshhook_resume_queue is
  'Hand out the jobs of a paused queue again; return whether it was paused.';
revoke all on function public.meshhook_resume_queue from public, anon, authenticated;
grant execute on function public.meshhook_resume_queue to service_role;

create or replace function public.meshhook_list_queues()
returns jsonb language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    jsonb_agg(
      case when q.queue_id is null then '{}' else meshhook._queue_json(q) end
      || jsonb_build_object(
        'queue_name', m.queue_name,
        'created_at', m.created_at,
        'is_dlq', exists (select from meshhook.queues o where o.dlq_name = m.queue_name)
      )
      order by m.queue_name
    ),
    '[]'
  )
  from meshhook._pgmq_queues() m
  left join meshhook.queues q on q.queue_name = m.queue_name
$$;
comment on function public.meshhook_list_queues is
  'Return every PGMQ queue with its settings; those that MeshHook has not used yet have none.';
revoke all on function public.meshhook_list_queues from public, anon, authenticated;
grant execute on function public.meshhook_list_queues to service_role;

create or replace function public.meshhook_drop_queue(
  queue_name text, drop_dlq boolean default false, request_id text default null
)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_drop_queue.queue_name;
  v_dlq_name text;
  v_queue_id integer;
  v_dropped boolean;
  v_answer jsonb := meshhook._recall(v_name, 'drop_queue', request_id);
begin
  if v_answer is not null then
    return v_answer::boolean;
  end if;
  perform meshhook._check_queue_name('queue_name', v_name);
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  delete from meshhook.queues q
  where q.queue_name = v_name
  returning q.dlq_name, q.queue_id into v_dlq_name, v_queue_id;
  delete from meshhook.totals t where t.queue_id = v_queue_id;
  v_dropped := meshhook._drop_pgmq_queue(v_name);
  v_dlq_name := coalesce(v_dlq_name, meshhook._dlq_name(v_name));
  if drop_dlq and not exists (select from meshhook.queues q where q.dlq_name = v_dlq_name) then
    delete from meshhook.queues q where q.queue_name = v_dlq_name;
    perform meshhook._drop_pgmq_queue(v_dlq_name);
    delete from meshhook.requests r where r.queue_name = v_dlq_name;
  end if;
  perform meshhook._close_to_users();
  -- A queue of the same name that comes later is another one, with idempotency keys of its own.
  delete from meshhook.requests r where r.queue_name = v_name;
  perform meshhook._remember(v_name, 'drop_queue', request_id, to_jsonb(v_dropped));
  return v_dropped;
end
$$;
comment on function public.meshhook_drop_queue is
  'Drop a queue with all its jobs and its archive; if asked, its dead letter queue too, unless another '
  'queue uses it. Return whether there was one.';
revoke all on function public.meshhook_drop_queue from public, anon, authenticated;
grant execute on function public.meshhook_drop_queue to service_role;

-- Attempts: which attempt a delivery is, and the texts that queries on a queue's table are made of.
--
-- attempt = message.attempt + deliveries since that was written, where "reads" under the reserved key
-- says at which read_ct it was written. A retry writes attempt + 1, a hand-back writes the same attempt
-- again; a crash writes nothing, so the next delivery counts one more. A message that has not been settled
-- yet has no "reads": its first delivery is message.attempt itself, or 1. With "reads" goes the job's "id",
-- so that in a message that was copied from another job it counts for nothing.

-- The holes, by their names; the table names come last, so nothing is looked for in them:
--   {attempt}          which attempt the last delivery of row q was
--   {job.handed_back}  whether row q was handed back, by a retry or a release, from its last delivery
--   {job.state}        what MeshHook keeps in the message of row h under its reserved key
--   {q}, {other}       the tables of the queue and of another one
-- Expressions are text, because a function with a search_path of its own is not inlined, and calling one for
-- each row would cost more than a claim. Each hole costs a walk through the text, so those that most queries
-- do not have are looked for together first.
create or replace function meshhook._sql(p_queue_name text, p_template text, p_other text default null)
returns text language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sql text := replace(p_template, '{attempt}', $sql$
    least(1000000, greatest(1,
      case when jsonb_typeof(q.message -> 'attempt') = 'number'
        then (q.message -> 'attempt')::numeric else 1 end
      + q.read_ct - 1
      - least(q.read_ct - 1, greatest(0,
          case when q.message -> '_meshhook' -> 'id' = to_jsonb(q.msg_id)
              and jsonb_typeof(q.message -> '_meshhook' -> 'reads') = 'number'
            then (q.message -> '_meshhook' -> 'reads')::numeric else 0 end))
    ))::integer
  $sql$);
begin
  if strpos(v_sql, '{job.') > 0 then
    v_sql := replace(replace(v_sql, '{job.handed_back}', $sql$
      coalesce(q.message -> '_meshhook' @> jsonb_build_object('id', q.msg_id, 'reads', q.read_ct), false)
    $sql$), '{job.state}', $sql$
      case when jsonb_typeof(h.message -> '_meshhook') = 'object'
        then h.message -> '_meshhook' else '{}' end
    $sql$);
  end if;
  if p_other is not null then
    v_sql := replace(v_sql, '{other}', format('pgmq.%I', 'q_' || p_other));
  end if;
  return replace(v_sql, '{q}', format('pgmq.%I', 'q_' || p_queue_name));
end
$$;
comment on function meshhook._sql is 'Return the text of a query, with its holes filled in.';

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

-- Look-up: the whole life of one job, the jobs of a run, the jobs in a state.

create or replace function meshhook._attempts(p_queue_id integer, p_msg_id bigint)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
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
comment on function meshhook._attempts is 'Return the failed attempts of a job, oldest first.';

create or replace function meshhook._state(
  p_msg_id bigint, p_read_ct integer, p_vt timestamptz, p_message jsonb
)
returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_vt <= clock_timestamp() then 'available'
    when p_read_ct = 0 then 'scheduled'
    -- Settled since its last delivery, so no worker holds it: a retry or a snooze waits for its time.
    when p_message -> '_meshhook' @> jsonb_build_object('id', p_msg_id, 'reads', p_read_ct) then 'scheduled'
    else 'leased'
  end
$$;
comment on function meshhook._state is
  'Return the state of a job that is in its queue: available, scheduled or leased.';

create or replace function meshhook._waiting_jobs(p_queue meshhook.queues, p_condition text)
returns text language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._sql(p_queue.queue_name, replace(replace(replace($sql$
    select jsonb_build_object(
      'queue_name', {name}, 'msg_id', q.msg_id, 'run_id', q.message ->> 'run_id',
      'state', meshhook._state(q.msg_id, q.read_ct, q.vt, q.message),
      'read_ct', q.read_ct, 'enqueued_at', q.enqueued_at, 'vt', q.vt, 'message', q.message,
      'attempt', {attempt}, 'attempts', meshhook._attempts({queue_id}, q.msg_id)
    )
    from {q} q
    where {condition}
    $sql$,
    '{name}', quote_literal(p_queue.queue_name)),
    '{queue_id}', p_queue.queue_id::text),
    '{condition}', p_condition))
$$;
comment on function meshhook._waiting_jobs is 'Return the query for jobs that are in their queue.';

create or replace function meshhook._finished_job(p_queue_name text, p_job meshhook.jobs)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'queue_name', p_queue_name, 'msg_id', p_job.msg_id, 'run_id', p_job.run_id,
    'state', case when p_job.replayed_at is not null then 'replayed' else p_job.state end,
    'attempt', p_job.attempts, 'enqueued_at', p_job.enqueued_at, 'finished_at', p_job.finished_at,
    'seconds', p_job.seconds, 'dlq_name', p_job.dlq_name, 'dlq_msg_id', p_job.dlq_msg_id,
    'replayed_at', p_job.replayed_at, 'replayed_to', p_job.replayed_to,
    'replayed_msg_id', p_job.replayed_msg_id,
    'attempts', meshhook._attempts(p_job.queue_id, p_job.msg_id)
  )
$$;
comment on function meshhook._finished_job is 'Return a finished job as JSON.';

create or replace function meshhook._finished_jobs(
  p_queue meshhook.queues, p_state text, p_quantity integer, p_before bigint
)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_agg(meshhook._finished_job(p_queue.queue_name, f.j) order by (f.j).msg_id desc)
  from (
    select j
    from meshhook.jobs j
    where j.queue_id = p_queue.queue_id and j.msg_id < p_before
      and p_state = case when j.replayed_at is not null then 'replayed' else j.state end
    order by j.msg_id desc
    limit p_quantity
  ) f
$$;
comment on function meshhook._finished_jobs is 'Return finished jobs in a state, newest first.';

create or replace function public.meshhook_get_job(queue_name text, msg_id bigint)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
  v_job jsonb;
begin
  v_queue := meshhook._known_queue(meshhook_get_job.queue_name);
  execute meshhook._waiting_jobs(v_queue, 'q.msg_id = $1') into v_job using meshhook_get_job.msg_id;
  if v_job is not null then
    return v_job;
  end if;
  return (
    select meshhook._finished_job(v_queue.queue_name, j)
    from meshhook.jobs j
    where j.queue_id = v_queue.queue_id and j.msg_id = meshhook_get_job.msg_id
  );
end
$$;
comment on function public.meshhook_get_job is
  'Return one job, waiting, running or finished, with its failed attempts; null if there is no trace of it.';
revoke all on function public.meshhook_get_job from public, anon, authenticated;
grant execute on function public.meshhook_get_job to service_role;

create or replace function public.meshhook_find_jobs(
  queue_name text, run_id text, quantity integer default 100
)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
  v_jobs jsonb;
begin
  v_queue := meshhook._known_queue(meshhook_find_jobs.queue_name);
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  execute format(
    $sql$
    select jsonb_agg(f.job order by f.job -> 'msg_id')
    from (
      select e.job
      from (
      (%s order by q.msg_id desc limit $2)
      union all
      (
        select meshhook._finished_job($3, j)
        from meshhook.jobs j
        where j.run_id = left($1, 200) and j.queue_id = $4
        order by j.msg_id desc
        limit $2
      )
      ) e(job)
      order by e.job -> 'msg_id' desc
      limit $2
    ) f(job)
    $sql$,
    meshhook._waiting_jobs(v_queue, 'q.message ->> ''run_id'' = $1')
  )
  into v_jobs
  using meshhook_find_jobs.run_id, quantity, v_queue.queue_name, v_queue.queue_id;
  return coalesce(v_jobs, '[]');
end
$$;
comment on function public.meshhook_find_jobs is
  'Return the jobs of a run, waiting, running and finished, oldest first. Finished jobs are found by index, '
  'waiting ones by a walk through the queue.';
revoke all on function public.meshhook_find_jobs from public, anon, authenticated;
grant execute on function public.meshhook_find_jobs to service_role;

create or replace function public.meshhook_list_jobs(
  queue_name text, state text default null, quantity integer default 100, before_msg_id bigint default null
)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue constant meshhook.queues := meshhook._known_queue(meshhook_list_jobs.queue_name);
  v_before constant bigint := coalesce(before_msg_id, 9223372036854775807);
  v_jobs jsonb;
begin
  perform meshhook._check_number('quantity', quantity, 1, 1000);
  if state in ('completed', 'archived', 'dead_lettered', 'failed', 'cancelled', 'deleted', 'replayed') then
    return coalesce(meshhook._finished_jobs(v_queue, state, quantity, v_before), '[]');
  end if;
  if state not in ('available', 'scheduled', 'leased') then
    perform meshhook._refuse(
      'state', state, 'is no state of a job',
      'Use available, scheduled, leased, completed, archived, dead_lettered, failed, cancelled, deleted or '
        'replayed; leave it out for all jobs that are in the queue.'
    );
  end if;
  execute $sql$ select jsonb_agg(w.job order by w.job -> 'msg_id' desc) from ($sql$
    || meshhook._waiting_jobs(
      v_queue,
      'q.msg_id < $1 and ($2 is null or $2 = meshhook._state(q.msg_id, q.read_ct, q.vt, q.message))'
    )
    || $sql$ order by q.msg_id desc limit $3) w(job) $sql$
  into v_jobs
  using v_before, meshhook_list_jobs.state, quantity;
  return coalesce(v_jobs, '[]');
end
$$;
comment on function public.meshhook_list_jobs is
  'Return the jobs of a queue in a state, or all that are in the queue, newest first; before_msg_id goes on '
  'where the last answer ended.';
revoke all on function public.meshhook_list_jobs from public, anon, authenticated;
grant execute on function public.meshhook_list_jobs to service_role;

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

-- Removal: jobs that are not to be worked on any more.

create or replace function meshhook._remove(
  p_queue_name text, p_verb text, p_state text, p_msg_ids bigint[], p_request_id text
)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_answer jsonb := meshhook._recall(p_queue_name, p_verb, p_request_id);
  v_removed bigint[];
begin
  if v_answer is not null then
    return v_answer;
  end if;
  perform meshhook._require_pgmq_queue('queue_name', p_queue_name);
  perform meshhook._check_receipts(p_msg_ids, null);
  execute meshhook._sql(p_queue_name, $sql$
    with held as materialized (
      select q.msg_id, q.message, q.enqueued_at, {attempt} as attempt
      from {q} q
      where q.msg_id = any ($1)
      order by q.msg_id
      for update of q
    ), gone as (
      delete from {q} q using held h where q.msg_id = h.msg_id
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
  $sql$)
  into v_removed
  using p_msg_ids, p_queue_name, p_state;
  select coalesce(
    jsonb_agg(case when i.msg_id = any (v_removed) then 'ok' else 'missing' end order by i.ord), '[]'
  )
  into v_answer
  from unnest(p_msg_ids) with ordinality as i(msg_id, ord);
  return meshhook._remember(p_queue_name, p_verb, p_request_id, v_answer);
end
$$;
comment on function meshhook._remove is
  'Delete jobs, held by a worker or not, with a state for the history. Return for each ok or missing.';

create or replace function public.meshhook_delete(
  queue_name text, msg_ids bigint[], request_id text default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._remove(queue_name, 'delete', 'deleted', msg_ids, request_id)
$$;
comment on function public.meshhook_delete is
  'Delete jobs or dead letters, held by a worker or not. Return for each ok or missing.';
revoke all on function public.meshhook_delete from public, anon, authenticated;
grant execute on function public.meshhook_delete to service_role;

-- A worker that is at the job hears of it when it extends its lease the next time, and cancels its handler.
create or replace function public.meshhook_cancel(
  queue_name text, msg_ids bigint[], request_id text default null
)
returns jsonb language sql security definer
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._remove(queue_name, 'cancel', 'cancelled', msg_ids, request_id)
$$;
comment on function public.meshhook_cancel is
  'Cancel jobs, waiting or running. Return for each ok, or missing if it was not in the queue any more.';
revoke all on function public.meshhook_cancel from public, anon, authenticated;
grant execute on function public.meshhook_cancel to service_role;

create or replace function public.meshhook_purge(queue_name text, request_id text default null)
returns bigint language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_purge.queue_name;
  v_answer jsonb := meshhook._recall(v_name, 'purge', request_id);
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
comment on function public.meshhook_purge is
  'Delete every job of a queue, running ones too, or every dead letter; return how many there were.';
revoke all on function public.meshhook_purge from public, anon, authenticated;
grant execute on function public.meshhook_purge to service_role;

-- Monitoring: a queue's depth and age, and the running totals.

-- The oldest and the newest job stand at the two ends of the primary key: no walk for their ages.
create or replace function meshhook._depth(
  p_queue_name text,
  out pending bigint, out visible bigint, out oldest timestamptz, out newest timestamptz
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null then
    return;
  end if;
  execute meshhook._sql(p_queue_name, $sql$
    select
      count(*), count(*) filter (where q.vt <= clock_timestamp()),
      (select a.enqueued_at from {q} a order by a.msg_id limit 1),
      (select z.enqueued_at from {q} z order by z.msg_id desc limit 1)
    from {q} q
  $sql$)
  into pending, visible, oldest, newest;
exception when undefined_table or insufficient_privilege then
  null; -- it was dropped while this waited for it, or belongs to another role
end
$$;
comment on function meshhook._depth is
  'Return how many jobs are in a queue, how many of them are visible, and when the first and the last came.';

create or replace function meshhook._age(p_time timestamptz)
returns integer language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- greatest() would make 0 of a null.
  select case when p_time is not null
    then greatest(0, floor(extract(epoch from clock_timestamp() - p_time)))::integer end
$$;
comment on function meshhook._age is
  'Return an age in whole seconds, as PGMQ''s metrics do; null for no time.';

create or replace function meshhook._metrics(p_field text, p_queue_name text)
returns jsonb language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_depth record;
begin
  perform meshhook._require_pgmq_queue(p_field, p_queue_name);
  select * into v_depth from meshhook._depth(p_queue_name);
  return jsonb_build_object(
    'queue_name', p_queue_name,
    'queue_length', v_depth.pending,
    'visible_jobs', v_depth.visible,
    'invisible_jobs', v_depth.pending - v_depth.visible,
    'oldest_msg_age_seconds', meshhook._age(v_depth.oldest),
    'newest_msg_age_seconds', meshhook._age(v_depth.newest)
  );
end
$$;
comment on function meshhook._metrics is 'Return the depth and the ages of a queue as JSON.';

create or replace function public.meshhook_queue_metrics(queue_name text)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_queue_metrics.queue_name;
  v_metrics constant jsonb := meshhook._metrics('queue_name', v_name);
  v_queue meshhook.queues;
begin
  select q.* into v_queue from meshhook.queues q where q.queue_name = v_name;
  v_queue.queue_name := v_name;
  perform meshhook._check_reach(v_queue);
  return v_metrics;
end
$$;
comment on function public.meshhook_queue_metrics is
  'Return how many jobs a queue holds, visible and not, and how old the oldest and the newest are.';
revoke all on function public.meshhook_queue_metrics from public, anon, authenticated;
grant execute on function public.meshhook_queue_metrics to service_role;

create or replace function public.meshhook_dlq_metrics(dlq_name text)
returns jsonb language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'dlq_name', m -> 'queue_name',
    'total_jobs', m -> 'queue_length',
    'oldest_job_age_seconds', m -> 'oldest_msg_age_seconds',
    'newest_job_age_seconds', m -> 'newest_msg_age_seconds'
  )
  from meshhook._metrics('dlq_name', meshhook_dlq_metrics.dlq_name) m
$$;
comment on function public.meshhook_dlq_metrics is
  'Return how many dead letters there are and how old they are.';
revoke all on function public.meshhook_dlq_metrics from public, anon, authenticated;
grant execute on function public.meshhook_dlq_metrics to service_role;

-- The views ask functions that run as their owner. A function in a view otherwise runs as the caller,
-- who may not look into schema pgmq; and the views themselves run as the caller, as Supabase's linter
-- wants them to.
create or replace function meshhook._queue_monitoring()
returns table (
  queue_name text, pending_jobs bigint, invisible_jobs bigint, visible_jobs bigint,
  oldest_job_time timestamptz, newest_job_time timestamptz, oldest_job_age_seconds integer
) language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    m.queue_name, d.pending, d.pending - d.visible, d.visible,
    d.oldest, d.newest, meshhook._age(d.oldest)
  from meshhook._pgmq_queues() m, lateral meshhook._depth(lower(m.queue_name)) d
  where d.pending is not null
  order by m.queue_name
$$;
comment on function meshhook._queue_monitoring is 'Return what public.queue_monitoring shows.';

create or replace function meshhook._job_statistics()
returns table (
  queue_name text, total_jobs bigint, completed_jobs bigint, failed_jobs bigint, dlq_jobs bigint,
  pending_jobs bigint, avg_processing_time_seconds double precision, avg_attempts double precision,
  max_attempts_seen integer
) language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    m.queue_name,
    coalesce(t.completed + t.dead_lettered, 0),
    coalesce(t.completed, 0),
    coalesce(t.dead_lettered, 0),
    coalesce((
      select d.pending from meshhook._depth(coalesce(q.dlq_name, meshhook._dlq_name(lower(m.queue_name)))) d
    ), 0),
    w.pending,
    t.seconds / nullif(t.timed, 0),
    t.attempts::double precision / nullif(t.completed + t.dead_lettered, 0),
    coalesce(t.max_attempt, 0)
  from meshhook._pgmq_queues() m
  cross join lateral meshhook._depth(lower(m.queue_name)) w
  left join meshhook.queues q on q.queue_name = m.queue_name
  left join (
    select
      s.queue_id, sum(s.completed)::bigint as completed, sum(s.dead_lettered)::bigint as dead_lettered,
      sum(s.attempts)::bigint as attempts, max(s.max_attempt) as max_attempt,
      sum(s.timed)::bigint as timed, sum(s.seconds) as seconds
    from meshhook.totals s
    group by s.queue_id
  ) t on t.queue_id = q.queue_id
  where w.pending is not null
    and not exists (select from meshhook.queues o where o.dlq_name = m.queue_name)
  order by m.queue_name
$$;
comment on function meshhook._job_statistics is 'Return what public.job_statistics shows.';

-- The original has views of these names, with columns of other types, which cannot be replaced.
do $$
declare
  v_view text;
begin
  foreach v_view in array array['queue_monitoring', 'job_statistics'] loop
    if exists (
      select
      from pg_views v
      where v.schemaname = 'public' and v.viewname = v_view and v.definition not like '%meshhook.\_%'
    ) then
      execute format('drop view public.%I', v_view);
    end if;
  end loop;
end
$$;

create or replace view public.queue_monitoring with (security_invoker = on) as
  select
    queue_name, pending_jobs, invisible_jobs, visible_jobs,
    oldest_job_time, newest_job_time, oldest_job_age_seconds
  from meshhook._queue_monitoring();
comment on view public.queue_monitoring is
  'Depth and age of every queue, dead letter queues too. invisible_jobs are being processed or wait for '
  'their time.';

create or replace view public.job_statistics with (security_invoker = on) as
  select
    queue_name, total_jobs, completed_jobs, failed_jobs, dlq_jobs, pending_jobs,
    avg_processing_time_seconds, avg_attempts, max_attempts_seen
  from meshhook._job_statistics();
comment on view public.job_statistics is
  'Running totals of every queue: total_jobs = completed_jobs + failed_jobs are the jobs processed so far, '
  'failed_jobs those that ever went to the dead letter queue; dlq_jobs and pending_jobs are there now.';

revoke all on public.queue_monitoring, public.job_statistics from public, anon, authenticated, service_role;

grant select on public.queue_monitoring, public.job_statistics to service_role;

-- Retention: history and archives grow until they are pruned.

create or replace function meshhook._prune_archive(p_queue_name text, p_before timestamptz, p_limit integer)
returns integer language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
begin
  execute format(
    $sql$
    with old as (
      select a.msg_id
      from pgmq.%1$I a
      where a.archived_at < $1
      order by a.archived_at
      limit $2
      for update skip locked
    ), gone as (
      delete from pgmq.%1$I a using old o where a.msg_id = o.msg_id returning 1
    )
    select count(*)::integer from gone
    $sql$,
    'a_' || p_queue_name
  )
  into v_count
  using p_before, p_limit;
  return v_count;
end
$$;
comment on function meshhook._prune_archive is
  'Delete up to so many archived messages of a queue that are older than a time.';

create or replace function meshhook._prune_jobs(p_queue_id integer, p_before timestamptz, p_limit integer)
returns integer language sql
set search_path = pg_catalog, pg_temp
as $$
  with old as (
    select j.queue_id, j.msg_id
    from meshhook.jobs j
    where j.finished_at < p_before and (p_queue_id is null or j.queue_id = p_queue_id)
    order by j.finished_at
    limit p_limit
    for update skip locked
  ), gone as (
    delete from meshhook.jobs j using old o where j.queue_id = o.queue_id and j.msg_id = o.msg_id returning 1
  )
  select count(*)::integer from gone
$$;
comment on function meshhook._prune_jobs is 'Delete up to so many finished jobs from the history.';

create or replace function meshhook._prune_attempts(p_queue_id integer, p_before timestamptz, p_limit integer)
returns integer language sql
set search_path = pg_catalog, pg_temp
as $$
  with old as (
    select a.queue_id, a.msg_id, a.read_ct
    from meshhook.attempts a
    where a.failed_at < p_before and (p_queue_id is null or a.queue_id = p_queue_id)
    order by a.failed_at
    limit p_limit
    for update skip locked
  ), gone as (
    delete from meshhook.attempts a using old o
    where a.queue_id = o.queue_id and a.msg_id = o.msg_id and a.read_ct = o.read_ct
    returning 1
  )
  select count(*)::integer from gone
$$;
comment on function meshhook._prune_attempts is 'Delete up to so many failed attempts from the history.';

create or replace function meshhook._prune_as_configured(p_queue_name text, p_max_rows integer)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
  v_part jsonb;
  v_left integer := p_max_rows;
  v_sum jsonb := '{"jobs": 0, "attempts": 0, "archived": 0, "requests": 0}';
begin
  for v_queue in
    select q.*
    from meshhook.queues q
    where q.retention_days is not null and (p_queue_name is null or q.queue_name = p_queue_name)
      and exists (select from pgmq.meta m where m.queue_name = q.queue_name)
    order by q.queue_name
  loop
    exit when v_left <= 0;
    v_part := public.meshhook_prune(v_queue.retention_days, v_queue.queue_name, v_left);
    select jsonb_object_agg(s.key, s.value::bigint + (v_part ->> s.key)::bigint) into v_sum
    from jsonb_each(v_sum) s;
    select p_max_rows - sum(s.value::bigint) into v_left from jsonb_each(v_sum) s;
  end loop;
  return v_sum || jsonb_build_object('more', v_left <= 0);
end
$$;
comment on function meshhook._prune_as_configured is
  'Prune the queues that have a retention, each by its own.';

create or replace function public.meshhook_prune(
  older_than_days double precision default null, queue_name text default null, max_rows integer default 10000
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_prune.queue_name;
  v_before timestamptz;
  v_queue_id integer;
  v_left integer := max_rows;
  v_jobs integer;
  v_attempts integer;
  v_requests integer;
  v_archived integer := 0;
  v_archive text;
begin
  perform meshhook._check_number('older_than_days', coalesce(older_than_days, 0), 0, 36600);
  perform meshhook._check_number('max_rows', max_rows, 1, 100000);
  if older_than_days is null then
    if v_name is not null then
      perform meshhook._queue(v_name);
    end if;
    return meshhook._prune_as_configured(v_name, max_rows);
  end if;
  v_before := clock_timestamp() - make_interval(secs => 86400 * older_than_days);
  if v_name is not null then
    v_queue_id := (meshhook._queue(v_name)).queue_id;
  end if;

  v_requests := meshhook._forget(v_left);
  v_left := v_left - v_requests;
  v_jobs := meshhook._prune_jobs(v_queue_id, v_before, v_left);
  v_left := v_left - v_jobs;
  v_attempts := meshhook._prune_attempts(v_queue_id, v_before, v_left);
  v_left := v_left - v_attempts;
  for v_archive in
    select q.queue_name
    from meshhook.queues q
    where (v_name is null or q.queue_name = v_name)
      and exists (select from pgmq.meta m where m.queue_name = q.queue_name)
    order by q.queue_name
  loop
    v_archived := v_archived + meshhook._prune_archive(v_archive, v_before, v_left - v_archived);
  end loop;
  return jsonb_build_object(
    'jobs', v_jobs, 'attempts', v_attempts, 'archived', v_archived, 'requests', v_requests,
    'more', v_left - v_archived <= 0
  );
end
$$;
comment on function public.meshhook_prune is
  'Delete history and archived messages older than so many days, or than each queue''s own retention_days, '
  'at most max_rows a call; "more" says whether to call again.';
revoke all on function public.meshhook_prune from public, anon, authenticated;
grant execute on function public.meshhook_prune to service_role;

-- Workers: what each says about itself with a call that it makes anyway.

-- A worker reports itself with a call that it makes anyway. Its row is its own, so no call waits for it,
-- and it is written last. Workers of the past are dropped on the way, and one that stopped in order says so.
create or replace function meshhook._seen(p_worker jsonb)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
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
      'worker', p_worker::text, 'is not a report of a worker',
      'Leave it out; the SDK''s Worker sends it.'
    );
  end;
  if v_worker.worker_id is null or v_worker.queue_names is null or length(v_worker.worker_id) > 200 then
    perform meshhook._refuse(
      'worker', p_worker::text, 'has no worker_id of up to 200 characters or no queue_names',
      'Leave it out; the SDK''s Worker sends it.'
    );
  end if;
  if p_worker -> 'is_stopped' = 'true' then
    delete from meshhook.workers w where w.worker_id = v_worker.worker_id;
    return;
  end if;
  insert into meshhook.workers as w (
    worker_id, name, queue_names, host, pid, version, concurrency, running, interval_seconds,
    started_at, seen_at
  )
  values (
    v_worker.worker_id, left(v_worker.name, 200), v_worker.queue_names[1:1000], left(v_worker.host, 200),
    v_worker.pid, left(v_worker.version, 200), v_worker.concurrency, v_worker.running,
    coalesce(v_worker.interval_seconds, 30),
    coalesce(v_worker.started_at, clock_timestamp()), clock_timestamp()
  )
  on conflict on constraint workers_pkey do update set
    name = excluded.name, queue_names = excluded.queue_names, host = excluded.host, pid = excluded.pid,
    version = excluded.version, concurrency = excluded.concurrency, running = excluded.running,
    interval_seconds = excluded.interval_seconds,
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
comment on function meshhook._seen is
  'Keep the report of a worker, or delete it when it says that it is stopped; null is no report.';

create or replace function public.meshhook_list_workers(queue_name text default null)
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_list_workers.queue_name;
begin
  if v_name is not null then
    perform meshhook._check_queue_name('queue_name', v_name);
  end if;
  return (
    select coalesce(
      jsonb_agg(
        to_jsonb(w) || jsonb_build_object(
          'is_alive', w.seen_at > clock_timestamp() - make_interval(secs => 3 * w.interval_seconds)
        )
        order by w.started_at, w.worker_id
      ),
      '[]'
    )
    from meshhook.workers w
    where v_name is null or v_name = any (w.queue_names)
  );
end
$$;
comment on function public.meshhook_list_workers is
  'Return the workers of a queue, or all, that were seen within a day. One that has missed three of its '
  'signs of life is not alive.';
revoke all on function public.meshhook_list_workers from public, anon, authenticated;
grant execute on function public.meshhook_list_workers to service_role;

-- Less than the service key: end users who may enqueue, and roles that may enqueue or work in some queues.
--
-- Both are off until the project's owner turns them on.
--   * meshhook_allow_user_enqueue() lets signed-in users put jobs into one queue, through
--     meshhook_user_enqueue() alone. Each job carries the user's id, which the user cannot choose.
--   * meshhook.grant_enqueue() and meshhook.grant_work() give a role of the owner's the functions of one
--     verb, and a row for each queue. Execute rights say what the role may do; the rows say where.
--
-- Locks: the request's first, then the user's row, and after these what an enqueue takes.
--
-- What is given is tied to queue_id: a later queue of the same name lets no role in.
-- A caller that is turned away gets an HTTP status that says so, which PostgREST takes from an error of
-- SQLSTATE PGRST: MH004 not allowed, with 403; MH005 quota used up, with 429 and Retry-After. As SQLSTATEs,
-- both would be answered with 400.

create or replace function meshhook._check_role(p_role_name text)
returns void language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select
    from pg_roles r
    where r.rolname = p_role_name
      and r.rolname not in ('anon', 'authenticated', 'authenticator', 'service_role')
      and not r.rolsuper and not r.rolbypassrls
      and not pg_has_role(r.oid, current_user, 'member')
      and not pg_has_role(r.oid, 'service_role', 'member')
  ) then
    perform meshhook._refuse(
      'role_name', p_role_name, 'is not a role of yours, without other rights',
      'Make one with "create role ... nologin noinherit" and "grant ... to authenticator".'
    );
  end if;
end
$$;
comment on function meshhook._check_role is
  'Raise MH002 unless there is such a role, and it is none of Supabase''s and no administrator.';

create or replace function meshhook._grant(p_role_name text, p_queue_name text, p_verb text)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
  v_function regprocedure;
begin
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  perform meshhook._check_role(p_role_name);
  v_queue := meshhook._queue(p_queue_name);
  delete from meshhook.grants g
  where not exists (select from meshhook.queues q where q.queue_id = g.queue_id);
  if exists (select from meshhook.grants g where g.role_name = p_role_name and g.verb <> p_verb) then
    perform meshhook._refuse(
      'role_name', p_role_name, 'has grants of the other verb',
      'Make one role to enqueue and another to work.'
    );
  end if;
  insert into meshhook.grants (role_name, queue_id, verb)
  values (p_role_name, v_queue.queue_id, p_verb)
  on conflict on constraint grants_pkey do nothing;
  for v_function in select f from meshhook._granted_functions(p_verb) f loop
    execute format('grant execute on function %s to %I', v_function, p_role_name);
  end loop;
end
$$;
comment on function meshhook._grant is 'Let a role use the functions of a verb in one more queue.';

create or replace function meshhook.grant_enqueue(p_role_name text, p_queue_name text)
returns void language sql
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._grant(p_role_name, p_queue_name, 'enqueue')
$$;
comment on function meshhook.grant_enqueue is
  'Let a role of yours enqueue into a queue, and neither read nor settle what is there. For the owner of '
  'the database.';

create or replace function meshhook.grant_work(p_role_name text, p_queue_name text)
returns void language sql
set search_path = pg_catalog, pg_temp
as $$
  select meshhook._grant(p_role_name, p_queue_name, 'work')
$$;
comment on function meshhook.grant_work is
  'Let a role of yours claim, extend and settle the jobs of a queue, as a worker does. For the owner of the '
  'database.';

create or replace function meshhook.revoke_grants(p_role_name text)
returns integer language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure;
  v_count integer;
begin
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  if exists (select from pg_roles r where r.rolname = p_role_name) then
    for v_function in
      select p.oid::regprocedure
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'public'
      where p.proname like 'meshhook\_%'
        and exists (select from meshhook.grants g where g.role_name = p_role_name)
    loop
      execute format('revoke all on function %s from %I', v_function, p_role_name);
    end loop;
  end if;
  delete from meshhook.grants g where g.role_name = p_role_name;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function meshhook.revoke_grants is
  'Take all grants from a role, and return how many queues they were for. For the owner of the database, '
  'before the role is dropped.';

-- The claims are those that PostgREST verified; auth.uid() reads the same setting.
create or replace function meshhook._end_user(p_allows_anonymous boolean)
returns uuid language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims constant jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
  v_user constant text := lower(v_claims ->> 'sub');
begin
  if v_user is null or v_user !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    perform meshhook._turn_away(
      403, 'MH004', 'sub', v_user, 'The request comes from no user.',
      'Sign in, and send the access token of the session.'
    );
  end if;
  if not p_allows_anonymous and v_claims -> 'is_anonymous' = 'true'::jsonb then
    perform meshhook._turn_away(
      403, 'MH004', 'is_anonymous', 'true', 'Anonymous users may not enqueue here.',
      'Sign in with an identity, or let meshhook_allow_user_enqueue() allow anonymous users.'
    );
  end if;
  return v_user::uuid;
end
$$;
comment on function meshhook._end_user is
  'Return the id of the user whose token came with the request; raise MH004 where there is none.';

-- One answer for every queue that is not allowed, there or not: a user learns no names.
create or replace function meshhook._user_queue(p_queue_name text)
returns meshhook.user_queues language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_allowed meshhook.user_queues;
begin
  perform meshhook._check_queue_name('queue_name', p_queue_name);
  select u.* into v_allowed
  from meshhook.user_queues u
  join meshhook.queues q on q.queue_id = u.queue_id
  join meshhook._pgmq_queues() m on m.queue_name = q.queue_name and m.created_at = q.created_at
  where q.queue_name = p_queue_name;
  if not found then
    perform meshhook._turn_away(
      403, 'MH004', 'queue_name', p_queue_name, format('Users may not enqueue into "%s".', p_queue_name),
      'Let the server call meshhook_allow_user_enqueue(), if they should.'
    );
  end if;
  return v_allowed;
end
$$;
comment on function meshhook._user_queue is
  'Return within which limits users may enqueue into a queue; raise MH004 where they may not.';

-- What decides how a job is run is not the user's to choose: a user could otherwise have it tried a million
-- times, pass for another user, or pretend that it has failed before.
create or replace function meshhook._check_user_message(p_message jsonb, p_max_bytes integer)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bytes constant integer := octet_length(p_message::text);
  v_field text;
begin
  if jsonb_typeof(p_message) is distinct from 'object' then
    perform meshhook._refuse('message', p_message::text, 'must be a JSON object', 'Send an object.');
  end if;
  if v_bytes > p_max_bytes then
    perform meshhook._refuse(
      'message', v_bytes::text, format('is larger than %s bytes', p_max_bytes),
      'Send less, such as a reference to where the rest is kept.'
    );
  end if;
  select k into v_field
  from jsonb_object_keys(p_message) k
  where k in (
    '_meshhook', 'user_id', 'attempt', 'max_attempts', 'enqueued_at', 'last_error', 'last_error_at',
    'error_message', 'error_stack', 'moved_to_dlq_at', 'original_msg_id', 'original_enqueued_at', 'read_count'
  )
  order by k
  limit 1;
  if found then
    perform meshhook._refuse(
      'message.' || v_field, (p_message -> v_field)::text, 'is not for users to set', 'Leave it out.'
    );
  end if;
end
$$;
comment on function meshhook._check_user_message is
  'Raise MH002 unless the message is an object, small enough, and without the fields that MeshHook sets.';

create or replace function meshhook._forget_user_sends(p_limit integer)
returns bigint language sql
set search_path = pg_catalog, pg_temp
as $$
  with expired as (
    select s.queue_id, s.user_id
    from meshhook.user_sends s
    where s.expires_at <= clock_timestamp()
    order by s.expires_at
    limit p_limit
    for update skip locked
  ), gone as (
    delete from meshhook.user_sends s
    using expired e
    where s.queue_id = e.queue_id and s.user_id = e.user_id
    returning 1
  )
  select count(*) from gone
$$;
comment on function meshhook._forget_user_sends is
  'Delete up to so many rows that count for no quota any more.';

-- Exact: the user's row is locked before the clock is read, so calls at the same time are counted one after
-- the other, and every span of per_seconds holds at most quota jobs, not only those that begin on the minute.
create or replace function meshhook._spend_quota(p_allowed meshhook.user_queues, p_user uuid)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sent timestamptz[];
  v_now timestamptz;
  v_wait double precision;
begin
  insert into meshhook.user_sends as s (queue_id, user_id, expires_at)
  values (p_allowed.queue_id, p_user, clock_timestamp())
  on conflict on constraint user_sends_pkey do update set expires_at = s.expires_at
  returning s.sent_at into v_sent;
  v_now := clock_timestamp();
  v_sent := array(
    select t from unnest(v_sent) t where t > v_now - make_interval(secs => p_allowed.per_seconds) order by t
  );
  if cardinality(v_sent) >= p_allowed.quota then
    v_wait := p_allowed.per_seconds
      - extract(epoch from v_now - v_sent[cardinality(v_sent) - p_allowed.quota + 1])::double precision;
    perform meshhook._turn_away(
      429, 'MH005', 'quota', p_allowed.quota::text,
      format('You may enqueue %s jobs in %s seconds, and have.', p_allowed.quota, p_allowed.per_seconds),
      format('Wait %s seconds.', greatest(1, ceil(v_wait))),
      jsonb_build_object('Retry-After', greatest(1, ceil(v_wait))::text)
    );
  end if;
  update meshhook.user_sends s
  set sent_at = v_sent || v_now, expires_at = v_now + make_interval(secs => p_allowed.per_seconds)
  where s.queue_id = p_allowed.queue_id and s.user_id = p_user;
  if random() < 0.01 then
    perform meshhook._forget_user_sends(200);
  end if;
end
$$;
comment on function meshhook._spend_quota is
  'Count one more job of a user; raise MH005 where the quota is used up.';

-- No id in the answer: it would tell a user how many jobs others have sent.
create or replace function public.meshhook_user_enqueue(
  queue_name text, message jsonb, delay_seconds double precision default 0, request_id text default null,
  run_at timestamptz default null
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_user_enqueue.queue_name;
  v_allowed constant meshhook.user_queues := meshhook._user_queue(v_name);
  v_user constant uuid := meshhook._end_user(v_allowed.allows_anonymous);
  -- The memory is the user's own: to guess another user's request_id gives nothing.
  v_verb constant text := 'user_enqueue ' || v_user;
  v_answer constant jsonb := meshhook._recall(v_name, v_verb, request_id);
begin
  if v_answer is not null then
    return v_answer || jsonb_build_object('duplicate', true);
  end if;
  perform meshhook._check_user_message(message, v_allowed.max_bytes);
  perform meshhook._check_delay('delay_seconds', delay_seconds);
  perform meshhook._check_one_time(delay_seconds, run_at);
  perform meshhook._check_run_at('run_at', run_at);
  perform meshhook._spend_quota(v_allowed, v_user);
  perform meshhook._insert_messages(
    meshhook._queue(v_name), jsonb_build_array(message || jsonb_build_object('user_id', v_user)),
    delay_seconds, null, case when run_at is not null then array[run_at] end
  );
  return meshhook._remember(v_name, v_verb, request_id, jsonb_build_object('duplicate', false));
end
$$;
comment on function public.meshhook_user_enqueue is
  'Enqueue a job for the user who is signed in, whose id it carries as user_id. Only into queues that '
  'meshhook_allow_user_enqueue() names.';
revoke all on function public.meshhook_user_enqueue from public, anon;
grant execute on function public.meshhook_user_enqueue to service_role;
do $$
begin
  -- Applied again, this leaves users what they were allowed.
  if not exists (select from meshhook.user_queues) then
    revoke all on function public.meshhook_user_enqueue from authenticated;
  end if;
end
$$;

create or replace function meshhook._close_to_users()
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from meshhook.user_queues u
  where not exists (select from meshhook.queues q where q.queue_id = u.queue_id);
  if not exists (select from meshhook.user_queues) then
    revoke all on function public.meshhook_user_enqueue from authenticated;
  end if;
end
$$;
comment on function meshhook._close_to_users is
  'Forget queues that are no longer there; without any queue for users, take their right to enqueue away.';

create or replace function public.meshhook_allow_user_enqueue(
  queue_name text,
  max_bytes integer default 16384,
  quota integer default 60,
  per_seconds double precision default 60,
  allows_anonymous boolean default false
)
returns jsonb language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue meshhook.queues;
begin
  perform meshhook._check_number('max_bytes', max_bytes, 2, 1048576);
  perform meshhook._check_number('quota', quota, 1, 1000);
  perform meshhook._check_number('per_seconds', per_seconds, 1, 2678400);
  if allows_anonymous is null then
    perform meshhook._refuse('allows_anonymous', null, 'must be true or false', 'Leave it out for false.');
  end if;
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  v_queue := meshhook._queue(meshhook_allow_user_enqueue.queue_name);
  if exists (select from meshhook.queues q where q.dlq_name = v_queue.queue_name) then
    perform meshhook._refuse(
      'queue_name', v_queue.queue_name, 'is a dead letter queue', 'Name the queue that jobs are worked from.'
    );
  end if;
  delete from meshhook.user_queues u
  where not exists (select from meshhook.queues q where q.queue_id = u.queue_id);
  insert into meshhook.user_queues as u (queue_id, max_bytes, quota, per_seconds, allows_anonymous)
  values (
    v_queue.queue_id, meshhook_allow_user_enqueue.max_bytes, meshhook_allow_user_enqueue.quota,
    meshhook_allow_user_enqueue.per_seconds, meshhook_allow_user_enqueue.allows_anonymous
  )
  on conflict on constraint user_queues_pkey do update set
    max_bytes = excluded.max_bytes, quota = excluded.quota,
    per_seconds = excluded.per_seconds, allows_anonymous = excluded.allows_anonymous;
  grant execute on function public.meshhook_user_enqueue to authenticated;
  return jsonb_build_object(
    'queue_name', v_queue.queue_name, 'max_bytes', max_bytes, 'quota', quota,
    'per_seconds', per_seconds, 'allows_anonymous', allows_anonymous
  );
end
$$;
comment on function public.meshhook_allow_user_enqueue is
  'Let signed-in users enqueue into a queue, each at most quota jobs of max_bytes in any per_seconds; '
  'called again, it changes the limits.';
revoke all on function public.meshhook_allow_user_enqueue from public, anon, authenticated;
grant execute on function public.meshhook_allow_user_enqueue to service_role;

create or replace function public.meshhook_disallow_user_enqueue(queue_name text)
returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := meshhook_disallow_user_enqueue.queue_name;
  v_allowed boolean;
begin
  perform meshhook._check_queue_name('queue_name', v_name);
  perform pg_advisory_xact_lock(hashtextextended('meshhook grants', 0));
  delete from meshhook.user_queues u
  using meshhook.queues q
  where q.queue_id = u.queue_id and q.queue_name = v_name;
  v_allowed := found;
  perform meshhook._close_to_users();
  return v_allowed;
end
$$;
comment on function public.meshhook_disallow_user_enqueue is
  'Let users enqueue into a queue no longer; return whether they could. Without any such queue, they cannot '
  'call meshhook_user_enqueue() either.';
revoke all on function public.meshhook_disallow_user_enqueue from public, anon, authenticated;
grant execute on function public.meshhook_disallow_user_enqueue to service_role;

-- Doctor: the facts by which `meshhook doctor` tells what is wrong, read in one call.

-- The text of a function is what a version of it is known by, wherever its lines were ended.
create or replace function meshhook._doctor_functions()
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    jsonb_object_agg(n.nspname || '.' || p.proname, md5(replace(p.prosrc, chr(13), ''))),
    '{}'
  )
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = 'meshhook' or (n.nspname = 'public' and starts_with(p.proname, 'meshhook_'))
$$;
comment on function meshhook._doctor_functions is
  'Return what the text of each of MeshHook''s functions comes to.';

create or replace function meshhook._doctor_open_doors()
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with strangers as (
    select r.oid, r.rolname from pg_roles r where r.rolname in ('anon', 'authenticated')
  ), doors(kind, name, role) as (
    select 'function', p.oid::regprocedure::text, s.rolname
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    cross join strangers s
    where n.nspname = 'public' and starts_with(p.proname, 'meshhook_')
      and has_function_privilege(s.oid, p.oid, 'execute')
      -- This one is for signed-in users, where the owner has let them in.
      and not (p.proname = 'meshhook_user_enqueue' and s.rolname = 'authenticated')
    union all
    select 'schema', n.nspname::text, s.rolname
    from pg_namespace n
    cross join strangers s
    where n.nspname = 'meshhook' and has_schema_privilege(s.oid, n.oid, 'usage')
    union all
    -- A right to a table of PGMQ is of use where its schema is open and no row level security holds.
    select 'table', c.oid::regclass::text, s.rolname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join strangers s
    where c.relkind in ('r', 'p', 'v')
      and has_table_privilege(s.oid, c.oid, 'select, insert, update, delete')
      and case n.nspname
        when 'public' then c.relname in ('queue_monitoring', 'job_statistics')
        when 'meshhook' then true
        when 'pgmq' then
          c.relname ~ '^[qa]_' and not c.relrowsecurity and has_schema_privilege(s.oid, n.oid, 'usage')
        else false
      end
  )
  select coalesce(
    jsonb_agg(
      jsonb_build_object('kind', d.kind, 'name', d.name, 'role', d.role) order by d.kind, d.name, d.role
    ),
    '[]'
  )
  from doors d
$$;
comment on function meshhook._doctor_open_doors is
  'Return what of MeshHook and its queues anon or authenticated may use.';

-- What the SDK calls and reads as service_role, and the two functions behind the views.
create or replace function meshhook._doctor_lost_rights()
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with needed(kind, name, lost) as (
    select 'function', p.oid::regprocedure::text, not has_function_privilege(r.oid, p.oid, 'execute')
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    join pg_roles r on r.rolname = 'service_role'
    where (n.nspname = 'public' and starts_with(p.proname, 'meshhook_'))
      or (n.nspname = 'meshhook' and p.proname in ('_queue_monitoring', '_job_statistics'))
    union all
    select 'view', c.oid::regclass::text, not has_table_privilege(r.oid, c.oid, 'select')
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_roles r on r.rolname = 'service_role'
    where n.nspname = 'public' and c.relname in ('queue_monitoring', 'job_statistics')
  )
  select coalesce(
    jsonb_agg(jsonb_build_object('kind', d.kind, 'name', d.name) order by d.kind, d.name)
      filter (where d.lost),
    '[]'
  )
  from needed d
$$;
comment on function meshhook._doctor_lost_rights is 'Return what service_role needs and may not use.';

create or replace function meshhook._doctor_relations()
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(n.nspname || '.' || c.relname order by n.nspname, c.relname), '[]')
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where (n.nspname = 'meshhook' and c.relkind in ('r', 'p', 'i', 'I', 'v'))
    or (n.nspname = 'public' and c.relkind = 'v' and c.relname in ('queue_monitoring', 'job_statistics'))
$$;
comment on function meshhook._doctor_relations is
  'Return which of MeshHook''s tables, indexes and views are there.';

-- Read from the catalogue alone, so it is answered for a table that this role may not read, too. Triggers of
-- MeshHook, PGMQ and Postgres itself are left out; those of others run with every job.
create or replace function meshhook._doctor_table(p_name text)
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'rows', greatest(c.reltuples, 0)::bigint,
    'bytes', pg_total_relation_size(c.oid),
    'live_tuples', coalesce(t.n_live_tup, 0),
    'dead_tuples', coalesce(t.n_dead_tup, 0),
    'unlogged', c.relpersistence = 'u',
    'partitioned', c.relkind = 'p',
    'owner', pg_get_userbyid(c.relowner),
    'missing_rights', (
      select coalesce(jsonb_agg(w.name order by w.position), '[]')
      from unnest(array['select', 'insert', 'update', 'delete']) with ordinality w(name, position)
      where not has_table_privilege(c.oid, w.name)
    ),
    'indexed', (
      select coalesce(jsonb_agg(distinct k.attname), '[]')
      from pg_index i
      join pg_attribute k on k.attrelid = c.oid and k.attnum = i.indkey[0]
      where i.indrelid = c.oid and i.indisvalid and i.indpred is null
    ),
    'broken_indexes', (
      select coalesce(jsonb_agg(x.relname order by x.relname), '[]')
      from pg_index i
      join pg_class x on x.oid = i.indexrelid
      where i.indrelid = c.oid and not i.indisvalid
    ),
    'triggers', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object('name', g.tgname, 'function', g.tgfoid::regprocedure::text)
          order by g.tgname
        ),
        '[]'
      )
      from pg_trigger g
      join pg_proc p on p.oid = g.tgfoid
      join pg_namespace n on n.oid = p.pronamespace
      where g.tgrelid = c.oid and not g.tgisinternal and g.tgenabled <> 'D'
        and n.nspname not in ('meshhook', 'pgmq')
    )
  )
  from pg_class c
  left join pg_stat_all_tables t on t.relid = c.oid
  where c.oid = to_regclass(p_name)
$$;
comment on function meshhook._doctor_table is
  'Return the size of a table, how much of it is dead, its owner, what this role may not do in it, the '
  'columns that indexes begin with, and triggers of others; null where there is none.';

-- Everything here but the depth reads the ends of an index, or at most a thousand rows.
create or replace function meshhook._doctor_queue(p_queue_name text)
returns jsonb language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_depth record;
  v_due timestamptz;
  v_lapsed bigint;
  v_archived timestamptz;
begin
  select * into v_depth from meshhook._depth(p_queue_name);
  execute format(
    $sql$
    select
      (select d.vt from pgmq.%1$I d where d.vt <= clock_timestamp() order by d.vt limit 1),
      (
        select count(*)
        from (
          select q.msg_id, q.read_ct, q.message
          from pgmq.%1$I q
          where q.vt <= clock_timestamp() - interval '1 minute'
          order by q.vt
          limit 1000
        ) l
        where l.read_ct > 0
          and (l.message -> '_meshhook' @> jsonb_build_object('id', l.msg_id, 'reads', l.read_ct)) is not true
      ),
      (select a.archived_at from pgmq.%2$I a order by a.archived_at limit 1)
    $sql$,
    'q_' || p_queue_name, 'a_' || p_queue_name
  )
  into v_due, v_lapsed, v_archived;
  return jsonb_build_object(
    'visible_jobs', v_depth.visible,
    'invisible_jobs', v_depth.pending - v_depth.visible,
    'overdue_seconds', meshhook._age(v_due),
    'lapsed_jobs', v_lapsed,
    'oldest_archived_seconds', meshhook._age(v_archived)
  );
exception when others then
  return jsonb_build_object('broken', jsonb_build_object('code', sqlstate, 'message', sqlerrm));
end
$$;
comment on function meshhook._doctor_queue is
  'Return the depth of a queue, how long its jobs are overdue, and its lapsed leases; or why it cannot be '
  'read.';

create or replace function meshhook._doctor_queues()
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    jsonb_agg(
      meshhook._doctor_queue(lower(m.queue_name)) || jsonb_build_object(
        'queue_name', m.queue_name,
        'table', meshhook._doctor_table(format('pgmq.%I', 'q_' || lower(m.queue_name))),
        'archive', meshhook._doctor_table(format('pgmq.%I', 'a_' || lower(m.queue_name))),
        'settings', to_jsonb(q),
        'is_dlq', exists (select from meshhook.queues o where o.dlq_name = m.queue_name),
        'has_dlq', exists (select from meshhook._pgmq_queues() d where d.queue_name = q.dlq_name),
        'finished_jobs', (
          select sum(t.completed + t.dead_lettered) from meshhook.totals t where t.queue_id = q.queue_id
        )
      )
      order by m.queue_name
    ),
    '[]'
  )
  from meshhook._pgmq_queues() m
  left join meshhook.queues q on q.queue_name = m.queue_name
$$;
comment on function meshhook._doctor_queues is 'Return the facts of every queue.';

-- pg_cron is where pruning is usually scheduled; it need not be there, nor be open to this role.
create or replace function meshhook._doctor_prunes()
returns integer language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
begin
  if to_regclass('cron.job') is null then
    return 0;
  end if;
  execute $sql$
    select count(*)::integer from cron.job j where j.active and j.command like '%meshhook_prune%'
  $sql$
  into v_count;
  return v_count;
exception when insufficient_privilege or undefined_table or undefined_column then
  return null;
end
$$;
comment on function meshhook._doctor_prunes is
  'Return how many jobs of pg_cron prune the history; null where that cannot be seen.';

-- Whatever is older than it should be is among the oldest; more of it need not be read.
create or replace function meshhook._doctor_history()
returns jsonb language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('queue_name', q.queue_name, 'seconds', meshhook._age(j.finished_at))
  from (select h.queue_id, h.finished_at from meshhook.jobs h order by h.finished_at limit 1000) j
  left join meshhook.queues q on q.queue_id = j.queue_id
  where q.retention_days is null
  order by j.finished_at
  limit 1
$$;
comment on function meshhook._doctor_history is
  'Return the age of the oldest finished job that nothing prunes, and its queue; null for one that was '
  'dropped.';

-- Each part is read by itself: where something of MeshHook is missing, changed or out of reach, that part has
-- the error, and the others still say what they know.
create or replace function public.meshhook_doctor()
returns jsonb language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts jsonb := jsonb_build_object(
    'now', clock_timestamp(),
    'role', current_user,
    'has_schema', to_regnamespace('meshhook') is not null,
    'has_pgmq', to_regclass('pgmq.meta') is not null and to_regprocedure('pgmq.create(text)') is not null,
    'pgmq_version', (select e.extversion from pg_extension e where e.extname = 'pgmq'),
    'postgres_version', current_setting('server_version'),
    'statement_timeout_ms', (
      select s.setting::bigint from pg_settings s where s.name = 'statement_timeout'
    )
  );
  v_failed jsonb := '{}';
  v_part record;
  v_value jsonb;
begin
  for v_part in
    select p.name, p.query
    from (
      values
        ('schema_version', $q$ select public.meshhook_version() -> 'schema_version' $q$),
        ('functions', 'select meshhook._doctor_functions()'),
        ('relations', 'select meshhook._doctor_relations()'),
        ('open_doors', 'select meshhook._doctor_open_doors()'),
        ('lost_rights', 'select meshhook._doctor_lost_rights()'),
        (
          'queues',
          case when to_regclass('pgmq.meta') is null then $q$ select '[]'::jsonb $q$
          else 'select meshhook._doctor_queues()' end
        ),
        ('history', $q$ select meshhook._doctor_table('meshhook.jobs') $q$),
        ('oldest_history', 'select meshhook._doctor_history()'),
        ('prunes', 'select to_jsonb(meshhook._doctor_prunes())')
    ) p(name, query)
  loop
    begin
      execute v_part.query into v_value;
      v_facts := v_facts || jsonb_build_object(v_part.name, v_value);
    exception when others then
      v_failed := v_failed
        || jsonb_build_object(v_part.name, jsonb_build_object('code', sqlstate, 'message', sqlerrm));
    end;
  end loop;
  return v_facts || jsonb_build_object('failed', v_failed);
end
$$;
comment on function public.meshhook_doctor is
  'Return the facts by which `meshhook doctor` tells what is wrong; nothing of any job.';
revoke all on function public.meshhook_doctor from public, anon, authenticated;
grant execute on function public.meshhook_doctor to service_role;

-- The last step: the version, the rights to the helpers, and the queues that the original has.

create or replace function public.meshhook_version()
returns jsonb language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'schema_version', 1,
    'pgmq_version', (select e.extversion from pg_extension e where e.extname = 'pgmq'),
    'postgres_version', current_setting('server_version')
  )
$$;
comment on function public.meshhook_version is
  'Return the version of MeshHook''s migrations, of PGMQ (null where it is no extension) and of Postgres.';
revoke all on function public.meshhook_version from public, anon, authenticated;
grant execute on function public.meshhook_version to service_role;

-- Helpers cannot be reached without a right to their schema; that is not all that keeps them.
revoke all on all functions in schema meshhook from public, anon, authenticated, service_role;
-- What a view calls, its reader must be allowed to execute.
grant execute on function meshhook._queue_monitoring, meshhook._job_statistics to service_role;

do $$
begin
  if not exists (select from meshhook.queues q where q.queue_name = 'workflow_jobs') then
    perform public.meshhook_create_queue('workflow_jobs');
  end if;
end
$$;

notify pgrst, 'reload schema';
