#include "tests/bench/live_load.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "tests/bench/clip.h"
#include "tests/bench/measure.h"

namespace reenact::bench {
namespace {

// Has a new picture at every tick of its rate from when it is first asked for one.
class Camera final : public FrameSource {
 public:
  explicit Camera(const LiveLoad& load) : load_(load) {}

  absl::StatusOr<std::optional<DrivingFrame>> Next() override {
    MutexLock lock(&mu_);
    if (stopped_ || num_shown_ == load_.num_frames) return std::nullopt;
    if (num_shown_ == 0) start_ = absl::Now();
    const int index = num_shown_++;
    const absl::Time due = DueAt(index);
    mu_.AwaitWithTimeout(absl::Condition(&stopped_), due - absl::Now());
    if (stopped_) return std::nullopt;
    most_late_ = std::max(most_late_, absl::Now() - due);
    const int picture = ForthAndBack(index, static_cast<int>(load_.pictures.size()));
    return DrivingFrame{.image = load_.pictures[static_cast<size_t>(picture)], .pts = index};
  }

  void Stop() override {
    MutexLock lock(&mu_);
    stopped_ = true;
  }

  // When it had that picture.
  absl::Time due(int64_t index) const {
    MutexLock lock(&mu_);
    return DueAt(index);
  }
  absl::Duration most_late() const {
    MutexLock lock(&mu_);
    return most_late_;
  }

 private:
  absl::Time DueAt(int64_t index) const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return start_ + absl::Seconds(index) * load_.rate.den / load_.rate.num;
  }

  const LiveLoad& load_;

  mutable Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  int num_shown_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time start_ ABSL_GUARDED_BY(mu_) = absl::Now();
  absl::Duration most_late_ ABSL_GUARDED_BY(mu_);
};

// A camera that is looked at while a job owns it.
class SharedCamera final : public FrameSource {
 public:
  explicit SharedCamera(std::shared_ptr<Camera> camera) : camera_(std::move(camera)) {}
  absl::StatusOr<std::optional<DrivingFrame>> Next() override { return camera_->Next(); }
  void Stop() override { camera_->Stop(); }

 private:
  const std::shared_ptr<Camera> camera_;
};

int FramesIn(const v1::ReenactResponse& answer) {
  if (answer.has_frame()) return 1;
  return answer.has_video() ? answer.video().num_frames() : 0;
}

void AddMedian(Json& json, const char* key, const std::vector<double>& values) {
  json[key] = values.empty() ? Json() : Number(Median(values));
}

}  // namespace

LiveOutcome RunLive(Client& client, const LiveLoad& load, const tool::Interruption* interruption) {
  LiveOutcome outcome;
  v1::JobConfig config = load.config;
  config.mutable_live()->mutable_time_base()->set_numerator(load.rate.den);
  config.mutable_live()->mutable_time_base()->set_denominator(load.rate.num);
  JobOptions options;
  options.timeout = load.deadline;
  const auto camera = std::make_shared<Camera>(load);
  const auto stream =
      client.Start(std::move(config), std::make_unique<SharedCamera>(camera), options);
  while (true) {
    const auto next = stream->Next();
    if (!next.ok()) {
      outcome.status = next.status();
      break;
    }
    if (!next->has_value()) break;
    const v1::ReenactResponse& answer = **next;
    const absl::Time now = absl::Now();
    for (int i = FramesIn(answer); i > 0; --i) {
      const auto index = static_cast<int64_t>(outcome.lags.size());
      outcome.lags.push_back(absl::ToDoubleSeconds(now - camera->due(index)));
      if (index == 0) outcome.first_frame = outcome.lags[0];
    }
    if (answer.has_summary()) outcome.live = answer.summary().live();
    if (interruption != nullptr && interruption->count() > 0) stream->Cancel();
  }
  outcome.seconds = absl::ToDoubleSeconds(absl::Now() - camera->due(0));
  outcome.most_late = absl::ToDoubleSeconds(camera->most_late());
  return outcome;
}

Json Describe(const std::vector<LiveOutcome>& outcomes) {
  std::vector<double> first_frames, lags, last_lags, ratios, lates;
  int64_t frames_in = 0, frames_skipped = 0, frames_out = 0;
  int num_done = 0;
  for (const LiveOutcome& outcome : outcomes) {
    if (!outcome.status.ok()) continue;
    ++num_done;
    if (outcome.first_frame.has_value()) first_frames.push_back(*outcome.first_frame);
    lags.insert(lags.end(), outcome.lags.begin(), outcome.lags.end());
    if (!outcome.lags.empty()) last_lags.push_back(outcome.lags.back());
    ratios.push_back(outcome.live.real_time_ratio());
    lates.push_back(outcome.most_late);
    frames_in += outcome.live.frames_in();
    frames_skipped += outcome.live.frames_skipped();
    frames_out += static_cast<int64_t>(outcome.lags.size());
  }
  Json json;
  json["runs"] = outcomes.size();
  json["runs_done"] = num_done;
  json["frames_out"] = frames_out;
  AddMedian(json, "time_to_first_frame_s", first_frames);
  for (const auto& [key, percent] :
       {std::pair("lag_p50_s", 50.0), {"lag_p95_s", 95.0}, {"lag_max_s", 100.0}}) {
    json[key] = lags.empty() ? Json() : Number(Percentile(lags, percent));
  }
  AddMedian(json, "lag_end_s", last_lags);
  AddMedian(json, "real_time_ratio", ratios);
  json["skipped_share"] =
      frames_in == 0 ? Json()
                     : Number(static_cast<double>(frames_skipped) / static_cast<double>(frames_in));
  AddMedian(json, "sent_late_max_s", lates);
  return json;
}

}  // namespace reenact::bench
