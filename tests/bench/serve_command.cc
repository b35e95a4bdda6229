// `serve`: load on a running server, or on a private one.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/bench/clip.h"
#include "tests/bench/load.h"
#include "tests/bench/measure.h"
#include "tests/bench/served.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

constexpr int kMaxClients = 1000;
constexpr int kMaxJobs = 1'000'000;

struct Flags {
  ServerFlags server;
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
  bool compare_lengths = false;
};

v1::SequencePlan PlanOf(const std::string& name) {
  static const std::map<std::string, v1::SequencePlan> plans = {
      {"central-random", v1::SEQUENCE_PLAN_CENTRAL_RANDOM},
      {"central-interleaved", v1::SEQUENCE_PLAN_CENTRAL_INTERLEAVED},
      {"contiguous", v1::SEQUENCE_PLAN_CONTIGUOUS},
      {"balanced", v1::SEQUENCE_PLAN_BALANCED}};
  return plans.at(name);
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
  if (flags.compare_lengths &&
      (flags.compare_sequential || flags.rate > 0 || flags.cancel_share > 0 ||
       flags.slow_readers > 0 || flags.deadline > 0 || flags.duration > 0 ||
       !flags.server.server.empty() || flags.clients != "1")) {
    return absl::InvalidArgumentError(
        "--compare-lengths: one client on a private server for each length, so it excludes "
        "--server, --clients, --rate, --compare-sequential, --cancel-share, --slow-readers, "
        "--deadline and --duration");
  }
  if (absl::Status status = flags.server.Check(); !status.ok()) return status;
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
      load.mix.samplers.push_back(SamplerOf(name));
    }
    load.facts["samplers"] = *names;
  }
  load.mix.cancel_share = flags.cancel_share;
  load.mix.slow_reader_share = flags.slow_readers;
  load.facts["plan"] = flags.plan;
  load.facts["format"] = flags.format;
  if (flags.deadline > 0) load.facts["deadline_s"] = flags.deadline;

  auto source = ReadSource(flags.server);
  if (!source.ok()) return source.status();
  auto driving = ReadDriving(flags.server);
  if (!driving.ok()) return driving.status();
  LoadOptions& options = load.options;
  *options.config.mutable_source()->mutable_image() = *std::move(source);
  options.config.set_sequence_plan(PlanOf(flags.plan));
  options.config.mutable_output()->set_format(FormatOf(flags.format));
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

absl::Status WarmUp(const Flags& flags, const Load& load, const tool::ServerAccess& access,
                    const tool::Interruption& interruption) {
  if (flags.warm_up == 0) return absl::OkStatus();
  LoadMix plain = load.mix;
  plain.cancel_share = plain.slow_reader_share = 0;
  LoadOptions options = load.options;
  options.deadline = options.duration = absl::InfiniteDuration();
  const LoadResult result = RunClosedLoop(
      *access.client, MakeJobs(plain, flags.warm_up, flags.seed), 1, options, interruption);
  if (interruption.count() > 0) return absl::CancelledError("interrupted");
  if (auto status = CheckAllSucceeded(result); !status.ok()) return access.Why(status);
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

// One clip length after another on a server of its own, in turn: what a job needs before its first
// frame, and the most memory that the server needs, as functions of the length.
absl::Status CompareLengths(const Flags& flags, const Load& load, tool::Interruption& interruption,
                            Report& report) {
  struct Length {
    int num_frames = 0;
    std::vector<LoadJob> jobs;
    tool::ServerAccess access;
    std::vector<double> first_frames, seconds;
    double peak_rss_mb = 0;
  };
  std::vector<Length> lengths(load.mix.num_frames.size());
  // All of them are warmed up by the same jobs: those of the first length.
  LoadMix mix = load.mix;
  for (size_t i = 0; i < lengths.size(); ++i) {
    Length& length = lengths[i];
    length.num_frames = load.mix.num_frames[i];
    mix.num_frames = {length.num_frames};
    length.jobs = MakeJobs(mix, flags.repeat, flags.seed);
    auto access = OpenServer(flags.server, interruption);
    if (!access.ok()) return access.status();
    length.access.process = std::move(access->process);
    length.access.client = std::move(access->client);
    Load first = load;
    first.mix.num_frames = {load.mix.num_frames[0]};
    if (auto status = WarmUp(flags, first, length.access, interruption); !status.ok()) {
      return status;
    }
  }
  for (int i = 0; i < flags.repeat; ++i) {
    for (size_t j = 0; j < lengths.size(); ++j) {
      // Which of them goes first alternates.
      Length& length = lengths[i % 2 == 0 ? j : lengths.size() - 1 - j];
      const LoadResult result =
          RunClosedLoop(*length.access.client, {length.jobs[static_cast<size_t>(i)]}, 1,
                        load.options, interruption);
      if (interruption.count() > 0) return absl::CancelledError("interrupted");
      if (auto status = CheckAllSucceeded(result); !status.ok()) return length.access.Why(status);
      const LoadOutcome& outcome = result.outcomes.at(0);
      if (!outcome.first_frame.has_value()) return absl::InternalError("a job without frames");
      length.first_frames.push_back(*outcome.first_frame - outcome.start);
      length.seconds.push_back(outcome.end - outcome.start);
      length.peak_rss_mb = PeakRssMb(length.access.process->pid());
    }
  }
  for (const Length& length : lengths) {
    const Length& base = lengths[0];
    std::vector<double> ratios;
    for (size_t i = 0; i < length.first_frames.size(); ++i) {
      ratios.push_back(length.first_frames[i] / base.first_frames[i]);
    }
    const auto least = [](const std::vector<double>& values) {
      return *std::min_element(values.begin(), values.end());
    };
    Json json;
    json["bench"] = "serve-lengths";
    json.update(load.facts);
    json["frames"] = length.num_frames;
    json["repeats"] = flags.repeat;
    json["first_frame_s"] = Number(least(length.first_frames));
    json["first_frame_median_s"] = Number(Median(length.first_frames));
    json["first_frame_ratio"] = Number(least(length.first_frames) / least(base.first_frames));
    json["first_frame_ratio_median"] = Number(Median(ratios));
    json["job_s"] = Number(least(length.seconds));
    json["server_peak_rss_mb"] = Number(length.peak_rss_mb);
    json["rss_ratio"] = Number(length.peak_rss_mb / base.peak_rss_mb);
    report.Add(json);
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags, Report& report) {
  auto load = MakeLoad(flags);
  if (!load.ok()) return load.status();

  tool::Interruption interruption;
  if (flags.compare_lengths) return CompareLengths(flags, *load, interruption, report);
  auto access = OpenServer(flags.server, interruption);
  if (!access.ok()) return access.status();
  if (auto status = WarmUp(flags, *load, *access, interruption); !status.ok()) return status;
  return flags.compare_sequential ? Compare(flags, *load, *access, interruption, report)
                                  : Measure(flags, *load, *access, interruption, report);
}

}  // namespace

void AddServe(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "serve", "Load on a server: throughput, time to the first frame, outcomes");
  const auto flags = std::make_shared<Flags>();
  flags->server.AddTo(*command);
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
      ->check(CLI::IsMember({"central-random", "central-interleaved", "contiguous", "balanced"}))
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
  command->add_flag("--compare-lengths", flags->compare_lengths,
                    "For each of --frames, in turn and on servers of their own: time to the first "
                    "frame and the server's memory");
  subcommands.push_back({command, [flags](Report& report) { return Run(*flags, report); }});
}

}  // namespace reenact::bench
