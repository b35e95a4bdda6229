#include "tests/bench/load.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "client/job_stream.h"
#include "client/media_source.h"
#include "tests/bench/measure.h"

namespace reenact::bench {
namespace {

constexpr absl::Duration kLongestRetryWait = absl::Seconds(2);

int FramesIn(const v1::ReenactResponse& answer) {
  switch (answer.payload_case()) {
    case v1::ReenactResponse::kVideo:
      return answer.video().num_frames();
    case v1::ReenactResponse::kFrame:
      return 1;
    default:
      return 0;
  }
}

int64_t BytesIn(const v1::ReenactResponse& answer) {
  switch (answer.payload_case()) {
    case v1::ReenactResponse::kVideo:
      return static_cast<int64_t>(answer.video().data().size());
    case v1::ReenactResponse::kFrame:
      return static_cast<int64_t>(answer.frame().data().size());
    default:
      return 0;
  }
}

// Outcomes from many threads, and how many of those are at work.
class Collector {
 public:
  void Begin() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    ++in_flight_;
  }
  void End(LoadOutcome outcome) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    outcomes_.push_back(std::move(outcome));
    --in_flight_;
  }
  size_t in_flight() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return in_flight_;
  }
  std::vector<LoadOutcome> Take() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(&mu_);
    return std::move(outcomes_);
  }

 private:
  mutable Mutex mu_;
  size_t in_flight_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<LoadOutcome> outcomes_ ABSL_GUARDED_BY(mu_);
};

LoadResult Finish(Collector& collector) {
  LoadResult result;
  result.outcomes = collector.Take();
  std::sort(result.outcomes.begin(), result.outcomes.end(),
            [](const LoadOutcome& a, const LoadOutcome& b) { return a.end < b.end; });
  if (!result.outcomes.empty()) {
    double first = result.outcomes.front().start;
    for (const LoadOutcome& outcome : result.outcomes) first = std::min(first, outcome.start);
    result.seconds = result.outcomes.back().end - first;
  }
  return result;
}

void AddPercentiles(Json& json, const std::string& name, const std::vector<double>& seconds) {
  for (const int p : {50, 95, 99}) {
    json[name + "_p" + std::to_string(p) + "_s"] =
        seconds.empty() ? Json() : Number(Percentile(seconds, p), 4);
  }
}

double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + 1e-9 * duration.nanos();
}

double PerSecond(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

}  // namespace

std::vector<LoadJob> MakeJobs(const LoadMix& mix, int count, uint64_t seed) {
  const auto num_jobs = static_cast<size_t>(count);
  std::vector<LoadJob> jobs(num_jobs);
  for (size_t i = 0; i < num_jobs; ++i) {
    // Mixed radix: every combination once before one repeats.
    size_t turn = i;
    const auto deal = [&turn](const auto& values) {
      const auto& value = values[turn % values.size()];
      turn /= values.size();
      return value;
    };
    jobs[i].num_frames = deal(mix.num_frames);
    jobs[i].num_steps = deal(mix.num_steps);
    jobs[i].sampler = deal(mix.samplers);
    jobs[i].seed = seed + i;
  }
  Random random(seed);
  std::vector<size_t> order(num_jobs);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = num_jobs; i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  const auto whole = [count](double share) {
    return static_cast<size_t>(std::lround(share * count));
  };
  const size_t num_cancelled = std::min(whole(mix.cancel_share), num_jobs);
  const size_t num_slow = std::min(whole(mix.slow_reader_share), num_jobs - num_cancelled);
  for (size_t i = 0; i < num_cancelled; ++i) jobs[order[i]].cancel_at = random.Uniform();
  for (size_t i = 0; i < num_slow; ++i) jobs[order[num_cancelled + i]].slow_reader = true;
  return jobs;
}

LoadOutcome RunJob(Client& client, const LoadJob& job, const LoadOptions& options,
                   const std::function<double()>& now, const tool::Interruption& interruption) {
  LoadOutcome outcome;
  outcome.slow_reader = job.slow_reader;
  v1::JobConfig config = options.config;
  config.set_seed(job.seed);
  if (job.num_steps.has_value()) config.set_num_steps(*job.num_steps);
  config.set_sampler(job.sampler);
  JobOptions job_options;
  job_options.timeout = options.deadline;
  outcome.start = now();
  const auto stream = client.Start(std::move(config),
                                   MediaFromBytes(options.clips.at(job.num_frames)), job_options);
  while (true) {
    const auto next = stream->Next();
    if (!next.ok()) {
      outcome.status = next.status();
      break;
    }
    if (!next->has_value()) break;
    const v1::ReenactResponse& answer = **next;
    if (const int frames = FramesIn(answer); frames > 0) {
      if (!outcome.first_frame.has_value()) outcome.first_frame = now();
      outcome.num_frames += frames;
    }
    outcome.bytes += BytesIn(answer);
    if (answer.has_summary()) outcome.stage_times = answer.summary().stage_times();
    if (job.cancel_at.has_value() && !outcome.cancelled.has_value() && answer.has_progress() &&
        answer.progress().total_steps() > 0 &&
        static_cast<double>(answer.progress().step()) >=
            *job.cancel_at * static_cast<double>(answer.progress().total_steps())) {
      outcome.cancelled = now();
      stream->Cancel();
    }
    if (job.slow_reader) interruption.WaitFor(options.slow_reader_wait);
    if (interruption.count() > 0) stream->Cancel();
  }
  outcome.end = now();
  return outcome;
}

