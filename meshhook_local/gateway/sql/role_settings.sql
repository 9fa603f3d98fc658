-- What `alter role … set …` says of the roles that the API may become, as far as the API's own role
-- may set it. A session takes such settings from the role it logged in as, and that is another one.
select
  role.rolname as role,
  split_part(setting.line, '=', 1) as name,
  substr(setting.line, strpos(setting.line, '=') + 1) as value
from pg_db_role_setting stored
join pg_roles role on role.oid = stored.setrole
cross join lateral unnest(stored.setconfig) as setting(line)
left join pg_settings known on known.name = split_part(setting.line, '=', 1)
where stored.setdatabase in (0, (select oid from pg_database where datname = current_database()))
  and pg_has_role(current_user, role.oid, 'set')
  and role.rolname <> current_user
  and (
    known.name is null
    or known.context = 'user'
    or has_parameter_privilege(current_user, known.name, 'set')
  )
order by role.rolname, stored.setdatabase
