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
