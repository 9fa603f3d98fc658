-- The world that a Supabase project gives to migrations and to the Data API: roles, schemas, the
-- helpers of `auth`, and the event triggers that tell the API of schema changes. It is run once, by
-- the superuser `supabase_admin`, in one transaction with the SQL of PGMQ.

-- The roles of the Data API. None of them can log in: the API logs in as `authenticator` and becomes
-- one of them for a transaction. `noinherit` keeps them from having more than their own grants.
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit password 'postgres';
grant anon, authenticated, service_role to authenticator;

-- A session of the API has the timeouts of `authenticator`; the API applies those of `anon` and
-- `authenticated` per transaction. `service_role` has none of its own, so it falls back to 8 s.
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';

-- Whom migrations run as. Not a superuser, as on Supabase: what needs one must fail here too.
create role postgres login createdb createrole bypassrls replication password 'postgres';
grant anon, authenticated, service_role to postgres with admin option;
-- PGMQ grants on its tables to pg_monitor.
grant pg_monitor to postgres with admin option;
alter role postgres set search_path = "$user", public, extensions;

alter database postgres owner to postgres;
alter schema public owner to postgres;

-- No default grants on what is created in `public`: new tables and functions are out of reach of the
-- API until a migration grants them, as on Supabase since May 2026. Functions keep Postgres' own
-- default, by which everybody may execute them.
grant usage on schema public to anon, authenticated, service_role;

create schema extensions authorization postgres;
grant usage on schema extensions to anon, authenticated, service_role;

create schema auth;
grant usage on schema auth to postgres, anon, authenticated, service_role;

create function auth.jwt()
returns jsonb
language sql
stable
set search_path = ''
as $$
  -- The setting is an empty string, not null, once a transaction that set it has ended.
  select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;
comment on function auth.jwt() is 'The claims of the token that the request came with, or null.';

create function auth.uid()
returns uuid
language sql
stable
set search_path = ''
as $$
  select (auth.jwt() ->> 'sub')::uuid
$$;
comment on function auth.uid() is 'The user of the request, or null.';

create function auth.role()
returns text
language sql
stable
set search_path = ''
as $$
  select auth.jwt() ->> 'role'
$$;
comment on function auth.role() is 'The role of the request, or null.';

-- Where the Supabase CLI records migrations.
create schema supabase_migrations authorization postgres;
create table supabase_migrations.schema_migrations (
  version text primary key,
  statements text[],
  name text
);
alter table supabase_migrations.schema_migrations owner to postgres;

-- The API keeps a cache of the schema; these two triggers tell it when to read it again.
create function extensions.pgrst_ddl_watch()
returns event_trigger
language plpgsql
set search_path = ''
as $$
begin
  if exists (
    select
    from pg_event_trigger_ddl_commands() command
    where command.schema_name is distinct from 'pg_temp'
      and command.command_tag in (
        'ALTER FOREIGN TABLE', 'ALTER FUNCTION', 'ALTER MATERIALIZED VIEW', 'ALTER SCHEMA',
        'ALTER TABLE', 'ALTER TYPE', 'ALTER VIEW', 'COMMENT', 'CREATE FOREIGN TABLE',
        'CREATE FUNCTION', 'CREATE MATERIALIZED VIEW', 'CREATE RULE', 'CREATE SCHEMA',
        'CREATE TABLE', 'CREATE TABLE AS', 'CREATE TRIGGER', 'CREATE TYPE', 'CREATE VIEW',
        'SELECT INTO'
      )
  ) then
    notify pgrst, 'reload schema';
  end if;
end
$$;

create function extensions.pgrst_drop_watch()
returns event_trigger
language plpgsql
set search_path = ''
as $$
begin
  if exists (
    select
    from pg_event_trigger_dropped_objects() dropped
    where not dropped.is_temporary
      and dropped.object_type in (
        'foreign table', 'function', 'materialized view', 'rule', 'schema', 'table', 'trigger',
        'type', 'view'
      )
  ) then
    notify pgrst, 'reload schema';
  end if;
end
$$;

create event trigger pgrst_ddl_watch on ddl_command_end
  execute function extensions.pgrst_ddl_watch();
create event trigger pgrst_drop_watch on sql_drop
  execute function extensions.pgrst_drop_watch();
