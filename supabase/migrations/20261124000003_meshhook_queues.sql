-- Queues: what MeshHook knows of them, and how they come and go.

do $$ begin perform pg_advisory_xact_lock(hashtextextended('meshhook migrations', 0)); end $$;

create or replace function meshhook._dlq_name(p_queue_name text)
returns text
language sql
immutable
set search_path = ''
as $$
  -- PGMQ's limit is 47 characters; where the suffix does not fit, a hash keeps the names apart.
  select case
    when length(p_queue_name) <= 43 then p_queue_name || '_dlq'
    else left(p_queue_name, 34) || '_' || left(md5(p_queue_name), 8) || '_dlq'
  end
$$;
comment on function meshhook._dlq_name(text) is 'Return the name of a queue''s dead letter queue.';

-- A dump leaves out what belongs to an extension, and with it the rows of pgmq.meta. A project that was
-- paused and restored has its queues' tables, and only MeshHook knows that they are queues.
create or replace function meshhook._pgmq_queues()
returns table (queue_name text, created_at timestamptz)
language sql
stable
set search_path = ''
as $$
  select m.queue_name::pg_catalog.text, m.created_at
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
comment on function meshhook._pgmq_queues() is
  'Return the queues that PGMQ lists, and those that it has lost from its list, with their tables.';

-- Two names are alike where at most two characters differ in one place, or one is how the other begins. A
-- caller who is held to some queues learns of no others.
create or replace function meshhook._alike_queue(p_queue_name text)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  v_caller constant pg_catalog.text := meshhook._caller();
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
          join pg_catalog.pg_roles r on r.rolname = g.role_name
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
comment on function meshhook._alike_queue(text) is
  'Return the queue that the caller may reach whose name is most like another name; null if none is.';

create or replace function meshhook._unlike(p_one text, p_other text)
returns integer
language sql
immutable
set search_path = ''
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
comment on function meshhook._unlike(text, text) is
  'Return how many characters of the longer text remain without what both begin and end with.';

create or replace function meshhook._require_pgmq_queue(p_field text, p_queue_name text)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  v_alike pg_catalog.text;
begin
  perform meshhook._check_queue_name(p_field, p_queue_name);
  if not exists (select from meshhook._pgmq_queues() m where m.queue_name = p_queue_name) then
    v_alike := meshhook._alike_queue(p_queue_name);
    raise exception using
      errcode = 'MH001',
      message = format('The queue "%s" does not exist.', p_queue_name),
      detail = jsonb_build_object('field', p_field, 'value', p_queue_name)::pg_catalog.text,
      hint = case when v_alike is null then '' else format('Did you mean "%s"? If not: ', v_alike) end
        || 'Create it once, with create_queue() or select meshhook_create_queue(...).';
  end if;
  if to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null then
    raise exception using
      errcode = 'MH001',
      message = format('The queue "%s" has lost its table.', p_queue_name),
      detail = jsonb_build_object('field', p_field, 'value', p_queue_name)::pg_catalog.text,
      hint = 'Call create_queue() or select meshhook_create_queue(...): they create what is missing, without the jobs that were in it.';
  end if;
end
$$;
comment on function meshhook._require_pgmq_queue(text, text) is 'Raise MH001 unless PGMQ has the queue.';

create or replace function meshhook._queue(p_queue_name text)
returns meshhook.queues
language plpgsql
set search_path = ''
as $$
declare
  v_queue meshhook.queues;
begin
  -- A queue that was dropped and made anew without MeshHook is another queue.
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
comment on function meshhook._queue(text) is
  'Return a queue and its settings; raise MH001 where there is no such queue, MH004 where the caller may not reach it.';

-- A queue that PGMQ has and MeshHook has not seen yet (made in the dashboard, or by another client) is
-- taken as it is, without a change to its table. One that PGMQ has lost from its list is listed again.
create or replace function meshhook._adopt(p_queue_name text)
returns meshhook.queues
language plpgsql
set search_path = ''
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
comment on function meshhook._adopt(text) is 'Take up a queue that PGMQ has, with default settings.';

