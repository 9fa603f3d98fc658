-- Attempts: which attempt a delivery is, and the texts that queries on a queue's table are made of.
--
-- attempt = message.attempt + deliveries since that was written, where "reads" under the reserved key
-- says at which read_ct it was written. A retry writes attempt + 1, a hand-back writes the same attempt
-- again; a crash writes nothing, so the next delivery counts one more. A message that has not been settled
-- yet has no "reads": its first delivery is message.attempt itself, or 1. With "reads" goes the job's "id",
-- so that in a message that was copied from another job it counts for nothing.

-- The holes, by their names; the table names come last, so nothing is looked for in them:
--   {attempt}          which attempt the last delivery of row q was
--   {job.handed_back}  whether row q was handed back, by a retry or a release, from its last delivery
--   {job.state}        what MeshHook keeps in the message of row h under its reserved key
--   {q}, {other}       the tables of the queue and of another one
-- Expressions are text, because a function with a search_path of its own is not inlined, and calling one for
-- each row would cost more than a claim. Each hole costs a walk through the text, so those that most queries
-- do not have are looked for together first.
create or replace function meshhook._sql(p_queue_name text, p_template text, p_other text default null)
returns text language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sql text := replace(p_template, '{attempt}', $sql$
    least(1000000, greatest(1,
      case when jsonb_typeof(q.message -> 'attempt') = 'number'
        then (q.message -> 'attempt')::numeric else 1 end
      + q.read_ct - 1
      - least(q.read_ct - 1, greatest(0,
          case when q.message -> '_meshhook' -> 'id' = to_jsonb(q.msg_id)
              and jsonb_typeof(q.message -> '_meshhook' -> 'reads') = 'number'
            then (q.message -> '_meshhook' -> 'reads')::numeric else 0 end))
    ))::integer
  $sql$);
begin
  if strpos(v_sql, '{job.') > 0 then
    v_sql := replace(replace(v_sql, '{job.handed_back}', $sql$
      coalesce(q.message -> '_meshhook' @> jsonb_build_object('id', q.msg_id, 'reads', q.read_ct), false)
    $sql$), '{job.state}', $sql$
      case when jsonb_typeof(h.message -> '_meshhook') = 'object'
        then h.message -> '_meshhook' else '{}' end
    $sql$);
  end if;
  if p_other is not null then
    v_sql := replace(v_sql, '{other}', format('pgmq.%I', 'q_' || p_other));
  end if;
  return replace(v_sql, '{q}', format('pgmq.%I', 'q_' || p_queue_name));
end
$$;
comment on function meshhook._sql is 'Return the text of a query, with its holes filled in.';
