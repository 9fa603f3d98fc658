-- What 1.5.1 has and 1.4.4 has not, or has in another way.
create or replace function pgmq.double_has_sequences()
returns boolean
language sql
as $$
  select true -- whether the sequence of a queue's ids is a member of the extension, as its tables are
$$;

create or replace function pgmq.double_columns()
returns text
language sql
as $$
  select 'message jsonb, headers jsonb'
$$;

create function pgmq.drop_queue(queue_name text)
returns boolean
language sql
as $$
  select pgmq.double_drop(queue_name)
$$;

create function pgmq.drop_queue(queue_name text, partitioned boolean)
returns boolean
language sql
as $$
  select pgmq.double_drop(queue_name)
$$;

create function pgmq.send(queue_name text, msg jsonb, headers jsonb, delay timestamptz)
returns setof bigint
language plpgsql
as $$
begin
  return query execute format(
    'insert into pgmq.%I (vt, message, headers) values ($2, $1, $3) returning msg_id',
    pgmq.format_table_name(queue_name, 'q')
  ) using msg, delay, headers;
end
$$;

create function pgmq.send(queue_name text, msg jsonb)
returns setof bigint
language sql
as $$
  select pgmq.send(queue_name, msg, null, clock_timestamp())
$$;

create function pgmq.send(queue_name text, msg jsonb, headers jsonb)
returns setof bigint
language sql
as $$
  select pgmq.send(queue_name, msg, headers, clock_timestamp())
$$;

create function pgmq.send(queue_name text, msg jsonb, delay integer)
returns setof bigint
language sql
as $$
  select pgmq.send(queue_name, msg, null, clock_timestamp() + make_interval(secs => delay))
$$;

create function pgmq.send(queue_name text, msg jsonb, delay timestamptz)
returns setof bigint
language sql
as $$
  select pgmq.send(queue_name, msg, null, delay)
$$;

create function pgmq.send(queue_name text, msg jsonb, headers jsonb, delay integer)
returns setof bigint
language sql
as $$
  select pgmq.send(queue_name, msg, headers, clock_timestamp() + make_interval(secs => delay))
$$;

create function pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[] default null, delay integer default 0)
returns setof bigint
language plpgsql
as $$
begin
  return query execute format(
    'insert into pgmq.%I (vt, message, headers)'
    ' select clock_timestamp() + make_interval(secs => $2), m.message, m.headers'
    ' from unnest($1, $3) as m(message, headers) returning msg_id',
    pgmq.format_table_name(queue_name, 'q')
  ) using msgs, delay, headers;
end
$$;

create function pgmq.read(queue_name text, vt integer, qty integer, conditional jsonb default '{}')
returns setof pgmq.message_record
language plpgsql
as $$
begin
  return query execute format(
    'with due as ('
    '  select d.msg_id from pgmq.%1$I d where d.vt <= clock_timestamp() and d.message @> $3 order by d.msg_id'
    '  limit $2 for update skip locked'
    ') update pgmq.%1$I q set vt = clock_timestamp() + make_interval(secs => $1), read_ct = read_ct + 1'
    ' from due where q.msg_id = due.msg_id'
    ' returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers',
    pgmq.format_table_name(queue_name, 'q')
  ) using vt, qty, conditional;
end
$$;

create function pgmq.purge_queue(queue_name text)
returns bigint
language plpgsql
as $$
declare
  v_count bigint;
begin
  execute format('select count(*) from pgmq.%I', pgmq.format_table_name(queue_name, 'q')) into v_count;
  execute format('truncate pgmq.%I', pgmq.format_table_name(queue_name, 'q'));
  return v_count;
end
$$;

create function pgmq.metrics(queue_name text)
returns pgmq.metrics_result
language plpgsql
as $$
declare
  v_result pgmq.metrics_result;
begin
  execute format(
    'select $1, count(*), extract(epoch from now() - max(enqueued_at))::integer,'
    ' extract(epoch from now() - min(enqueued_at))::integer, coalesce(max(msg_id), 0), now(),'
    ' count(*) filter (where vt <= now()) from pgmq.%I',
    pgmq.format_table_name(queue_name, 'q')
  ) into v_result using queue_name;
  return v_result;
end
$$;
