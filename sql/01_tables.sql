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
