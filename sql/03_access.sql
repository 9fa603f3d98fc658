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
