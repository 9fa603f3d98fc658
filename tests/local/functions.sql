-- What the tests need beyond the recorded database.
create function public.sum_of(numbers int[]) returns int language sql as $$
  select coalesce(sum(n), 0)::int from unnest(numbers) n
$$;
create function public.joined(separator text, variadic words text[]) returns text language sql as $$
  select array_to_string(words, separator)
$$;
create function public.whole_body(jsonb) returns jsonb language sql as $$ select $1 $$;
create function public.whole_text(text) returns text language sql as $$ select $1 $$;
create function public.whole_bytes(bytea) returns int language sql as $$ select length($1) $$;
create function public.no_row() returns private.items language sql security definer as $$
  select * from private.items where false
$$;
create function public.one_letter(letter character) returns int language sql as $$
  select length(letter)
$$;
create function public.setting(name text) returns text language sql as $$
  select current_setting(name, true)
$$;
create function public.set_response(name text, value text) returns text language sql as $$
  select set_config('response.' || name, value, true)
$$;
create function public.raise_in_full(message text, detail text) returns void language plpgsql as $$
begin
  raise sqlstate 'PGRST' using message = raise_in_full.message, detail = raise_in_full.detail;
end $$;
create function public.raise_in_short(message text) returns void language plpgsql as $$
begin
  raise sqlstate 'PGRST' using message = raise_in_short.message;
end $$;
create function public.isolated() returns text language sql
set default_transaction_isolation = 'repeatable read' as $$
  select current_setting('transaction_isolation')
$$;
create function public.user_of_request() returns uuid language sql stable as $$ select auth.uid() $$;
create function public.jsonb_of(n int) returns jsonb language sql as $$
  select jsonb_agg(g) from generate_series(1, n) g
$$;

create table public.notes (
  id int primary key,
  parent int,
  title text,
  "odd name" text,
  constraint notes_have_parents foreign key (parent) references public.notes (id)
    deferrable initially deferred
);
insert into public.notes values
  (1, null, 'alpha', 'x'), (2, 1, 'beta, "quoted"', 'y'), (3, 1, null, 'z'), (4, 2, 'A*b\c', null);
grant select, insert on public.notes to service_role;

create function public.some_notes() returns setof public.notes language sql stable as $$
  select * from public.notes
$$;
create function public.add_note(id int, parent int default null) returns int language sql as $$
  insert into public.notes (id, parent) values (add_note.id, add_note.parent) returning id
$$;
create function public.add_two_notes() returns setof public.notes language sql as $$
  insert into public.notes (id) values (80), (81) returning *
$$;
create function public.write_by_stable() returns int language sql stable as $$
  select public.add_note(99)
$$;
-- The lock is the test's: a call that waits for it holds its connection as long as the test likes.
create function public.wait_for_lock(key bigint) returns boolean language sql as $$
  select pg_advisory_xact_lock(key) is not null
$$;
grant execute on function public.wait_for_lock(bigint) to anon, service_role;
