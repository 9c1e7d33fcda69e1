"""What Prometheus calls each number of the stats, and what it says of it."""

from __future__ import annotations

from typing import get_args

from framebuf.contract import Outcome, Reason

REJECTED = (
    "bad_payload", "unknown_field", "bad_id", "bad_at", "bad_response_topic", "window_too_large",
    "queue_full", "stale", "retained", "camera_offline", "model_error",
)  # fmt: skip
"""The codes of the contract."""
ALWAYS = (
    "triggers_accepted", "triggers_duplicate", "triggers_dropped",
    *(f"rejected_{code}" for code in REJECTED),
    *(f"done_{outcome}" for outcome in get_args(Outcome)),
    *(f"missing_{reason}" for reason in get_args(Reason)),
    "results", "results_failed", "results_reduced", "results_too_large", "answers_late",
    "images_sent", "images_dropped", "last_images", "last_images_skipped",
    "connects", "taken_over", "subscriptions_denied",
    "messages_too_large", "messages_reduced", "messages_given_up", "messages_ignored",
    "publishes_denied", "publishes_refused", "publishes_retried", "unsent_qos0", "acks_dropped",
    "responses", "responses_dropped", "journal_failures", "camera_online", "camera_offline",
    "servers_away", "servers_back", "fallbacks",
)  # fmt: skip
"""Counters that are told from the start: an alarm on a rate needs the 0 before the first."""

_BY_PREFIX = {
    "done_": ("framebuf_requests_ended", "outcome"),
    "missing_": ("framebuf_frames_missing", "reason"),
    "images_": ("framebuf_images", "outcome"),
    "camera_": ("framebuf_camera_changes", "to"),
}
_PLAIN = {
    "connects": "framebuf_broker_connects",
    "last_images": "framebuf_last_images_made",
    "unsent_qos0": "framebuf_messages_unsent",
}

CAMERA_GAUGES = {
    "online": "framebuf_camera_online",
    "held": "framebuf_buffer_frames",
    "held_s": "framebuf_buffer_seconds",
    "bytes": "framebuf_buffer_bytes",
    "leased": "framebuf_frames_leased",
}
CAMERA_COUNTERS = {
    "kept": "framebuf_frames_captured",
    "dropped": "framebuf_frames_dropped",
    "evicted": "framebuf_frames_evicted",
    "decimated": "framebuf_frames_decimated",
    "undecodable": "framebuf_frames_undecodable",
    "outdated": "framebuf_frames_outdated",
    "oversized": "framebuf_frames_oversized",
    "reopened": "framebuf_camera_reopens",
}

HELP = {
    "framebuf_build_info": "Always 1: which version runs, as which node",
    "framebuf_uptime_seconds": "Since the node was ready",
    "framebuf_broker_connected": "1 while the MQTT broker is there",
    "framebuf_requests_open": "Requests that are not finished",
    "framebuf_journal_rows": "Requests in the journal: open ones, and ended ones that are known",
    "framebuf_anonymous_memory_bytes": "Resident memory that is the process's own, no buffers",
    "framebuf_triggers": "Triggers by what became of them; code says why one was rejected",
    "framebuf_requests_ended": "Done documents by their outcome",
    "framebuf_frames_missing": "Frames that were asked for and have no result, by reason",
    "framebuf_results": "Results on their way to the broker",
    "framebuf_results_failed": "Results with an error in place of findings, of ended requests",
    "framebuf_results_reduced": "Results that were sent with less than was found",
    "framebuf_images": "Pictures that triggers asked for, by what became of them",
    "framebuf_broker_connects": "Connections to the broker; all but the first are reconnects",
    "framebuf_camera_changes": "Times a camera went online or offline",
    "framebuf_servers_away": "Times no server of a model answered any more",
    "framebuf_servers_back": "Times a server of such a model answered again",
    "framebuf_fallbacks": "Frames that a model's fallback answered in its place",
    "framebuf_journal_failures": "Times the journal could not be written",
    "framebuf_camera_online": "1 while the camera's newest frame is fresh",
    "framebuf_buffer_frames": "Frames held",
    "framebuf_buffer_seconds": "From the oldest frame held to the newest",
    "framebuf_buffer_bytes": "Memory of the camera's frames",
    "framebuf_frames_leased": "Frames held for requests",
    "framebuf_frames_captured": "Frames that were captured and kept",
    "framebuf_frames_dropped": "Frames that found no slot, for all were leased",
    "framebuf_frames_evicted": "Frames that gave way to newer ones",
    "framebuf_frames_decimated": "Frames passed over to keep fps a second",
    "framebuf_frames_undecodable": "Frames that exist but could not be decoded",
    "framebuf_frames_outdated": "Frames that came too late to be kept",
    "framebuf_frames_oversized": "Frames larger than the camera's memory holds",
    "framebuf_camera_reopens": "Times the source was opened again",
    "framebuf_batch_frames": "Frames in each batch that ran",
    "framebuf_batch_padding_rows": "Rows of batches that ran with zeros, for want of frames",
    "framebuf_batches_failed": "Batches that the runtime failed",
    "framebuf_frame_wait_seconds": "From ready to taken into a tensor, each frame",
    "framebuf_frame_prepare_seconds": "Each frame's share of preparing its tensor",
    "framebuf_batch_infer_seconds": "Inference of each batch",
    "framebuf_frame_post_seconds": "Each frame's share of reading its batch's outputs",
    "framebuf_result_publish_seconds": "From a result on its way to the broker's word for it",
    "framebuf_trigger_to_done_seconds": "From a trigger's receipt to its done document",
    "framebuf_lane_cores": "Cores of the accelerator",
    "framebuf_lane_waiting_frames": "Frames on the accelerator's backlogs",
    "framebuf_lane_busy_seconds": "Seconds of inference, times the cores that it took",
}


def named(counter: str) -> tuple[str, dict[str, str]]:
    """A counter of `Counters` as a metric, without `_total`, and its labels."""
    if counter.startswith("rejected_"):
        code = counter.removeprefix("rejected_")
        return "framebuf_triggers", {"outcome": "rejected", "code": code}
    if counter.startswith("triggers_"):
        outcome = counter.removeprefix("triggers_")
        return "framebuf_triggers", {"outcome": outcome, "code": ""}
    for prefix, (name, label) in _BY_PREFIX.items():
        if counter.startswith(prefix):
            return name, {label: counter.removeprefix(prefix)}
    return _PLAIN.get(counter, f"framebuf_{counter}"), {}
