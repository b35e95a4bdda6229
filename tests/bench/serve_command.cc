// `serve`: load on a running server, or on a private one.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/tool/server_access.h"
#include "tests/bench/clip.h"
#include "tests/bench/load.h"
#include "tests/bench/measure.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

constexpr int kMaxClients = 1000;
constexpr int kMaxJobs = 1'000'000;

struct Flags {
  std::string server, bundle, face_models, server_flags;
  std::string source, driving;
  std::string clients = "1";
  std::string frames = "0", steps, samplers, plan = "central-random", format = "mp4";
  double rate = 0;
  int jobs = 0;
  double duration = 0;
  double deadline = 0;
  double cancel_share = 0, slow_readers = 0;
  double slow_wait = 0.2;
  int warm_up = 1;
  int repeat = 1;
  uint64_t seed = 0;
  bool compare_sequential = false;
};

absl::StatusOr<v1::OutputFormat> FormatOf(const std::string& name) {
  static const std::map<std::string, v1::OutputFormat> formats = {
      {"mp4", v1::OUTPUT_FORMAT_FRAGMENTED_MP4},
      {"jpeg", v1::OUTPUT_FORMAT_JPEG},
      {"png", v1::OUTPUT_FORMAT_PNG},
      {"raw", v1::OUTPUT_FORMAT_RAW_RGB}};
  return formats.at(name);
}

v1::SequencePlan PlanOf(const std::string& name) {
  static const std::map<std::string, v1::SequencePlan> plans = {
      {"central-random", v1::SEQUENCE_PLAN_CENTRAL_RANDOM},
      {"central-interleaved", v1::SEQUENCE_PLAN_CENTRAL_INTERLEAVED},
      {"contiguous", v1::SEQUENCE_PLAN_CONTIGUOUS}};
  return plans.at(name);
}

// The file named by the flag, else the demo's.
absl::StatusOr<std::string> ReadInput(const std::string& flag, const std::string& path,
                                      const std::string& demo_name) {
  const std::string file = path.empty() ? FindDemoFile(demo_name) : path;
  if (file.empty()) {
    return absl::NotFoundError(
        absl::StrCat(flag, ": there is no demo file ", demo_name, " to fall back on; name a file"));
  }
  return ReadFileBytes(flag, file);
}

struct Load {
  LoadMix mix;
  LoadOptions options;
  std::vector<int> clients;
  Json facts;  // fields that every result carries
};

