-- What only 1.4.4 has, or has in this way.
create function pgmq.double_has_sequences()
returns boolean
language sql
as $$
  select false -- whether the sequence of a queue's ids is a member of the extension, as its tables are
$$;

create function pgmq.double_columns()
returns text
language sql
as $$
  select 'message jsonb'
$$;

create function pgmq.drop_queue(queue_name text, partitioned boolean default false)
returns boolean
language sql
as $$
  select pgmq.double_drop(queue_name)
$$;

create function pgmq.send(queue_name text, msg jsonb, delay integer default 0)
returns setof bigint
language plpgsql
as $$
begin
  return query execute format(
    'insert into pgmq.%I (vt, message) values (clock_timestamp() + make_interval(secs => $2), $1) returning msg_id',
    pgmq.format_table_name(queue_name, 'q')
  ) using msg, delay;
end
$$;

create function pgmq.send_batch(queue_name text, msgs jsonb[], delay integer default 0)
returns setof bigint
language plpgsql
as $$
begin
  return query execute format(
    'insert into pgmq.%I (vt, message) select clock_timestamp() + make_interval(secs => $2), unnest($1) returning msg_id',
    pgmq.format_table_name(queue_name, 'q')
  ) using msgs, delay;
end
$$;

create function pgmq.read(queue_name text, vt integer, qty integer)
returns setof pgmq.message_record
language plpgsql
as $$
begin
  return query execute format(
    'with due as ('
    '  select d.msg_id from pgmq.%1$I d where d.vt <= clock_timestamp() order by d.msg_id'
    '  limit $2 for update skip locked'
    ') update pgmq.%1$I q set vt = clock_timestamp() + make_interval(secs => $1), read_ct = read_ct + 1'
    ' from due where q.msg_id = due.msg_id'
    ' returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message',
    pgmq.format_table_name(queue_name, 'q')
  ) using vt, qty;
end
$$;

create function pgmq.purge_queue(queue_name text)
returns bigint
language plpgsql
as $$
declare
  v_count bigint;
begin
  execute format('delete from pgmq.%I', pgmq.format_table_name(queue_name, 'q'));
  get diagnostics v_count = row_count;
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
    ' extract(epoch from now() - min(enqueued_at))::integer, coalesce(max(msg_id), 0), now() from pgmq.%I',
    pgmq.format_table_name(queue_name, 'q')
  ) into v_result using queue_name;
  return v_result;
end
$$;
