#include "server/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace reenact {
namespace {

constexpr char kVersion[] = "reenactd 0.1.0";

using Values = std::vector<std::string>;
using Problems = std::vector<std::string>;

// One flag: CLI11 collects its raw values, `apply` turns them into a field or a problem.
struct Flag {
  std::string name;
  std::string help;
  bool repeatable;
  std::function<void(const Values&, Problems&)> apply;
  Values values = {};
};

void AddProblem(Problems& problems, absl::string_view name, absl::string_view value,
                absl::string_view range) {
  problems.push_back(absl::StrCat("--", name, ": \"", value, "\" is not ", range));
}

template <typename Int>
Flag IntFlag(std::string name, std::string help, Int& field, int64_t low, int64_t high) {
  const std::string range = absl::StrCat("a whole number from ", low, " to ", high);
  return {name, absl::StrCat(help, " ", low, " to ", high, ". Default: ", field), false,
          [name, range, low, high, &field](const Values& values, Problems& problems) {
            int64_t number = 0;
            if (!absl::SimpleAtoi(values.back(), &number) || number < low || number > high) {
              AddProblem(problems, name, values.back(), range);
            } else {
              field = static_cast<Int>(number);
            }
          }};
}

Flag DurationFlag(const std::string& name, const std::string& help, absl::Duration& field,
                  absl::Duration low, absl::Duration high) {
  const std::string limits =
      absl::StrCat(absl::FormatDuration(low), " to ", absl::FormatDuration(high));
  return {
      name, absl::StrCat(help, " ", limits, ". Default: ", absl::FormatDuration(field)), false,
      [name, limits, low, high, &field](const Values& values, Problems& problems) {
        absl::Duration duration;
        if (!absl::ParseDuration(values.back(), &duration) || duration < low || duration > high) {
          AddProblem(problems, name, values.back(),
                     absl::StrCat("a duration with its unit from ", limits));
        } else {
          field = duration;
        }
      }};
}

// One of at least two words.
Flag ChoiceFlag(const std::string& name, const std::string& help, std::string& field,
                const std::vector<std::string>& words) {
  const std::string choices =
      absl::StrCat(absl::StrJoin(words.begin(), words.end() - 1, ", "), " or ", words.back());
  return {name, absl::StrCat(help, ": ", choices, ". Default: ", field), false,
          [name, words, choices, &field](const Values& values, Problems& problems) {
            field = values.back();
            if (std::find(words.begin(), words.end(), field) == words.end()) {
              AddProblem(problems, name, field, choices);
            }
          }};
}

Flag TextFlag(std::string name, std::string help, std::string& field) {
  return {std::move(name), std::move(help), false,
          [&field](const Values& values, Problems&) { field = values.back(); }};
}

// host:port with a port in range; an IPv6 host in brackets.
bool IsHostAndPort(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return false;
  int port = -1;
  if (!absl::SimpleAtoi(address.substr(colon + 1), &port)) return false;
  const absl::string_view host = address.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  return port >= 0 && port <= 65535 && (bracketed || !absl::StrContains(host, ':'));
}

bool IsListenAddress(absl::string_view address) {
  // sockaddr_un holds 107 characters and a zero.
  if (absl::ConsumePrefix(&address, "unix:")) return !address.empty() && address.size() <= 107;
  return IsHostAndPort(address);
}

// Whether there is such a device is for the engine to say.
bool IsDevice(absl::string_view name) {
  if (name == "cpu" || name == "cuda" || name == "auto") return true;
  int index = -1;
  return absl::ConsumePrefix(&name, "cuda:") && !name.empty() && absl::ascii_isdigit(name[0]) &&
         absl::SimpleAtoi(name, &index) && index <= 127;
}

std::vector<Flag> MakeFlags(ServerConfig& config) {
  constexpr int64_t kKiB = 1024, kGiB = int64_t{1} << 30;
  std::vector<Flag> flags;
  flags.push_back({"listen",
                   absl::StrCat("Address to serve on, host:port or unix:PATH; may be repeated. "
                                "Default: ",
                                absl::StrJoin(config.listen, " ")),
                   true, [&config](const Values& values, Problems& problems) {
                     config.listen = values;
                     for (const std::string& value : values) {
                       if (!IsListenAddress(value)) {
                         AddProblem(problems, "listen", value,
                                    "host:port (port 0 to 65535) or unix:PATH (1 to 107 "
                                    "characters)");
                       }
                     }
                   }});
  flags.push_back({"metrics-listen",
                   absl::StrCat("host:port of the Prometheus endpoint, or off. Default: ",
                                config.metrics_listen),
                   false, [&config](const Values& values, Problems& problems) {
                     config.metrics_listen = values.back();
                     if (config.metrics_listen != "off" && !IsHostAndPort(config.metrics_listen)) {
                       AddProblem(problems, "metrics-listen", config.metrics_listen,
                                  "host:port (port 0 to 65535) or off");
                     }
                   }});
  flags.push_back({"bundle", "Folder of a model bundle; may be repeated, the first is the default",
                   true, [&config](const Values& values, Problems&) { config.bundles = values; }});
  flags.push_back(TextFlag("face-models",
                           "Folder of the landmark models a bundle names but does not hold",
                           config.face_models));
  flags.push_back(IntFlag("compute-threads",
                          "Threads of one tensor operation on a CPU; 0 is one per core.",
                          config.compute_threads, 0, 1024));
  flags.push_back({"device",
                   absl::StrCat("Where to denoise and decode: cpu, cuda, cuda:N or auto (a GPU if "
                                "there is one). Default: ",
                                config.device),
                   false, [&config](const Values& values, Problems& problems) {
                     config.device = values.back();
                     if (!IsDevice(config.device)) {
                       AddProblem(problems, "device", config.device,
                                  "cpu, cuda, cuda:N (N from 0 to 127) or auto");
                     }
                   }});
  flags.push_back(IntFlag("max-cuda-graphs",
                          "Shapes of a step that a GPU keeps a CUDA graph of; 0 is none.",
                          config.max_cuda_graphs, 0, 1000));
  flags.push_back(ChoiceFlag("precision", "Number format of denoising and decoding",
                             config.precision, {"fp32", "bf16"}));
  flags.push_back(IntFlag("max-active-rows",
                          "Rows of frames of one job that denoise at the same time.",
                          config.max_active_rows, 2, 10000));
  flags.push_back(ChoiceFlag("trace", "How rows get the anchor frame's keys and values",
                             config.trace, {"auto", "retained", "lockstep", "recomputed"}));
  flags.push_back(IntFlag("max-trace-bytes", "Keys and values retained for all jobs together.",
                          config.max_trace_bytes, 0, 1024 * kGiB));
  flags.push_back(IntFlag("max-driving-bytes", "Driving media of one job.",
                          config.max_driving_bytes, 1, 64 * kGiB));
  flags.push_back(
      IntFlag("max-frames", "Frames of one driving video.", config.max_frames, 1, 10000000));
  flags.push_back(IntFlag("max-queued-jobs", "Jobs admitted and not yet denoising.",
                          config.max_queued_jobs, 1, 100000));
  flags.push_back(DurationFlag("max-queued-work",
                               "Denoising work before admitted jobs, as time on the device.",
                               config.max_queued_work, absl::Seconds(1), absl::Hours(168)));
  flags.push_back(IntFlag("max-active-jobs", "Jobs that denoise at the same time.",
                          config.max_active_jobs, 1, 1000));
  flags.push_back(IntFlag("max-batch-rows",
                          "Rows of frames in one denoising step, of all jobs together.",
                          config.max_batch_rows, 1, 10000));
  flags.push_back(IntFlag("max-jobs", "All jobs in memory, until their last byte is sent.",
                          config.max_jobs, 1, 100000));
  flags.push_back(IntFlag("max-remembered-jobs", "Ended jobs that GetJob still knows.",
                          config.max_remembered_jobs, 0, 1000000));
  flags.push_back(IntFlag("preparation-threads", "Jobs whose video is read at the same time.",
                          config.preparation_threads, 1, 256));
  flags.push_back(IntFlag("render-threads", "Jobs whose output is encoded at the same time.",
                          config.render_threads, 1, 256));
  flags.push_back(IntFlag("extraction-threads",
                          "Motion templates that are extracted at the same time.",
                          config.extraction_threads, 1, 256));
  flags.push_back(IntFlag("max-extractions", "ExtractMotion calls in memory.",
                          config.max_extractions, 1, 100000));
  flags.push_back(IntFlag("max-message-bytes", "Largest message taken in.",
                          config.max_message_bytes, 64 * kKiB, kGiB));
  flags.push_back(IntFlag("max-inbox-bytes", "Driving media of one job waiting to be read.",
                          config.max_inbox_bytes, 1, 16 * kGiB));
  flags.push_back(IntFlag("max-outbox-bytes", "Output of one job waiting to be sent.",
                          config.max_outbox_bytes, 1, 16 * kGiB));
  flags.push_back(IntFlag("max-rows-ahead",
                          "Rows of frames a job may compute while finished ones wait.",
                          config.max_rows_ahead, 0, 10000));
  flags.push_back(DurationFlag("max-job-duration", "From admission to the last byte sent.",
                               config.max_job_duration, absl::Seconds(1), absl::Hours(168)));
  flags.push_back(DurationFlag("receive-timeout",
                               "Silence of a client that owes driving media that ends its job.",
                               config.receive_timeout, absl::Seconds(1), absl::Hours(168)));
  flags.push_back(DurationFlag("resume-timeout",
                               "How long a job waits for a client that lost its connection.",
                               config.resume_timeout, absl::ZeroDuration(), absl::Hours(24)));
  flags.push_back(IntFlag("resume-buffer-bytes",
                          "Sent answers of one job kept for a client that lost its connection.",
                          config.resume_buffer_bytes, 0, 16 * kGiB));
  flags.push_back(DurationFlag("drain-timeout", "How long jobs may go on after SIGTERM.",
                               config.drain_timeout, absl::ZeroDuration(), absl::Hours(24)));
  flags.push_back(DurationFlag("heartbeat-timeout",
                               "Silence of the scheduler thread that means the worker is stuck.",
                               config.heartbeat_timeout, absl::Seconds(1), absl::Hours(1)));
  flags.push_back(DurationFlag("retry-delay", "What a refused caller is told to wait at least.",
                               config.retry_delay, absl::Milliseconds(1), absl::Hours(1)));
  flags.push_back(DurationFlag("keepalive-time", "Time between pings on a connection with a call.",
                               config.keepalive_time, absl::Seconds(1), absl::Hours(2)));
  flags.push_back(DurationFlag("keepalive-timeout", "How long to wait for a ping's answer.",
                               config.keepalive_timeout, absl::Seconds(1), absl::Minutes(10)));
  flags.push_back(ChoiceFlag("log-level", "Least level that is logged", config.log_level,
                             {"debug", "info", "warning", "error"}));
  return flags;
}

}  // namespace

