-- The functions of the exposed schemas that can be called by HTTP: arguments have names, or there is
-- one alone, without a name, that takes the whole body. $1: the schemas.
with arguments as (
  select
    function.oid as function_oid,
    coalesce(argument.name, '') as name,
    argument.type_oid,
    argument.mode,
    row_number() over (partition by function.oid order by argument.position) as position
  from pg_proc function
  cross join lateral rows from (
    unnest(coalesce(function.proallargtypes, function.proargtypes::oid[])),
    unnest(function.proargnames),
    unnest(function.proargmodes)
  ) with ordinality as argument(type_oid, name, mode, position)
  where function.pronamespace::regnamespace::name = any ($1)
    -- The functions without modes have nothing but input arguments.
    and coalesce(argument.mode, 'i') in ('i', 'b', 'v')
),
signatures as (
  select
    function.oid as function_oid,
    json_agg(
      json_build_object(
        'name', argument.name,
        'type', format_type(argument.type_oid, null),
        'required', argument.position <= function.pronargs - function.pronargdefaults,
        'variadic', coalesce(argument.mode = 'v', false)
      )
      order by argument.position
    ) as parameters,
    case count(*) filter (where argument.name = '')
      when 0 then true
      when 1 then count(*) = 1 and bool_and(
        argument.type_oid in (
          'bytea'::regtype, 'json'::regtype, 'jsonb'::regtype, 'text'::regtype, 'xml'::regtype
        )
      )
      else false
    end as is_callable
  from pg_proc function
  join arguments argument on argument.function_oid = function.oid
  group by function.oid
)
select
  namespace.nspname as schema,
  function.proname as name,
  coalesce(signature.parameters, '[]') as parameters,
  function.proretset as returns_set,
  base.oid = 'void'::regtype as returns_void,
  -- `returns table` and output arguments make a row even where it has one column.
  base.typtype = 'c' or coalesce(function.proargmodes::text[] && '{t,b,o}', false) as returns_row,
  function.provolatile as volatility,
  coalesce(function.proconfig, '{}') as settings
from pg_proc function
join pg_namespace namespace on namespace.oid = function.pronamespace
join pg_type returned on returned.oid = function.prorettype
join pg_type base on base.oid = coalesce(nullif(returned.typbasetype, 0), returned.oid)
left join signatures signature on signature.function_oid = function.oid
where namespace.nspname = any ($1)
  and function.prokind = 'f'
  and returned.oid <> 'trigger'::regtype
  and returned.oid <> 'event_trigger'::regtype
  and coalesce(signature.is_callable, true)
order by
  namespace.nspname,
  function.proname,
  function.pronargs,
  obj_description(function.oid, 'pg_proc') nulls first,
  signature.parameters::text
