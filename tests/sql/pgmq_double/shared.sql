-- What the stand-ins for both versions have in common.
select pg_extension_config_dump('pgmq.meta', '');

create type pgmq.queue_record as (
  queue_name varchar, is_partitioned boolean, is_unlogged boolean, created_at timestamptz
);

create function pgmq.format_table_name(queue_name text, prefix text)
returns text
language plpgsql
as $$
begin
  if queue_name ~ '[$;'']|--' then
    raise exception 'a queue name holds no $, ;, quote or --';
  end if;
  return lower(prefix || '_' || queue_name);
end
$$;

create function pgmq.validate_queue_name(queue_name text)
returns void
language plpgsql
as $$
begin
  if length(queue_name) > 47 then
    raise exception 'a queue name has at most 47 characters';
  end if;
end
$$;

create function pgmq.create_non_partitioned(queue_name text)
returns void
language plpgsql
as $$
declare
  v_queue text := pgmq.format_table_name(queue_name, 'q');
  v_archive text := pgmq.format_table_name(queue_name, 'a');
  v_table text;
begin
  perform pgmq.validate_queue_name(queue_name);
  execute format(
    'create table if not exists pgmq.%I ('
    '  msg_id bigint generated always as identity primary key,'
    '  read_ct integer not null default 0,'
    '  enqueued_at timestamptz not null default now(),'
    '  vt timestamptz not null, %s)',
    v_queue, pgmq.double_columns()
  );
  execute format(
    'create table if not exists pgmq.%I ('
    '  msg_id bigint primary key,'
    '  read_ct integer not null default 0,'
    '  enqueued_at timestamptz not null default now(),'
    '  archived_at timestamptz not null default now(),'
    '  vt timestamptz not null, %s)',
    v_archive, pgmq.double_columns()
  );
  foreach v_table in array array[v_queue, v_archive] loop
    if not exists (
      select
      from pg_depend d
      join pg_extension e on e.oid = d.refobjid and e.extname = 'pgmq'
      where d.objid = format('pgmq.%I', v_table)::regclass and d.deptype = 'e'
    ) then
      execute format('alter extension pgmq add table pgmq.%I', v_table);
      if v_table = v_queue and pgmq.double_has_sequences() then
        execute format('alter extension pgmq add sequence pgmq.%I', v_queue || '_msg_id_seq');
      end if;
    end if;
  end loop;
  execute format('create index if not exists %I on pgmq.%I (vt)', v_queue || '_vt_idx', v_queue);
  execute format(
    'create index if not exists %I on pgmq.%I (archived_at)', 'archived_at_idx_' || queue_name, v_archive
  );
  insert into pgmq.meta (queue_name, is_partitioned, is_unlogged)
  values (create_non_partitioned.queue_name, false, false)
  on conflict do nothing;
end
$$;

create function pgmq.create(queue_name text)
returns void
language sql
as $$
  select pgmq.create_non_partitioned(queue_name)
$$;

create function pgmq.double_drop(queue_name text)
returns boolean
language plpgsql
as $$
declare
  v_queue text := pgmq.format_table_name(queue_name, 'q');
  v_archive text := pgmq.format_table_name(queue_name, 'a');
begin
  execute format('alter extension pgmq drop table pgmq.%I', v_queue);
  if pgmq.double_has_sequences() then
    execute format('alter extension pgmq drop sequence pgmq.%I', v_queue || '_msg_id_seq');
  end if;
  execute format('alter extension pgmq drop table pgmq.%I', v_archive);
  execute format('drop table if exists pgmq.%I', v_queue);
  execute format('drop table if exists pgmq.%I', v_archive);
  delete from pgmq.meta m where m.queue_name = double_drop.queue_name;
  return true;
end
$$;

create function pgmq.detach_archive(queue_name text)
returns void
language plpgsql
as $$
begin
  execute format('alter extension pgmq drop table pgmq.%I', pgmq.format_table_name(queue_name, 'a'));
end
$$;

create function pgmq.delete(queue_name text, msg_ids bigint[])
returns setof bigint
language plpgsql
as $$
begin
  return query execute format(
    'delete from pgmq.%I q where q.msg_id = any ($1) returning q.msg_id', pgmq.format_table_name(queue_name, 'q')
  ) using msg_ids;
end
$$;

create function pgmq.delete(queue_name text, msg_id bigint)
returns boolean
language sql
as $$
  select exists (select pgmq.delete(queue_name, array[msg_id]))
$$;

create function pgmq.archive(queue_name text, msg_ids bigint[])
returns setof bigint
language plpgsql
as $$
declare
  -- "message jsonb, headers jsonb" without the types.
  v_columns text := 'msg_id, read_ct, enqueued_at, vt, ' || replace(pgmq.double_columns(), ' jsonb', '');
begin
  return query execute format(
    'with gone as (delete from pgmq.%1$I where msg_id = any ($1) returning %3$s)'
    'insert into pgmq.%2$I (%3$s) select %3$s from gone returning msg_id',
    pgmq.format_table_name(queue_name, 'q'), pgmq.format_table_name(queue_name, 'a'), v_columns
  ) using msg_ids;
end
$$;

create function pgmq.archive(queue_name text, msg_id bigint)
returns boolean
language sql
as $$
  select exists (select pgmq.archive(queue_name, array[msg_id]))
$$;

create function pgmq.set_vt(queue_name text, msg_id bigint, vt integer)
returns setof pgmq.message_record
language plpgsql
as $$
begin
  -- Every column comes back, so a column that anybody added would break this.
  return query execute format(
    'update pgmq.%I q set vt = clock_timestamp() + make_interval(secs => $2) where q.msg_id = $1 returning q.*',
    pgmq.format_table_name(queue_name, 'q')
  ) using msg_id, vt;
end
$$;

create function pgmq.pop(queue_name text)
returns setof pgmq.message_record
language plpgsql
as $$
begin
  return query execute format(
    'delete from pgmq.%1$I q where q.msg_id = ('
    '  select d.msg_id from pgmq.%1$I d where d.vt <= clock_timestamp() order by d.msg_id'
    '  limit 1 for update skip locked'
    ') returning q.*',
    pgmq.format_table_name(queue_name, 'q')
  );
end
$$;

create function pgmq.list_queues()
returns setof pgmq.queue_record
language sql
as $$
  select queue_name, is_partitioned, is_unlogged, created_at from pgmq.meta
$$;
