// Everything an operator can set, read from flags and an optional configuration file.
//
// A flag `--some-name VALUE` is `some-name = VALUE` in the file (TOML or INI); flags win. A
// repeatable flag is a list: `listen = ["0.0.0.0:50051", "unix:/run/reenact.sock"]`. Durations are
// written with their unit: 500ms, 30s, 2m, 1h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace reenact {

// Defaults are the values below. Ranges are checked by ParseServerConfig.
struct ServerConfig {
  // --listen, repeatable. host:port or unix:PATH. Port 0: any free one (logged).
  std::vector<std::string> listen = {"127.0.0.1:50051"};
  // --metrics-listen. host:port of Prometheus' endpoint, or "off". Port 0: any free one (logged).
  std::string metrics_listen = "127.0.0.1:9464";

  // --bundle, repeatable, at least one. Folder of a model bundle; the first is the default model.
  std::vector<std::string> bundles;
  // --face-models. Folder of the landmark models that a bundle names but does not hold.
  std::string face_models;
  // --compute-threads. Threads of one tensor operation on a CPU. 0 to 1024; 0: one per core.
  int compute_threads = 0;

  // --device. Where to denoise and decode: cpu; cuda, the first GPU; cuda:N, the N-th from 0; or
  // auto, the first GPU if there is one the program can use, else the CPU.
  std::string device = "auto";
  // --max-cuda-graphs. Shapes of a denoising step that a GPU keeps a CUDA graph of. 0 to 1000; 0:
  // none. Each takes some tens of MiB of the GPU's memory, large models some hundreds.
  int max_cuda_graphs = 16;
  // --precision. Number format of denoising and decoding: fp32 or bf16.
  std::string precision = "fp32";
  // --max-active-rows. Rows of frames of one job that have begun to denoise and not ended. 2 to
  // 10000; memory grows with it.
  int max_active_rows = 8;
  // --trace. How a job's rows get the anchor frame's keys and values: retained (computed once and
  // kept), lockstep (all rows take every step together), recomputed (once per group of rows) or
  // auto (retained while there is room, see --max-trace-bytes).
  std::string trace = "auto";
  // --max-trace-bytes. Keys and values retained for all jobs together. 0 to 1 TiB.
  int64_t max_trace_bytes = int64_t{1} << 30;
  // --max-driving-bytes. Driving media of one job. 1 to 64 GiB.
  int64_t max_driving_bytes = int64_t{256} << 20;
  // --max-frames. Frames of one driving video. 1 to 10000000.
  int max_frames = 20000;

  // --max-queued-jobs. Jobs admitted and not yet denoising. 1 to 100000.
  int max_queued_jobs = 16;
  // --max-queued-work. Denoising work that admitted jobs may still have before them, as time on the
  // device. A job that goes beyond it is refused, but for one that finds no work at all. 1s to
  // 168h.
  absl::Duration max_queued_work = absl::Minutes(10);
  // --max-active-jobs. Jobs that denoise at the same time, those paused by a slow reader not
  // counted. 1 to 1000; memory grows with it.
  int max_active_jobs = 8;
  // --max-batch-rows. Rows of frames in one denoising step, of all jobs together. 1 to 10000;
  // memory grows with it.
  int max_batch_rows = 8;
  // --max-jobs. All jobs in memory, from admission to the last byte sent. 1 to 100000.
  int max_jobs = 64;
  // --max-remembered-jobs. Ended jobs that GetJob still knows. 0 to 1000000.
  int max_remembered_jobs = 1000;
  // --preparation-threads. Jobs whose video is read at the same time. 1 to 256.
  int preparation_threads = 2;
  // --render-threads. Jobs whose output is decoded and encoded at the same time. 1 to 256.
  int render_threads = 1;

  // --extraction-threads. Motion templates that are extracted at the same time, beside the jobs and
  // at a lower priority. 1 to 256.
  int extraction_threads = 1;
  // --max-extractions. ExtractMotion calls in memory; further ones are refused. 1 to 100000.
  int max_extractions = 8;

  // --max-message-bytes. Largest gRPC message in; a config with its source image must fit. 64 KiB
  // to 1 GiB.
  int64_t max_message_bytes = 32 << 20;
  // --max-inbox-bytes. Driving media of one job waiting to be read; beyond it the server stops
  // reading from the stream (one message may overshoot). 1 to 16 GiB.
  int64_t max_inbox_bytes = 4 << 20;
  // --max-outbox-bytes. Output of one job waiting to be sent; beyond it the job renders no more
  // (the output of one pass may overshoot). 1 to 16 GiB.
  int64_t max_outbox_bytes = 8 << 20;
  // --max-rows-ahead. Rows of frames a job may compute while finished ones wait to be rendered,
  // before it is paused. 0 to 10000.
  int max_rows_ahead = 16;

  // --max-job-duration. From admission to the last byte sent; a call's own deadline may be earlier.
  // 1s to 168h.
  absl::Duration max_job_duration = absl::Hours(1);
  // --receive-timeout. How long a client that still owes driving media may be silent before its job
  // ends. 1s to 168h.
  absl::Duration receive_timeout = absl::Minutes(1);
  // --resume-timeout. How long a job with an idempotency key goes on, or is kept when it has ended,
  // for a client that lost its connection to resume it. 0s to 24h.
  absl::Duration resume_timeout = absl::Seconds(30);
  // --resume-buffer-bytes. Sent answers that such a job keeps for that client. 0 to 16 GiB.
  int64_t resume_buffer_bytes = 8 << 20;
  // --drain-timeout. After SIGTERM, how long jobs may go on before they are cancelled. 0s to 24h.
  absl::Duration drain_timeout = absl::Seconds(30);
  // --heartbeat-timeout. The health service reports "" as not serving when the scheduler thread has
  // not come round for this long: longer than any denoising step. 1s to 1h.
  absl::Duration heartbeat_timeout = absl::Minutes(2);
  // --retry-delay. What a refused caller is told to wait (google.rpc.RetryInfo) at least; longer if
  // the queued work says so. 1ms to 1h.
  absl::Duration retry_delay = absl::Seconds(2);
  // --keepalive-time, --keepalive-timeout. HTTP/2 pings on connections with a call. 1s to 2h; 1s to
  // 10m.
  absl::Duration keepalive_time = absl::Seconds(30);
  absl::Duration keepalive_timeout = absl::Seconds(20);

  // --log-level. debug, info, warning or error.
  std::string log_level = "info";
};

// What the command line asks for.
struct CommandLine {
  ServerConfig config;
  // Not empty: print this and exit with status 0 (--help, --version); `config` is not set.
  std::string text_to_print;
};

// Reads flags (without the program's name) and the file named by --config. kInvalidArgument: the
// message lists every problem, one a line, each with field, value and range.
absl::StatusOr<CommandLine> ParseServerConfig(const std::vector<std::string>& args);

}  // namespace reenact
