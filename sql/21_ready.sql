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