LoadResult RunClosedLoop(Client& client, const std::vector<LoadJob>& jobs, int num_clients,
                         const LoadOptions& options, const tool::Interruption& interruption) {
  const Stopwatch watch;
  const auto now = [&watch] { return watch.elapsed().wall; };
  const double last_start = absl::ToDoubleSeconds(options.duration);
  Collector collector;
  std::atomic<size_t> next{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < num_clients; ++i) {
    clients.emplace_back([&] {
      while (interruption.count() == 0 && now() < last_start) {
        const size_t index = next++;
        if (index >= jobs.size()) return;
        collector.Begin();
        LoadOutcome outcome = RunJob(client, jobs[index], options, now, interruption);
        const auto retry = RetryDelay(outcome.status);
        collector.End(std::move(outcome));
        if (retry.has_value()) interruption.WaitFor(std::min(*retry, kLongestRetryWait));
      }
    });
  }
  for (std::thread& thread : clients) thread.join();
  return Finish(collector);
}

LoadResult RunOpenLoop(Client& client, const std::vector<LoadJob>& jobs,
                       const std::vector<double>& arrivals, const LoadOptions& options,
                       const tool::Interruption& interruption) {
  const Stopwatch watch;
  const auto now = [&watch] { return watch.elapsed().wall; };
  Collector collector;
  std::vector<std::thread> senders;
  int not_sent = 0;
  for (size_t i = 0; i < jobs.size() && i < arrivals.size(); ++i) {
    const double wait = arrivals[i] - now();
    if (interruption.WaitFor(absl::Seconds(std::max(0.0, wait)))) break;
    if (collector.in_flight() >= options.max_in_flight) {
      ++not_sent;
      continue;
    }
    collector.Begin();
    senders.emplace_back([&collector, &client, &options, &interruption, now, job = jobs[i]] {
      collector.End(RunJob(client, job, options, now, interruption));
    });
  }
  for (std::thread& thread : senders) thread.join();
  LoadResult result = Finish(collector);
  result.not_sent = not_sent;
  return result;
}

Json Describe(const LoadResult& result) {
  std::map<std::string, int> codes;
  std::vector<double> first_frames, jobs, cancels;
  std::map<std::string, double> stages;
  int good = 0, requested = 0, slow = 0, frames = 0, good_frames = 0;
  int64_t bytes = 0;
  for (const LoadOutcome& outcome : result.outcomes) {
    ++codes[absl::StatusCodeToString(outcome.status.code())];
    frames += outcome.num_frames;
    bytes += outcome.bytes;
    slow += outcome.slow_reader ? 1 : 0;
    if (outcome.cancelled.has_value()) {
      ++requested;
      cancels.push_back(outcome.end - *outcome.cancelled);
    }
    if (!outcome.status.ok()) continue;
    ++good;
    good_frames += outcome.num_frames;
    stages["queue"] += Seconds(outcome.stage_times.queue());
    stages["decode"] += Seconds(outcome.stage_times.decode());
    stages["landmarks"] += Seconds(outcome.stage_times.landmarks());
    stages["embed"] += Seconds(outcome.stage_times.embed());
    stages["denoise"] += Seconds(outcome.stage_times.denoise());
    stages["render"] += Seconds(outcome.stage_times.render());
    if (outcome.slow_reader) continue;
    jobs.push_back(outcome.end - outcome.start);
    if (outcome.first_frame.has_value()) {
      first_frames.push_back(*outcome.first_frame - outcome.start);
    }
  }
  Json json;
  json["jobs_sent"] = result.outcomes.size();
  json["jobs_not_sent"] = result.not_sent;
  json["jobs_done"] = good;
  json["outcomes"] = codes;
  json["seconds"] = Number(result.seconds);
  json["jobs_per_s"] =
      Number(PerSecond(static_cast<double>(result.outcomes.size()), result.seconds));
  json["frames_out"] = frames;
  json["frames_per_s"] = Number(PerSecond(frames, result.seconds));
  json["goodput_jobs_per_s"] = Number(PerSecond(good, result.seconds));
  json["goodput_frames_per_s"] = Number(PerSecond(good_frames, result.seconds));
  json["bytes_out"] = bytes;
  AddPercentiles(json, "first_frame", first_frames);
  AddPercentiles(json, "job", jobs);
  json["cancels_sent"] = requested;
  AddPercentiles(json, "cancel", cancels);
  json["slow_readers"] = slow;
  Json means;
  for (const auto& [stage, seconds] : stages) means[stage] = Number(seconds / good, 4);
  json["mean_stage_s"] = std::move(means);
  return json;
}

}  // namespace reenact::bench
