-- Attempts: which attempt a delivery is, and the texts that queries on a queue's table are made of.
--
-- attempt = message.attempt + deliveries since that was written, where "reads" under the reserved key
-- says at which read_ct it was written. A retry writes attempt + 1, a hand-back writes the same attempt
-- again; a crash writes nothing, so the next delivery counts one more. A message that has not been settled
-- yet has no "reads": its first delivery is message.attempt itself, or 1. With "reads" goes the job's "id",
-- so that in a message that was copied from another job it counts for nothing.

-- The holes, by their names; the table names come last, so nothing is looked for in them:
--   {attempt}           which attempt the last delivery of row q was
--   {own_max_attempts}  the max_attempts that the sender of row q chose, null if they left it open
--   {handed_back}       whether row q was handed back, by a retry or a release, from its last delivery
--   {malformed}         what makes row q impossible to work on, null if nothing does
--   {state}             what MeshHook keeps in the message of row h under its reserved key
--   {q}, {other}        the tables of the queue and of another one
-- Expressions are text, because a function with a search_path of its own is not inlined, and calling one for
-- each row would cost more than a claim.
create or replace function meshhook._sql(p_queue_name text, p_template text, p_other text default null)
returns text language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sql text := p_template;
begin
  v_sql := replace(v_sql, '{attempt}', $sql$
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
  v_sql := replace(v_sql, '{own_max_attempts}', $sql$
    case
      when q.message -> '_meshhook' -> 'default_max_attempts' = 'true'::jsonb then null
      when jsonb_typeof(q.message -> 'max_attempts') = 'number'
        then least(1000000, (q.message -> 'max_attempts')::numeric)::integer
    end
  $sql$);
  v_sql := replace(v_sql, '{handed_back}', $sql$
    coalesce(q.message -> '_meshhook' @> jsonb_build_object('id', q.msg_id, 'reads', q.read_ct), false)
  $sql$);
  v_sql := replace(v_sql, '{malformed}', $sql$
    case
      when jsonb_typeof(q.message) is distinct from 'object' then 'the message is not a JSON object'
      when q.message ? 'attempt' and case when jsonb_typeof(q.message -> 'attempt') = 'number'
          then (q.message -> 'attempt')::numeric not between 1 and 1000000
            or (q.message -> 'attempt')::numeric <> trunc((q.message -> 'attempt')::numeric)
          else true end
        then '"attempt" is not a whole number from 1 to 1000000'
      when q.message ? 'max_attempts' and case when jsonb_typeof(q.message -> 'max_attempts') = 'number'
          then (q.message -> 'max_attempts')::numeric not between 1 and 1000000
            or (q.message -> 'max_attempts')::numeric <> trunc((q.message -> 'max_attempts')::numeric)
          else true end
        then '"max_attempts" is not a whole number from 1 to 1000000'
    end
  $sql$);
  v_sql := replace(v_sql, '{state}', $sql$
    case when jsonb_typeof(h.message -> '_meshhook') = 'object' then h.message -> '_meshhook' else '{}' end
  $sql$);
  if p_other is not null then
    v_sql := replace(v_sql, '{other}', format('pgmq.%I', 'q_' || p_other));
  end if;
  return replace(v_sql, '{q}', format('pgmq.%I', 'q_' || p_queue_name));
end
$$;
comment on function meshhook._sql is 'Return the text of a query, with its holes filled in.';
