-- The update of the stand-in: queues that are there get headers; the functions follow below.
drop function pgmq.drop_queue(text, boolean);
drop function pgmq.send(text, jsonb, integer);
drop function pgmq.send_batch(text, jsonb[], integer);
drop function pgmq.read(text, integer, integer);
drop function pgmq.purge_queue(text);
drop function pgmq.metrics(text);

alter type pgmq.message_record add attribute headers jsonb;
alter type pgmq.metrics_result add attribute queue_visible_length bigint;

do $$
declare
  v_queue text;
begin
  for v_queue in select lower(m.queue_name) from pgmq.meta m loop
    execute format('alter table pgmq.%I add column headers jsonb', 'q_' || v_queue);
    execute format('alter table pgmq.%I add column headers jsonb', 'a_' || v_queue);
  end loop;
end
$$;

