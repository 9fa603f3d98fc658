-- Requests: the memory that makes a repeated request harmless.

-- The lock is taken before the look-up: a repeat that overtakes its first try waits until that has
-- committed, and then finds its answer.
create or replace function meshhook._recall(p_queue_name text, p_verb text, p_request_id text)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_request_id is null then
    return null;
  end if;
  if length(p_request_id) not between 1 and 255 then
    perform meshhook._refuse(
      'request_id', p_request_id, 'must have from 1 to 255 characters', 'Use a shorter key, such as a UUID.'
    );
  end if;
  -- The answer is for those who may reach the queue, which is looked up only after this.
  perform meshhook._check_reach(q) from meshhook.queues q where q.queue_name = p_queue_name;
  perform pg_advisory_xact_lock(
    hashtextextended(concat_ws(chr(31), 'meshhook', p_queue_name, p_verb, p_request_id), 0)
  );
  return (
    select r.answer
    from meshhook.requests r
    where r.queue_name = p_queue_name and r.verb = p_verb and r.request_id = p_request_id
      and r.expires_at > clock_timestamp()
  );
end
$$;
comment on function meshhook._recall is
  'Return what a request was answered before, or null, and hold off its repeats until commit.';

create or replace function meshhook._remember(
  p_queue_name text, p_verb text, p_request_id text, p_answer jsonb, p_seconds double precision default 600
)
returns jsonb language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_request_id is not null then
    insert into meshhook.requests as r (queue_name, verb, request_id, answer, expires_at)
    values (
      p_queue_name, p_verb, p_request_id, p_answer, clock_timestamp() + make_interval(secs => p_seconds)
    )
    on conflict (queue_name, verb, request_id)
    do update set answer = excluded.answer, expires_at = excluded.expires_at
    where p_verb <> 'enqueue' or r.expires_at <= clock_timestamp();
    -- A batch takes the keys of its jobs without their locks, of which it would need thousands. So a call
    -- that found its key free may find it taken here: it is rolled back, and its repeat gets the batch's
    -- answer.
    if not found then
      raise exception using
        errcode = '55P03',
        message = 'another call was enqueueing under the same key',
        hint = 'Call again: the answer is then that of the other call.';
    end if;
    -- Each request may have to clear away one that has expired; in batches, so that most need not.
    if random() < 0.01 then
      perform meshhook._forget(200);
    end if;
  end if;
  return p_answer;
end
$$;
comment on function meshhook._remember is
  'Keep the answer to a request for its repeats, by default for ten minutes, and return it.';

create or replace function meshhook._forget(p_limit integer)
returns bigint language sql
set search_path = pg_catalog, pg_temp
as $$
  with expired as (
    select r.queue_name, r.verb, r.request_id
    from meshhook.requests r
    where r.expires_at <= clock_timestamp()
    order by r.expires_at
    limit p_limit
    for update skip locked
  ), gone as (
    delete from meshhook.requests r
    using expired e
    where r.queue_name = e.queue_name and r.verb = e.verb and r.request_id = e.request_id
    returning 1
  )
  select count(*) from gone
$$;
comment on function meshhook._forget is 'Delete up to so many expired answers.';