absl::StatusOr<CommandLine> ParseServerConfig(const std::vector<std::string>& args) {
  CommandLine command_line;
  ServerConfig& config = command_line.config;
  std::vector<Flag> flags = MakeFlags(config);

  CLI::App app("Serves video face reenactment over gRPC.", "reenactd");
  app.set_version_flag("--version", kVersion);
  app.set_config("--config", "", "TOML or INI file with the same names as the flags");
  app.allow_config_extras(CLI::config_extras_mode::error);
  for (Flag& flag : flags) {
    CLI::Option* option = app.add_option(absl::StrCat("--", flag.name), flag.values, flag.help);
    option->type_name("");
    if (flag.repeatable) {
      option->allow_extra_args(false);
    } else {
      option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
  }

  // CLI11 takes the arguments last first.
  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForVersion&) {
    command_line.text_to_print = absl::StrCat(kVersion, "\n");
    return command_line;
  } catch (const CLI::Success&) {
    command_line.text_to_print = app.help();
    return command_line;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }

  Problems problems;
  for (const Flag& flag : flags) {
    if (!flag.values.empty()) flag.apply(flag.values, problems);
  }
  if (config.bundles.empty()) {
    problems.push_back("--bundle: is not set; at least one folder is needed");
  }
  if (config.max_jobs < config.max_active_jobs) {
    problems.push_back(absl::StrCat("--max-jobs: \"", config.max_jobs,
                                    "\" is not at least --max-active-jobs (",
                                    config.max_active_jobs, ")"));
  }
  if (!problems.empty()) return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
  return command_line;
}

}  // namespace reenact
