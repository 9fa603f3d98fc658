-- Checks of arguments: each raises MH002 with the argument, its value, what is wrong and how to fix it.

create or replace function meshhook._refuse(p_field text, p_value text, p_problem text, p_fix text)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'MH002',
    message = format('%s %s', p_field, p_problem),
    detail = jsonb_build_object('field', p_field, 'value', left(p_value, 200))::text,
    hint = p_fix;
end
$$;
comment on function meshhook._refuse is
  'Raise MH002: the argument, its value, what is wrong with it and how to fix it.';

create or replace function meshhook._check_number(
  p_field text, p_value double precision, p_low double precision, p_high double precision
)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- NaN sorts above every number, so it fails the second comparison.
  if p_value is null or not (p_value >= p_low and p_value <= p_high) then
    perform meshhook._refuse(
      p_field, p_value::text, format('must be a number from %s to %s', p_low, p_high),
      'Give a number in that range.'
    );
  end if;
end
$$;
comment on function meshhook._check_number is 'Raise MH002 unless the number is within the range.';

create or replace function meshhook._check_delay(p_field text, p_value double precision)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform meshhook._check_number(p_field, p_value, 0, 31622400);
end
$$;
comment on function meshhook._check_delay is 'Raise MH002 unless a delay is from 0 seconds to 366 days.';

create or replace function meshhook._check_run_at(p_field text, p_value timestamptz)
returns void language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value > clock_timestamp() + make_interval(secs => 31622400) then
    perform meshhook._refuse(
      p_field, p_value::text, 'is more than 366 days ahead', 'Give a time within the next 366 days.'
    );
  end if;
end
$$;
comment on function meshhook._check_run_at is
  'Raise MH002 where a time is more than 366 days ahead. One in the past is usable: it means at once.';

create or replace function meshhook._check_one_time(p_delay_seconds double precision, p_run_at timestamptz)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_run_at is not null and p_delay_seconds <> 0 then
    perform meshhook._refuse(
      'run_at', p_run_at::text, 'is given as well as a delay', 'Give run_at or a delay, not both.'
    );
  end if;
end
$$;
comment on function meshhook._check_one_time is 'Raise MH002 where both a delay and a time are given.';

-- PGMQ folds the case of a name and refuses more than 47 characters; a name that it would change, or
-- that two queues could share a table under, is refused here.
create or replace function meshhook._check_queue_name(p_field text, p_value text)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_value is null or p_value !~ '^[a-z0-9_]([a-z0-9_-]{0,46})$' or p_value like '%--%' then
    perform meshhook._refuse(
      p_field, p_value, 'is not a usable queue name',
      'Use 1 to 47 characters out of a-z, 0-9, _ and single -, and do not begin with -.'
    );
  end if;
end
$$;
comment on function meshhook._check_queue_name is
  'Raise MH002 unless PGMQ would store the queue name as it is.';

create or replace function meshhook._check_dlq_name(p_queue_name text, p_dlq_name text)
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform meshhook._check_queue_name('dlq_name', p_dlq_name);
  if p_dlq_name = p_queue_name then
    perform meshhook._refuse(
      'dlq_name', p_dlq_name, 'is the queue itself', 'Leave it out, or name another queue.'
    );
  end if;
end
$$;
comment on function meshhook._check_dlq_name is
  'Raise MH002 unless a queue may have the other one as its dead letter queue.';

create or replace function meshhook._check_receipts(p_msg_ids bigint[], p_read_cts integer[])
returns void language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_msg_ids is null or array_ndims(p_msg_ids) > 1 then
    perform meshhook._refuse(
      'msg_ids', p_msg_ids::text, 'must be an array of message ids', 'Send a plain array.'
    );
  end if;
  if array_position(p_msg_ids, null) is not null then
    perform meshhook._refuse(
      'msg_ids', p_msg_ids::text, 'must be an array of message ids', 'Leave out nulls.'
    );
  end if;
  if cardinality(p_msg_ids) > 10000 then
    perform meshhook._refuse(
      'msg_ids', cardinality(p_msg_ids)::text, 'holds more than 10000 ids', 'Split the call.'
    );
  end if;
  if cardinality(p_read_cts) <> cardinality(p_msg_ids) or array_ndims(p_read_cts) > 1 then
    perform meshhook._refuse(
      'read_cts', cardinality(p_read_cts)::text, 'must have one read count for each message id',
      'Give as many read_cts as msg_ids, or none at all.'
    );
  end if;
end
$$;
comment on function meshhook._check_receipts is 'Raise MH002 unless the two arrays form receipts.';