absl::StatusOr<Load> MakeLoad(const Flags& flags) {
  if (flags.rate > 0 && flags.compare_sequential) {
    return absl::InvalidArgumentError(
        "--compare-sequential needs --clients, not --rate: arrivals at a rate have no order to "
        "compare with");
  }
  if (flags.rate > 0 && flags.jobs == 0 && flags.duration == 0) {
    return absl::InvalidArgumentError("--rate: needs an end, give --jobs, --duration or both");
  }
  if (flags.compare_sequential && (flags.cancel_share > 0 || flags.slow_readers > 0 ||
                                   flags.deadline > 0 || flags.duration > 0)) {
    return absl::InvalidArgumentError(
        "--compare-sequential: every job must run to its end, so it excludes --cancel-share, "
        "--slow-readers, --deadline and --duration");
  }
  if (flags.cancel_share + flags.slow_readers > 1) {
    return absl::InvalidArgumentError("--cancel-share and --slow-readers: together at most 1");
  }
  if (!flags.server.empty() && !(flags.bundle + flags.face_models + flags.server_flags).empty()) {
    return absl::InvalidArgumentError(
        "--server: names a running server; --bundle, --face-models and --server-flags are for a "
        "private one");
  }
  Load load;
  auto clients = ParseIntList("--clients", flags.clients, 1, kMaxClients);
  if (!clients.ok()) return clients.status();
  load.clients = *std::move(clients);
  auto frames = ParseIntList("--frames", flags.frames, 0, 100'000);
  if (!frames.ok()) return frames.status();
  load.mix.num_frames = *std::move(frames);
  load.mix.num_steps = {std::nullopt};
  if (!flags.steps.empty()) {
    auto steps = ParseIntList("--steps", flags.steps, 2, 1000);
    if (!steps.ok()) return steps.status();
    load.mix.num_steps.assign(steps->begin(), steps->end());
    load.facts["steps"] = *steps;
  } else {
    load.facts["steps"] = "default";
  }
  load.mix.samplers = {v1::SAMPLER_UNSPECIFIED};
  if (!flags.samplers.empty()) {
    const auto names =
        ParseWordList("--samplers", flags.samplers, {"ddim", "ddpm", "dpm-solver++"});
    if (!names.ok()) return names.status();
    load.mix.samplers.clear();
    for (const std::string& name : *names) {
      load.mix.samplers.push_back(name == "ddim"   ? v1::SAMPLER_DDIM
                                  : name == "ddpm" ? v1::SAMPLER_DDPM
                                                   : v1::SAMPLER_DPM_SOLVER_PP);
    }
    load.facts["samplers"] = *names;
  }
  load.mix.cancel_share = flags.cancel_share;
  load.mix.slow_reader_share = flags.slow_readers;
  load.facts["plan"] = flags.plan;
  load.facts["format"] = flags.format;
  if (flags.deadline > 0) load.facts["deadline_s"] = flags.deadline;

  auto source = ReadInput("--source", flags.source, "portrait.png");
  if (!source.ok()) return source.status();
  auto driving = ReadInput("--driving", flags.driving, "driving.mp4");
  if (!driving.ok()) return driving.status();
  LoadOptions& options = load.options;
  *options.config.mutable_source()->mutable_image() = *std::move(source);
  options.config.set_sequence_plan(PlanOf(flags.plan));
  const auto format = FormatOf(flags.format);
  options.config.mutable_output()->set_format(*format);
  for (const int n : load.mix.num_frames) {
    if (n == 0) {
      options.clips[0] = *driving;
      continue;
    }
    auto clip = MakeClip(*driving, n);
    if (!clip.ok()) {
      return absl::Status(clip.status().code(),
                          absl::StrCat("--driving: ", clip.status().message()));
    }
    options.clips[n] = *std::move(clip);
  }
  std::vector<std::string> lengths;
  for (const int n : load.mix.num_frames) {
    lengths.push_back(n == 0 ? "whole clip" : absl::StrCat(n));
  }
  load.facts["frames"] = absl::StrJoin(lengths, ", ");
  if (flags.deadline > 0) options.deadline = absl::Seconds(flags.deadline);
  if (flags.duration > 0) options.duration = absl::Seconds(flags.duration);
  options.slow_reader_wait = absl::Seconds(flags.slow_wait);
  return load;
}

// Processor time and memory of a private server over one load.
class ServerCost {
 public:
  explicit ServerCost(const tool::ServerAccess& access)
      : pid_(access.process != nullptr ? access.process->pid() : 0), start_(Cpu()) {}

  void AddTo(Json& json, double seconds) const {
    if (pid_ == 0) return;
    const auto end = Cpu();
    if (start_.has_value() && end.has_value() && seconds > 0) {
      json["server_cores_used"] = Number((*end - *start_) / seconds, 4);
    }
    json["server_peak_rss_mb"] = Number(PeakRssMb(pid_));
  }

 private:
  std::optional<double> Cpu() const { return pid_ == 0 ? std::nullopt : CpuSeconds(pid_); }

  const pid_t pid_;
  const std::optional<double> start_;
};

absl::Status CheckAllSucceeded(const LoadResult& result) {
  for (const LoadOutcome& outcome : result.outcomes) {
    if (!outcome.status.ok()) {
      return absl::Status(outcome.status.code() == absl::StatusCode::kInvalidArgument
                              ? absl::StatusCode::kFailedPrecondition
                              : outcome.status.code(),
                          absl::StrCat("a job did not succeed: ", outcome.status.message()));
    }
  }
  return absl::OkStatus();
}

// The same jobs one after another and at once, in turn, so that a change of the machine hits both.
absl::Status Compare(const Flags& flags, const Load& load, const tool::ServerAccess& access,
                     const tool::Interruption& interruption, Report& report) {
  Client& client = *access.client;
  for (const int clients : load.clients) {
    const int count = flags.jobs > 0 ? flags.jobs : std::max(4, 2 * clients);
    const std::vector<LoadJob> jobs = MakeJobs(load.mix, count, flags.seed);
    std::vector<double> sequential, concurrent, ratios;
    std::optional<LoadResult> best;
    const ServerCost cost(access);
    double total = 0;
    for (int i = 0; i < flags.repeat; ++i) {
      // Which of the two goes first alternates too.
      for (const bool at_once : {i % 2 == 1, i % 2 == 0}) {
        LoadResult result =
            RunClosedLoop(client, jobs, at_once ? clients : 1, load.options, interruption);
        if (interruption.count() > 0) return absl::CancelledError("interrupted");
        if (auto status = CheckAllSucceeded(result); !status.ok()) return access.Why(status);
        total += result.seconds;
        (at_once ? concurrent : sequential).push_back(result.seconds);
        if (at_once && (!best.has_value() || result.seconds < best->seconds)) {
          best = std::move(result);
        }
      }
      ratios.push_back(sequential.back() / concurrent.back());
    }
    Json json;
    json["bench"] = "serve-compare";
    json["clients"] = clients;
    json["jobs"] = count;
    json["repeats"] = flags.repeat;
    json.update(load.facts);
    json["sequential_s"] = Number(*std::min_element(sequential.begin(), sequential.end()));
    json["concurrent_s"] = Number(*std::min_element(concurrent.begin(), concurrent.end()));
    json["speedup"] = Number(*std::min_element(sequential.begin(), sequential.end()) /
                             *std::min_element(concurrent.begin(), concurrent.end()));
    json["speedup_median"] = Number(Median(ratios));
    cost.AddTo(json, total);
    const Json described = Describe(*best);
    for (const char* key : {"first_frame_p50_s", "first_frame_p95_s", "job_p50_s", "job_p95_s"}) {
      json[key] = described[key];
    }
    report.Add(json);
  }
  return absl::OkStatus();
}

absl::Status Measure(const Flags& flags, const Load& load, const tool::ServerAccess& access,
                     const tool::Interruption& interruption, Report& report) {
  const bool open = flags.rate > 0;
  for (const int clients : open ? std::vector<int>{0} : load.clients) {
    for (int i = 0; i < flags.repeat; ++i) {
      const ServerCost cost(access);
      LoadResult result;
      Json json;
      json["bench"] = "serve";
      if (open) {
        const auto most = static_cast<size_t>(flags.jobs > 0 ? flags.jobs : kMaxJobs);
        const std::vector<double> arrivals =
            PoissonArrivals(flags.rate, flags.duration > 0 ? flags.duration : 1e9, most,
                            flags.seed + static_cast<uint64_t>(i));
        const std::vector<LoadJob> jobs =
            MakeJobs(load.mix, static_cast<int>(arrivals.size()), flags.seed);
        json["load"] = absl::StrCat("open, ", flags.rate, " jobs/s");
        json["rate"] = flags.rate;
        json["jobs"] = jobs.size();
        result = RunOpenLoop(*access.client, jobs, arrivals, load.options, interruption);
      } else {
        const int count = flags.jobs > 0       ? flags.jobs
                          : flags.duration > 0 ? kMaxJobs
                                               : std::max(4, 2 * clients);
        json["load"] = absl::StrCat("closed, ", clients, clients == 1 ? " client" : " clients");
        json["clients"] = clients;
        json["jobs"] = count;
        result = RunClosedLoop(*access.client, MakeJobs(load.mix, count, flags.seed), clients,
                               load.options, interruption);
      }
      json.update(load.facts);
      json.update(Describe(result));
      json["jobs"] = result.outcomes.size();
      cost.AddTo(json, result.seconds);
      report.Add(json);
      if (interruption.count() > 0) return absl::CancelledError("interrupted");
      for (const LoadOutcome& outcome : result.outcomes) {
        // A server that is gone is not a result.
        if (absl::IsUnavailable(outcome.status) && access.process != nullptr &&
            access.process->EndsWithin(absl::ZeroDuration())) {
          return access.Why(outcome.status);
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags, Report& report) {
  auto load = MakeLoad(flags);
  if (!load.ok()) return load.status();

  tool::Interruption interruption;
  tool::Progress progress(stderr, tool::Progress::StyleFor(stderr, false));
  tool::CommonOptions common;
  common.server = flags.server;
  common.bundle = flags.bundle;
  common.face_models = flags.face_models;
  common.server_arguments = absl::StrSplit(flags.server_flags, ' ', absl::SkipEmpty());
  auto access = tool::OpenServer(common, interruption, progress);
  progress.Finish();
  if (!access.ok()) return access.status();

  if (flags.warm_up > 0) {
    LoadMix plain = load->mix;
    plain.cancel_share = plain.slow_reader_share = 0;
    LoadOptions options = load->options;
    options.deadline = options.duration = absl::InfiniteDuration();
    const LoadResult result = RunClosedLoop(
        *access->client, MakeJobs(plain, flags.warm_up, flags.seed), 1, options, interruption);
    if (interruption.count() > 0) return absl::CancelledError("interrupted");
    if (auto status = CheckAllSucceeded(result); !status.ok()) return access->Why(status);
  }
  return flags.compare_sequential ? Compare(flags, *load, *access, interruption, report)
                                  : Measure(flags, *load, *access, interruption, report);
}

}  // namespace

void AddServe(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "serve", "Load on a server: throughput, time to the first frame, outcomes");
  const auto flags = std::make_shared<Flags>();
  command->add_option("--server", flags->server, "A running server: host:port or unix:PATH")
      ->type_name("ADDRESS");
  command
      ->add_option("--bundle", flags->bundle,
                   "Model bundle of a private server, started for this run. Default: the demo "
                   "bundle")
      ->type_name("FOLDER");
  command->add_option("--face-models", flags->face_models, "Landmark models of a private server")
      ->type_name("FOLDER");
  command
      ->add_option("--server-flags", flags->server_flags,
                   "More flags for a private server, such as \"--max-batch-rows 1\"")
      ->type_name("FLAGS");
  command->add_option("--source", flags->source, "Portrait. Default: the demo's")
      ->type_name("IMAGE");
  command->add_option("--driving", flags->driving, "Driving video. Default: the demo's")
      ->type_name("VIDEO");
  CLI::Option* clients =
      command->add_option("--clients", flags->clients,
                          "Closed loop: clients at once, several one after another: 1,2,4");
  command
      ->add_option("--rate", flags->rate, "Open loop: jobs a second, arriving as a Poisson process")
      ->check(CLI::Range(1e-3, 1e4))
      ->excludes(clients);
  command->add_option("--jobs", flags->jobs, "Jobs of each load. Default: two a client, at least 4")
      ->check(CLI::Range(1, kMaxJobs));
  command->add_option("--duration", flags->duration, "Start no job after so many seconds")
      ->check(CLI::Range(0.1, 86400.0));
  command->add_option("--deadline", flags->deadline, "Deadline of each job in seconds")
      ->check(CLI::Range(0.01, 86400.0));
  command
      ->add_option("--cancel-share", flags->cancel_share,
                   "Share of jobs that are cancelled while they denoise")
      ->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--slow-readers", flags->slow_readers,
                   "Share of jobs whose client waits before each answer")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--slow-wait", flags->slow_wait, "How long a slow reader waits, seconds")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  command
      ->add_option("--frames", flags->frames,
                   "Frames of the driving clip, several are mixed: 8,30. 0: as it is")
      ->capture_default_str();
  command->add_option("--steps", flags->steps,
                      "Denoising steps, several are mixed: 4,10. Default: the model's");
  command->add_option(
      "--samplers", flags->samplers,
      "ddim, ddpm, dpm-solver++; several are mixed: ddim,ddpm. Default: the model's");
  command->add_option("--plan", flags->plan, "Which frames share a row")
      ->check(CLI::IsMember({"central-random", "central-interleaved", "contiguous"}))
      ->capture_default_str();
  command->add_option("--format", flags->format, "Output format")
      ->check(CLI::IsMember({"mp4", "jpeg", "png", "raw"}))
      ->capture_default_str();
  command->add_option("--warm-up", flags->warm_up, "Jobs before the measurement")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command->add_option("--repeat", flags->repeat, "Runs of each load")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "Of arrivals, mixes and jobs")->capture_default_str();
  command->add_flag("--compare-sequential", flags->compare_sequential,
                    "For each number of clients: the same jobs one after another and at once");
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
