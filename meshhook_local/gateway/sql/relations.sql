-- The tables and views of the exposed schemas. $1: the schemas.
select
  namespace.nspname as schema,
  relation.relname as name,
  case relation.relkind
    when 'v' then 'view'
    when 'm' then 'materialized view'
    when 'f' then 'foreign table'
    else 'table'
  end as kind
from pg_class relation
join pg_namespace namespace on namespace.oid = relation.relnamespace
where namespace.nspname = any ($1)
  and relation.relkind in ('r', 'p', 'v', 'm', 'f')
order by namespace.nspname, relation.relname