create or replace function meshhook._pgmq_kind(p_name text)
returns pg_catalog."char"
language sql
stable
set search_path = ''
as $$
  select c.relkind
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'pgmq'
  where c.relname = p_name
$$;
comment on function meshhook._pgmq_kind(text) is
  'Return what a relation in the schema pgmq is, as pg_class has it; null if there is none of that name.';

-- PGMQ up to 1.5 makes tables, and 1.5 sequences too, members of the extension; nothing that is one can be
-- dropped, or made one again.
create or replace function meshhook._leave_extension(p_name text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if exists (
    select
    from pg_catalog.pg_depend d
    join pg_catalog.pg_extension e on e.oid = d.refobjid and e.extname = 'pgmq'
    where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      and d.objid = to_regclass(format('pgmq.%I', p_name)) and d.deptype = 'e'
  ) then
    execute format(
      'alter extension pgmq drop %s pgmq.%I', case meshhook._pgmq_kind(p_name) when 'S' then 'sequence' else 'table' end, p_name
    );
  end if;
end
$$;
comment on function meshhook._leave_extension(text) is
  'Let a table or sequence of PGMQ be no member of its extension, if it is one.';

create or replace function meshhook._has_index(p_table text, p_column text)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select
    from pg_catalog.pg_index i
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = to_regclass(format('pgmq.%I', p_table)) and i.indisvalid and i.indpred is null
      and a.attname = p_column
  )
$$;
comment on function meshhook._has_index(text, text) is
  'Return whether a table of PGMQ has an index that begins with a column.';

create or replace function meshhook._is_taken(p_queue_name text)
returns boolean
language sql
stable
set search_path = ''
as $$
  select
    -- PGMQ folds the case: it would give both queues one table.
    exists (select from pgmq.meta m where m.queue_name <> p_queue_name and lower(m.queue_name) = p_queue_name)
    or meshhook._pgmq_kind('q_' || p_queue_name) not in ('r', 'p')
    or meshhook._pgmq_kind('a_' || p_queue_name) not in ('r', 'p')
$$;
comment on function meshhook._is_taken(text) is
  'Return whether the tables of a queue would be, or would stand in the way of, a part of another queue.';

-- Ids that the lost table has given are in archive and history, and in the hands of workers: by a receipt
-- that fits two jobs, the wrong one would be settled. Nobody knows the highest; the seconds since 1970 are
-- above it, unless these have been used before.
create or replace function meshhook._skip_used_ids(p_queue_name text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_queue_id constant integer := (select q.queue_id from meshhook.queues q where q.queue_name = p_queue_name);
  v_archived bigint;
begin
  execute format('select max(a.msg_id) from pgmq.%I a', 'a_' || p_queue_name) into v_archived;
  perform setval(
    pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue_name), 'msg_id')::pg_catalog.regclass,
    greatest(
      v_archived,
      (select max(j.msg_id) from meshhook.jobs j where j.queue_id = v_queue_id),
      (select max(t.msg_id) from meshhook.attempts t where t.queue_id = v_queue_id),
      (select max(j.dlq_msg_id) from meshhook.jobs j where j.dlq_name = p_queue_name),
      (select max(j.replayed_msg_id) from meshhook.jobs j where j.replayed_to = p_queue_name),
      extract(epoch from clock_timestamp())::bigint
    )
  );
end
$$;
comment on function meshhook._skip_used_ids(text) is
  'Let a queue whose table is new give no id that its lost table may have given.';

