"""Who may do what with each thing that the migrations create: one entry for each.

A thing that is created and not entered here fails the tests. To enter one, add its name to the list
of its kind; a thing that somebody may use goes to `OPEN` too, with who may do what.
"""

from __future__ import annotations

SCHEMAS = ["meshhook"]

TABLES = [
    "meshhook.attempts",
    "meshhook.grants",
    "meshhook.jobs",
    "meshhook.queues",
    "meshhook.requests",
    "meshhook.totals",
    "meshhook.user_queues",
    "meshhook.user_sends",
    "meshhook.workers",
    "pgmq.a_workflow_jobs",
    "pgmq.a_workflow_jobs_dlq",
    "pgmq.q_workflow_jobs",
    "pgmq.q_workflow_jobs_dlq",
]

VIEWS = [
    "public.job_statistics",
    "public.queue_monitoring",
]

SEQUENCES = [
    "meshhook.queues_queue_id_seq",
    "pgmq.q_workflow_jobs_dlq_msg_id_seq",
    "pgmq.q_workflow_jobs_msg_id_seq",
]

PUBLIC_FUNCTIONS = [
    "meshhook_acknowledge",
    "meshhook_allow_user_enqueue",
    "meshhook_archive",
    "meshhook_cancel",
    "meshhook_configure_queue",
    "meshhook_count_dead_letters",
    "meshhook_create_queue",
    "meshhook_dead_letter",
    "meshhook_delete",
    "meshhook_dequeue",
    "meshhook_disallow_user_enqueue",
    "meshhook_dlq_metrics",
    "meshhook_doctor",
    "meshhook_drop_queue",
    "meshhook_enqueue",
    "meshhook_extend",
    "meshhook_find_jobs",
    "meshhook_get_dead_letter",
    "meshhook_get_job",
    "meshhook_group_dead_letters",
    "meshhook_list_dead_letters",
    "meshhook_list_jobs",
    "meshhook_list_queues",
    "meshhook_list_workers",
    "meshhook_pause_queue",
    "meshhook_prune",
    "meshhook_purge",
    "meshhook_queue_metrics",
    "meshhook_release",
    "meshhook_replay",
    "meshhook_resume_queue",
    "meshhook_retry",
    "meshhook_settle",
    "meshhook_settle_and_dequeue",
    "meshhook_user_enqueue",
    "meshhook_version",
]

PRIVATE_FUNCTIONS = [
    "_add",
    "_adopt",
    "_age",
    "_alike_queue",
    "_archive",
    "_attempts",
    "_attempts_of_dead_letter",
    "_buried_sql",
    "_bury_unfit",
    "_caller",
    "_check_claim",
    "_check_delay",
    "_check_dlq_name",
    "_check_keys",
    "_check_messages",
    "_check_number",
    "_check_one_time",
    "_check_outcomes",
    "_check_queue_name",
    "_check_queue_settings",
    "_check_reach",
    "_check_receipts",
    "_check_role",
    "_check_run_at",
    "_check_user_message",
    "_claim",
    "_claim_again",
    "_claim_json",
    "_claim_rows",
    "_complete",
    "_configure",
    "_count",
    "_dead_letter",
    "_depth",
    "_dlq_name",
    "_doctor_functions",
    "_doctor_history",
    "_doctor_open_doors",
    "_doctor_prunes",
    "_doctor_queue",
    "_doctor_queues",
    "_doctor_lost_rights",
    "_doctor_relations",
    "_doctor_table",
    "_drop_pgmq_queue",
    "_due_from",
    "_due_time",
    "_end_user",
    "_enqueue_by_key",
    "_ensure_pgmq_queue",
    "_error_sql",
    "_extend",
    "_finished_job",
    "_finished_jobs",
    "_forget",
    "_forget_user_sends",
    "_grant",
    "_granted_functions",
    "_hand_out",
    "_has_headers",
    "_has_index",
    "_held_sql",
    "_insert_messages",
    "_is_taken",
    "_job_statistics",
    "_known_queue",
    "_leave_extension",
    "_lock",
    "_metrics",
    "_original_msg_id",
    "_pgmq_kind",
    "_pgmq_queues",
    "_prune_archive",
    "_prune_as_configured",
    "_prune_attempts",
    "_prune_jobs",
    "_queue",
    "_queue_json",
    "_queue_monitoring",
    "_recall",
    "_record_lapses",
    "_refuse",
    "_release",
    "_remember",
    "_remove",
    "_repair_pgmq_queue",
    "_replay_to",
    "_require_pgmq_queue",
    "_retry",
    "_run_ats",
    "_seen",
    "_settle",
    "_settle_all",
    "_settle_uncounted",
    "_skip_used_ids",
    "_source_queue",
    "_source_queue_sql",
    "_spend_quota",
    "_sql",
    "_start_next_at",
    "_state",
    "_statuses",
    "_timing",
    "_turn_away",
    "_unlike",
    "_unreplayable",
    "_user_queue",
    "_waiting_jobs",
    "grant_enqueue",
    "grant_work",
    "revoke_grants",
]

OPEN: dict[str, dict[str, set[str]]] = {
    **{f"function public.{name}": {"service_role": {"EXECUTE"}} for name in PUBLIC_FUNCTIONS},
    **{f"view {name}": {"service_role": {"SELECT"}} for name in VIEWS},
    # What a view calls, its reader must be allowed to execute; the schema is closed all the same.
    "function meshhook._job_statistics": {"service_role": {"EXECUTE"}},
    "function meshhook._queue_monitoring": {"service_role": {"EXECUTE"}},
}
"""Who may do what; for everything that is entered and not here: nobody, nothing."""

ROLES = ["anon", "authenticated", "service_role", "authenticator", "fresh"]
"""The roles of Supabase's API, the role that it logs in as, and one that nobody gave anything."""


def entered() -> set[str]:
    """Return all entries, each with its kind, functions without their arguments."""
    return {
        *(f"schema {name}" for name in SCHEMAS),
        *(f"table {name}" for name in TABLES),
        *(f"view {name}" for name in VIEWS),
        *(f"sequence {name}" for name in SEQUENCES),
        *(f"function public.{name}" for name in PUBLIC_FUNCTIONS),
        *(f"function meshhook.{name}" for name in PRIVATE_FUNCTIONS),
    }


def allowed(entry: str, role: str) -> set[str]:
    """Return what a role may do with a thing."""
    return OPEN.get(entry, {}).get(role, set())
