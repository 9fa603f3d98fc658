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