-- Row level security on new tables keeps out whoever the dashboard's "Expose Queues via PostgREST" lets near
-- them; these functions run as the owner of the table and are not held up by it. What is there is not touched.
create or replace function meshhook._repair_pgmq_queue(p_queue_name text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  v_queue constant pg_catalog.text := 'q_' || p_queue_name;
  v_archive constant pg_catalog.text := 'a_' || p_queue_name;
  v_sequence constant pg_catalog.text := v_queue || '_msg_id_seq';
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
  -- PGMQ names types without their schema, and with no schema in the path the caller's temporary types
  -- would be found first. At the end of this function the path is what it was.
  perform set_config('search_path', 'pg_catalog, pg_temp', true);
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
comment on function meshhook._repair_pgmq_queue(text) is
  'Create whatever is missing of a PGMQ queue: tables, indexes, its row in the list. Return whether nothing of it was there.';

-- For calls that have no time to look at each part.
create or replace function meshhook._ensure_pgmq_queue(p_queue_name text)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if exists (select from pgmq.meta m where m.queue_name = p_queue_name)
    and to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is not null then
    return false;
  end if;
  return meshhook._repair_pgmq_queue(p_queue_name);
end
$$;
comment on function meshhook._ensure_pgmq_queue(text) is
  'Create a PGMQ queue unless it and its table are there; return whether nothing of it was there.';

create or replace function meshhook._queue_json(p_queue meshhook.queues)
returns jsonb
language sql
stable
set search_path = ''
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
comment on function meshhook._queue_json(meshhook.queues) is 'Return a queue''s settings as JSON.';

create or replace function meshhook._check_queue_settings(
  p_vt_seconds double precision, p_max_attempts integer, p_base_delay_ms integer, p_max_delay_ms integer,
  p_retention_days double precision
)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  perform meshhook._check_number('vt_seconds', coalesce(p_vt_seconds, 30), 1, 86400);
  perform meshhook._check_number('max_attempts', coalesce(p_max_attempts, 5), 1, 1000000);
  perform meshhook._check_number('base_delay_ms', coalesce(p_base_delay_ms, 0), 0, 2147483647);
  perform meshhook._check_number(
    'max_delay_ms', coalesce(p_max_delay_ms, 2147483647), coalesce(p_base_delay_ms, 0), 2147483647
  );
  perform meshhook._check_number('retention_days', coalesce(p_retention_days, 0), 0, 36600);
end
$$;
comment on function meshhook._check_queue_settings(double precision, integer, integer, integer, double precision) is
  'Raise MH002 unless each setting that is given is usable.';

-- What is left out (null) stays as it is.
create or replace function meshhook._configure(
  p_queue meshhook.queues, p_dlq_name text, p_vt_seconds double precision, p_max_attempts integer,
  p_base_delay_ms integer, p_max_delay_ms integer, p_keeps_history boolean, p_has_dead_letters boolean,
  p_retention_days double precision
)
returns meshhook.queues
language plpgsql
set search_path = ''
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
      max_delay_ms = greatest(coalesce(p_max_delay_ms, q.max_delay_ms), coalesce(p_base_delay_ms, q.base_delay_ms)),
      keeps_history = coalesce(p_keeps_history, q.keeps_history),
      has_dead_letters = coalesce(p_has_dead_letters, q.has_dead_letters),
      retention_days = coalesce(p_retention_days, q.retention_days)
  where q.queue_id = p_queue.queue_id
  returning q.* into v_queue;
  return v_queue;
end
$$;
comment on function meshhook._configure(meshhook.queues, text, double precision, integer, integer, integer, boolean, boolean, double precision) is
  'Change the settings of a queue that are given, and return all of them.';

create or replace function meshhook._check_dlq_name(p_queue_name text, p_dlq_name text)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  perform meshhook._check_queue_name('dlq_name', p_dlq_name);
  if p_dlq_name = p_queue_name then
    perform meshhook._refuse('dlq_name', p_dlq_name, 'is the queue itself', 'Leave it out, or name another queue.');
  end if;
end
$$;
comment on function meshhook._check_dlq_name(text, text) is
  'Raise MH002 unless a queue may have the other one as its dead letter queue.';

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
returns jsonb
language plpgsql
security definer -- the tables of PGMQ and MeshHook belong to the role that applied the migrations
set search_path = ''
as $$
declare
  v_name constant pg_catalog.text := meshhook_create_queue.queue_name;
  v_dlq_name pg_catalog.text;
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
  perform meshhook._check_queue_settings(vt_seconds, max_attempts, base_delay_ms, max_delay_ms, retention_days);

  v_created := meshhook._repair_pgmq_queue(v_name);
  perform meshhook._repair_pgmq_queue(v_dlq_name);
  v_queue := meshhook._configure(
    meshhook._queue(v_name), meshhook_create_queue.dlq_name, vt_seconds, max_attempts, base_delay_ms,
    max_delay_ms, keeps_history, has_dead_letters, retention_days
  );
  return meshhook._queue_json(v_queue) || jsonb_build_object('created', v_created);
end
$$;
comment on function public.meshhook_create_queue(text, text, double precision, integer, integer, integer, boolean, boolean, double precision) is
  'Create a queue and its dead letter queue, or whatever is missing of them, or change the settings of one that is there; what is left out stays as it is.';
revoke all on function public.meshhook_create_queue(text, text, double precision, integer, integer, integer, boolean, boolean, double precision)
  from public, anon, authenticated;
grant execute on function public.meshhook_create_queue(text, text, double precision, integer, integer, integer, boolean, boolean, double precision)
  to service_role;

create or replace function meshhook._drop_pgmq_queue(p_queue_name text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  v_name pg_catalog.text;
  v_there boolean := exists (select from pgmq.meta m where m.queue_name = p_queue_name);
begin
  if not v_there and meshhook._is_taken(p_queue_name) then
    return false;
  end if;
  perform set_config('search_path', 'pg_catalog, pg_temp', true); -- see _repair_pgmq_queue
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
  foreach v_name in array array['q_' || p_queue_name, 'a_' || p_queue_name, 'q_' || p_queue_name || '_msg_id_seq'] loop
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
comment on function meshhook._drop_pgmq_queue(text) is
  'Drop whatever is there of a PGMQ queue and its archive; return whether anything was.';

create or replace function public.meshhook_drop_queue(
  queue_name text, drop_dlq boolean default false, request_id text default null
)
returns boolean
language plpgsql
security definer -- see meshhook_create_queue
set search_path = ''
as $$
declare
  v_name constant pg_catalog.text := meshhook_drop_queue.queue_name;
  v_dlq_name pg_catalog.text;
  v_queue_id integer;
  v_dropped boolean;
  v_answer pg_catalog.jsonb := meshhook._recall(v_name, 'drop_queue', request_id);
begin
  if v_answer is not null then
    return v_answer::boolean;
  end if;
  perform meshhook._check_queue_name('queue_name', v_name);
  delete from meshhook.queues q where q.queue_name = v_name returning q.dlq_name, q.queue_id into v_dlq_name, v_queue_id;
  delete from meshhook.totals t where t.queue_id = v_queue_id;
  v_dropped := meshhook._drop_pgmq_queue(v_name);
  v_dlq_name := coalesce(v_dlq_name, meshhook._dlq_name(v_name));
  if drop_dlq and not exists (select from meshhook.queues q where q.dlq_name = v_dlq_name) then
    delete from meshhook.queues q where q.queue_name = v_dlq_name;
    perform meshhook._drop_pgmq_queue(v_dlq_name);
    delete from meshhook.requests r where r.queue_name = v_dlq_name;
  end if;
  -- A queue of the same name that comes later starts anew, its idempotency keys too.
  delete from meshhook.requests r where r.queue_name = v_name;
  perform meshhook._remember(v_name, 'drop_queue', request_id, to_jsonb(v_dropped));
  return v_dropped;
end
$$;
comment on function public.meshhook_drop_queue(text, boolean, text) is
  'Drop a queue with all its jobs and its archive; if asked, its dead letter queue too, unless another queue uses it. Return whether there was one.';
revoke all on function public.meshhook_drop_queue(text, boolean, text) from public, anon, authenticated;
grant execute on function public.meshhook_drop_queue(text, boolean, text) to service_role;

create or replace function public.meshhook_list_queues()
returns jsonb
language sql
stable
security definer -- see meshhook_create_queue
set search_path = ''
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
comment on function public.meshhook_list_queues() is
  'Return every PGMQ queue with its settings; those that MeshHook has not used yet have none.';
revoke all on function public.meshhook_list_queues() from public, anon, authenticated;
grant execute on function public.meshhook_list_queues() to service_role;
